"""What a search would be and take: its body as JSON, the same as curl and as command line, its range of budgets. Pure.

An access token is never written out: the lines name the variable TOKEN.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import ModelsError
from search.data.catalogue import resolve_tasks
from search.errors import SearchError
from search.spec import parse_budget, resolve_budget
from service.pages.budget_scale_drawing import BudgetRange, ChosenBudget
from service.pages.durations import format_bytes, round_duration
from service.schemas.results import Estimate
from service.web.planning.offers import Offers
from service.web.problems import ProblemError

_OPTIONS = (
    ("dataset", "--dataset"),
    ("backbone", "--backbone"),
    ("preset", "--preset"),
    ("objective", "--objective"),
    ("weights", "--weights"),
    ("name", "--name"),
    ("priority", "--priority"),
    ("deadline_seconds", "--deadline"),
)
_REPEATED = (("budgets", "--budget"), ("seeds", "--seed"))


@dataclass(frozen=True)
class Scale:
    """The range of budgets of a study, and the chosen ones."""

    costs: BudgetRange
    budgets: tuple[ChosenBudget, ...]


def write_json(body: Mapping[str, Any]) -> str:
    """Return a body as JSON for people: one line per field."""
    fields = (f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in body.items())
    return "{\n" + ",\n".join(fields) + "\n}"


def write_curl(body: Mapping[str, Any], address: str) -> str:
    """Return the command that submits a body with curl."""
    content = shlex.quote(json.dumps(body, ensure_ascii=False))
    return (
        f"curl -X POST {shlex.quote(address + '/api/v1/searches')} \\\n"
        '  -H "Authorization: Bearer $TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {content}"
    )


def write_command(body: Mapping[str, Any], address: str) -> str:
    """Return the command line of this program that submits a body; the token comes from BMTAS_TOKEN."""
    words = [f"{option} {_quote(body[name])}" for name, option in _OPTIONS if name in body]
    words += [f"{option} {_quote(item)}" for name, option in _REPEATED for item in _items(body, name)]
    if "tasks" in body:
        words.append(f"--tasks {_quote(','.join(map(str, _items(body, 'tasks'))))}")
    if "input_size" in body:
        words.append(f"--size {_quote('x'.join(map(str, _items(body, 'input_size'))))}")
    if body.get("retrain") is False:
        words.append("--no-retrain")
    resources, labels = body.get("resources"), body.get("labels")
    words += [f"--{name} {_quote(value)}" for name, value in (resources or {}).items()]
    words += [f"--label {_quote(f'{key}={value}')}" for key, value in (labels or {}).items()]
    line = " \\\n  ".join(["BMTAS_TOKEN=$TOKEN bmtas submit", *words, f"--server {_quote(address)}"])
    return f"{line}\n# max_attempts has no option here" if "max_attempts" in body else line


def find_scale(body: Mapping[str, Any], offers: Offers) -> Scale | None:
    """Return the range of budgets of what is asked, whatever the budgets are; None while that is no network."""
    names = body.get("tasks")
    try:
        info = offers.get_dataset(str(body.get("dataset")))
        size = body.get("input_size") or info.default_size
        tasks = resolve_tasks(info, None if names is None else [str(name) for name in names])
        height, width = (int(side) for side in size)
        backbone = str(body.get("backbone"))
        costs = offers.backbones.compute_costs(backbone, tasks, (height, width), info.image_channels)
    except (ProblemError, SearchError, ModelsError, TypeError, ValueError):
        return None
    span = BudgetRange(costs.shared_madds, costs.split_madds, costs.single_madds)
    return Scale(span, tuple(_read_budgets(_items(body, "budgets"), costs.single_madds)))


def describe_estimate(estimate: Estimate) -> list[tuple[str, str]]:
    """Return what a search will ask for, as (name, words)."""
    return [
        ("Trials", str(estimate.num_trials)),
        ("Time", f"{round_duration(estimate.seconds_on_one_cpu)} on one CPU core"),
        ("Disk", f"about {format_bytes(estimate.disk_bytes)}"),
    ]


def _read_budgets(items: Sequence[Any], single_madds: int) -> list[ChosenBudget]:
    """Return the budgets that can be read."""
    budgets = []
    for item in items:
        try:
            canonical = parse_budget(item)
        except SearchError:
            continue
        budgets.append(ChosenBudget(canonical, resolve_budget(canonical, single_madds)))
    return budgets


def _items(body: Mapping[str, Any], name: str) -> list[Any]:
    """Return the values of a list of a body, none for anything else."""
    value = body.get(name)
    return list(value) if isinstance(value, list | tuple) else []


def _quote(value: Any) -> str:
    """Return a value as one word of a command line."""
    return shlex.quote(f"{value:g}" if isinstance(value, float) else str(value))
