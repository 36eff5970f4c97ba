"""What the page of a study shows, worked out of what is stored: networks, front, best within the limit, seeds. Pure.

`service.web.fronts` decides what is on the front, as for the API; page, drawing, table and exports all tell of the
same `StudyFront`, so that their numbers are equal.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from db.records.jobs import JobRecord, Json
from db.records.results import FrontRow
from service.dashboard.study.choices import COSTS, StudyChoices
from service.schemas.results import Baseline, Front
from service.web.fronts import FrontQuestion, build_front

MAX_SERIES = 8
_OTHERS = "all others"


@dataclass(frozen=True)
class Network:
    """One network as the page shows it.

    Attributes:
        row: What is stored.
        search: Name of the job that found it.
        method: How it was found, e.g. the objective of the search.
        latency_ms: None where it was not measured.
        x: Its cost on the chosen axis; None where that is not known.
        y: Its quality on the chosen axis; None where that is not known or no finite number.
        series: Position in the legend.
    """

    row: FrontRow
    search: str
    method: str
    latency_ms: float | None
    x: float | None
    y: float | None
    series: int = 0
    on_front: bool = False
    is_over: bool = False
    is_best: bool = False
    is_pinned: bool = False

    @property
    def is_drawn(self) -> bool:
        """Return whether both figures are known."""
        return self.x is not None and self.y is not None

    def read_metric(self, task: str) -> float | None:
        """Return the metric of a task, None where it was not measured."""
        return read_finite((self.row.metrics or {}).get(task, {}).get("value"))


@dataclass(frozen=True)
class SeedGroup:
    """Networks of one search and budget that differ in their seed; there are at least two."""

    job_id: str
    search: str
    budget_madds: int | None
    members: tuple[Network, ...]

    @cached_property
    def ys(self) -> tuple[float, ...]:
        """Return what its networks reach."""
        return tuple(member.y for member in self.members if member.y is not None)

    @property
    def mean_x(self) -> float:
        """Return the mean cost."""
        return statistics.fmean(member.x for member in self.members if member.x is not None)

    @property
    def mean_y(self) -> float:
        """Return the mean quality."""
        return statistics.fmean(self.ys)

    @property
    def deviation(self) -> float:
        """Return the standard deviation of the quality (of a sample)."""
        return statistics.stdev(self.ys)

    def ends(self, spread: str) -> tuple[float, float]:
        """Return from where to where its quality spreads: the range, or one standard deviation around the mean."""
        if spread == "std":
            return self.mean_y - self.deviation, self.mean_y + self.deviation
        return min(self.ys), max(self.ys)


@dataclass(frozen=True)
class StudyFront:
    """All that the page of a study shows under some choices.

    Attributes:
        choices: What was chosen, put right where the study has no such task or column.
        networks: Those that are shown, in the order of the table.
        front: The same figures as the API's, of the networks that can be drawn.
        single: The single-task networks of the study, all as one; None while they are not known.
        series: Names in the legend.
        tasks: {task: (metric, whether higher is better)}, as the networks say.
        groups: Seeds together, where that was chosen.
        has_latency: Whether any network was measured.
    """

    choices: StudyChoices
    networks: tuple[Network, ...]
    front: Front
    single: Baseline | None
    series: tuple[str, ...]
    tasks: Mapping[str, tuple[str, bool]]
    groups: tuple[SeedGroup, ...]
    has_latency: bool

    @cached_property
    def drawn(self) -> tuple[Network, ...]:
        """Return the networks whose figures are known."""
        return tuple(network for network in self.networks if network.is_drawn)

    @cached_property
    def left_out(self) -> tuple[Network, ...]:
        """Return the networks that cannot be drawn."""
        return tuple(network for network in self.networks if not network.is_drawn)

    @cached_property
    def best(self) -> Network | None:
        """Return the best network within the limit; None where there is none."""
        return next((network for network in self.networks if network.is_best), None)


def build_study_front(
    rows: Sequence[FrontRow], jobs: Mapping[str, JobRecord], baselines: Mapping[str, Json], choices: StudyChoices
) -> StudyFront:
    """Return what the page of a study shows.

    Args:
        rows: All its networks, or those of the search that was chosen.
        jobs: The jobs that found them, as far as they are known.
        baselines: Results of its baselines by trial name.
        choices: What to show.
    """
    tasks = find_tasks(rows, baselines)
    has_latency = any(read_finite(row.latency_ms) is not None for row in rows)
    choices = _put_right(choices, tasks, has_latency=has_latency)
    rows = [row for row in rows if not choices.feasible or row.budget_madds is None or row.madds <= row.budget_madds]
    networks = [_describe(row, jobs.get(row.job_id), choices) for row in rows]
    drawn = [network.row for network in networks if network.is_drawn]
    front = build_front(drawn, baselines, FrontQuestion(choices.x, choices.y))
    series, places = _find_series(networks, choices)
    on_front = set(front.front)
    limit = choices.limit
    networks = [
        replace(
            network,
            series=places[network.row.id],
            on_front=network.row.id in on_front,
            is_over=limit is not None and (network.x or 0.0) > limit,
            is_pinned=network.row.id in choices.pins,
        )
        for network in networks
    ]
    networks = _mark_best(networks, higher_is_better=front.y.better == "higher")
    return StudyFront(
        choices=choices,
        networks=tuple(sort_networks(networks, choices.sort)),
        front=front,
        single=build_front((), baselines).baselines.get("single"),
        series=series,
        tasks=tasks,
        groups=_group_seeds(networks) if choices.spread else (),
        has_latency=has_latency,
    )


def find_tasks(rows: Sequence[FrontRow], baselines: Mapping[str, Json]) -> dict[str, tuple[str, bool]]:
    """Return {task: (metric, whether higher is better)}, as networks and baselines say."""
    tasks: dict[str, tuple[str, bool]] = {}
    for metrics in (*(row.metrics for row in rows), *(result.get("metrics") for result in baselines.values())):
        for task, measured in (metrics or {}).items():
            tasks.setdefault(task, (str(measured["metric"]), bool(measured["higher_is_better"])))
    return tasks


def read_finite(value: Any) -> float | None:
    """Return a figure, None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def sort_networks(networks: Sequence[Network], sort: str) -> list[Network]:
    """Return networks in the order of a column; those without a figure there come last, whatever the direction."""
    column, descending = sort.removeprefix("-"), sort.startswith("-")
    keyed = [(_sort_key(network, column), network) for network in networks]
    known = [(key, network) for key, network in keyed if key is not None]
    known.sort(key=lambda pair: (pair[0], pair[1].row.id), reverse=descending)
    return [network for _, network in known] + [network for key, network in keyed if key is None]


def _sort_key(network: Network, column: str) -> Any:
    """Return what a network is sorted by; None where that is not known."""
    fields: Mapping[str, Any] = {
        "x": network.x,
        "y": network.y,
        "name": network.row.name,
        "search": network.search,
        "seed": network.row.seed,
        "budget": network.row.budget_madds,
        "madds": network.row.madds,
        "params": network.row.params,
        "latency_ms": network.latency_ms,
        "delta_m": read_finite(network.row.delta_m),
    }
    return fields[column] if column in fields else network.read_metric(column.removeprefix("task."))


def _put_right(choices: StudyChoices, tasks: Mapping[str, tuple[str, bool]], *, has_latency: bool) -> StudyChoices:
    """Return choices without what this study does not have."""
    x = choices.x if choices.x != "latency_ms" or has_latency else "madds"
    return replace(choices, x=x, y=choices.y if choices.y in tasks else "delta_m")


def _describe(row: FrontRow, job: JobRecord | None, choices: StudyChoices) -> Network:
    """Return a network with its figures on the chosen axes."""
    latency_ms = read_finite(row.latency_ms)
    costs = {"madds": float(row.madds), "params": float(row.params), "latency_ms": latency_ms}
    y = row.delta_m if choices.y == "delta_m" else (row.metrics or {}).get(choices.y, {}).get("value")
    method = "not known" if job is None else str(job.spec.get("objective") or f"{job.kind.value}ing")
    return Network(
        row=row,
        search=row.job_id if job is None else job.name,
        method=method,
        latency_ms=latency_ms,
        x=costs[choices.x],
        y=read_finite(y),
    )


def _find_series(networks: Sequence[Network], choices: StudyChoices) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the names in the legend, and the place of each network there; what is rare shares the last one."""
    keys: dict[str, tuple[Any, str, str]] = {}  # what it is sorted by, its name, and what tells it from others
    for network in networks:
        row = network.row
        keys[row.id] = {
            "seed": (row.seed, f"seed {row.seed}", ""),
            "method": (network.method, network.method, ""),
            "search": (network.search, network.search, row.job_id),
        }[choices.colour]
    sizes = Counter(keys.values())
    kept = sorted(sizes, key=lambda key: (-sizes[key], key))
    kept = sorted(kept if len(kept) <= MAX_SERIES else kept[: MAX_SERIES - 1])
    places = {key: place for place, key in enumerate(kept)}
    names = [name for _, name, _ in kept]
    if len(kept) < len(sizes):
        names.append(_OTHERS)
    return tuple(names), {row_id: places.get(key, len(kept)) for row_id, key in keys.items()}


def _mark_best(networks: Sequence[Network], *, higher_is_better: bool) -> list[Network]:
    """Return networks, the best within the limit marked: of equal ones the cheapest."""
    sign = 1.0 if higher_is_better else -1.0
    within = [network for network in networks if network.is_drawn and not network.is_over]
    best = max(within, key=lambda n: (sign * (n.y or 0.0), -(n.x or 0.0)), default=None)
    return [replace(network, is_best=True) if network is best else network for network in networks]


def _group_seeds(networks: Sequence[Network]) -> tuple[SeedGroup, ...]:
    """Return the networks that differ in their seed only."""
    found: dict[tuple[str, int | None], list[Network]] = {}
    for network in networks:
        if network.is_drawn:
            found.setdefault((network.row.job_id, network.row.budget_madds), []).append(network)
    return tuple(
        SeedGroup(job_id, members[0].search, budget, tuple(members))
        for (job_id, budget), members in found.items()
        if len({member.row.seed for member in members}) > 1
    )


def name_axis(name: str, tasks: Mapping[str, tuple[str, bool]]) -> str:
    """Return an axis in words, with its unit."""
    if name in COSTS:
        return {"madds": "multiply-adds of one image (MAdds)", "params": "parameters"}.get(name, "latency in ms")
    if name == "delta_m":
        return "delta_m in %: mean gain over single-task networks, higher is better"
    metric, higher_is_better = tasks.get(name, ("", True))
    return f"{name}: {metric}, {'higher' if higher_is_better else 'lower'} is better"
