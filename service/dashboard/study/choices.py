"""What a person chose to see of a study, as it stands in the address of the page: read, checked, written back. Pure.

The same choices hold for the page, for its exports and with JavaScript switched off.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

COSTS: Mapping[str, str] = {"madds": "multiply-adds", "params": "parameters", "latency_ms": "measured latency"}
COLOURINGS: Mapping[str, str] = {"search": "search", "seed": "seed", "method": "method"}
SPREADS: Mapping[str, str] = {"": "each on its own", "range": "mean, range", "std": "mean, deviation"}
MAX_PINS = 4
MAX_PAGE = 10_000
_LIMIT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KMGkmg]?)")
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_ID = re.compile(r"[0-9A-Za-z_-]{1,80}")


@dataclass(frozen=True)
class StudyChoices:
    """What to show of a study; the defaults are left out of the address.

    Attributes:
        x: A key of `COSTS`.
        y: "delta_m" or the name of a task.
        search: Id of the only job whose networks are shown; "" for all.
        feasible: Whether to leave out networks that exceed their own budget.
        under: The limit of cost as it was typed, e.g. "9G"; "" for none.
        colour: A key of `COLOURINGS`: what a mark's shape and colour say.
        spread: A key of `SPREADS`: how seeds of one search and budget are drawn.
        sort: Column of the table, with "-" for the largest first.
        page: Of the table, from 1.
        pins: Ids of the networks kept for a comparison.
    """

    x: str = "madds"
    y: str = "delta_m"
    search: str = ""
    feasible: bool = False
    under: str = ""
    colour: str = "search"
    spread: str = ""
    sort: str = "x"
    page: int = 1
    pins: tuple[str, ...] = ()

    @classmethod
    def read(cls, query: Mapping[str, str]) -> StudyChoices:
        """Return the choices of an address; what makes no sense there is as if it were not said."""
        pins = [pin for pin in query.get("pins", "").split(",") if _ID.fullmatch(pin)]
        page = query.get("page", "1")
        return cls(
            x=_choose(query.get("x", ""), COSTS, "madds"),
            y=query.get("y", "")[:200] or "delta_m",
            search=query.get("search", "")[:100],
            feasible=query.get("feasible", "") == "1",
            under=query.get("under", "").strip() if read_limit(query.get("under", "")) is not None else "",
            colour=_choose(query.get("colour", ""), COLOURINGS, "search"),
            spread=_choose(query.get("spread", ""), SPREADS, ""),
            sort=query.get("sort", "")[:201] or "x",
            page=min(int(page), MAX_PAGE) if page.isascii() and page.isdigit() and len(page) < 6 and int(page) else 1,
            pins=tuple(dict.fromkeys(pins))[:MAX_PINS],
        )

    @property
    def limit(self) -> float | None:
        """Return the limit of cost as a number; None for none."""
        return read_limit(self.under)

    def query(self, **changes: Any) -> str:
        """Return these choices, some of them changed, as the query of an address: "" or "?x=params&..."."""
        changed = replace(self, **changes)
        said = {
            field.name: _write(getattr(changed, field.name))
            for field in fields(self)
            if getattr(changed, field.name) != field.default
        }
        return f"?{urlencode(said, safe=',')}" if said else ""

    def toggled_pins(self, architecture_id: str) -> tuple[str, ...]:
        """Return the pins with one taken away, or added where it is none yet."""
        if architecture_id in self.pins:
            return tuple(pin for pin in self.pins if pin != architecture_id)
        return (*self.pins, architecture_id)


def read_limit(text: str) -> float | None:
    """Return a limit such as "9G", "550 M" or "12.5" as a number; None for what is none."""
    match = _LIMIT.fullmatch(text.strip())
    if match is None:
        return None
    limit = float(match[1]) * _SCALES[match[2].lower()]
    return limit if limit > 0 and math.isfinite(limit) else None


def _choose(value: str, known: Mapping[str, str], default: str) -> str:
    """Return a value that is known, the default for any other."""
    return value if value in known else default


def _write(value: Any) -> str:
    """Return the value of a choice as it stands in an address."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return ",".join(value) if isinstance(value, tuple) else str(value)
