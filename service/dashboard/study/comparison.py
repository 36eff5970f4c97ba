"""Networks side by side: a line per fact, whether they differ in it, and which of them is best. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.records.jobs import JobRecord
from db.records.results import ArchitectureRecord
from search.architecture import Architecture
from service.dashboard.formats import NOTHING, count, figure, signed, timestamp, tone
from service.dashboard.study.front import read_finite
from service.pages.drawing import TIMES
from service.schemas.results import Baseline

MAX_COMPARED = 4


@dataclass(frozen=True)
class Compared:
    """One of the networks.

    Attributes:
        record: What is stored.
        architecture: Its tree.
        job: What found it.
        single: The single-task networks of its study; None while they are not known.
        label: What it is called here; no two are called the same.
        latency_ms: None where it was not measured.
    """

    record: ArchitectureRecord
    architecture: Architecture
    job: JobRecord
    single: Baseline | None
    label: str
    latency_ms: float | None = None


@dataclass(frozen=True)
class FactCell:
    """What one network says to a fact."""

    text: str
    note: str = ""
    tone: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class Fact:
    """One line: what all networks say to it, and whether that differs."""

    name: str
    note: str
    cells: tuple[FactCell, ...]
    differs: bool


@dataclass(frozen=True)
class FactGroup:
    """Lines under a headline."""

    title: str
    facts: tuple[Fact, ...]

    @property
    def num_same(self) -> int:
        """Return how many lines say the same of all."""
        return sum(not fact.differs for fact in self.facts)


def label_networks(records: Sequence[ArchitectureRecord], jobs: Sequence[JobRecord]) -> list[str]:
    """Return what to call each network: its name, with its search and if need be its place where that is taken."""
    names = [record.name for record in records]
    labels = [name if names.count(name) == 1 else f"{name}, {job.name}" for name, job in zip(names, jobs, strict=True)]
    return [label if labels.count(label) == 1 else f"{label} ({'ABCD'[place]})" for place, label in enumerate(labels)]


def compare_networks(networks: Sequence[Compared]) -> tuple[FactGroup, ...]:
    """Return all that can be said of the networks, line by line."""
    return (
        FactGroup("Quality", tuple(_list_quality(networks))),
        FactGroup("Cost", tuple(_list_costs(networks))),
        FactGroup("Where they come from", tuple(_list_origins(networks))),
    )


def _list_quality(networks: Sequence[Compared]) -> list[Fact]:
    """Return delta_m and the metrics per task."""
    gains = [read_finite(network.record.delta_m) for network in networks]
    facts = [_rate("delta_m", "%, ↑", gains, [FactCell(signed(gain), tone=tone(gain)) for gain in gains], higher=True)]
    for task in dict.fromkeys(task for network in networks for task in network.record.tasks):
        measured = [_read_metric(network, task) for network in networks]
        named = next((metric for metric in measured if metric), {})
        values = [read_finite(metric.get("value")) for metric in measured]
        higher = bool(named.get("higher_is_better", True))
        cells = [
            _describe_metric(value, network, task, higher=higher)
            for value, network in zip(values, networks, strict=True)
        ]
        note = f"{named['metric']}, {'↑' if higher else '↓'}" if named else "not measured"
        facts.append(_rate(task, note, values, cells, higher=higher))
    return facts


def _read_metric(network: Compared, task: str) -> Mapping[str, Any]:
    """Return the metric of a task as it is stored, empty where there is none."""
    found: Mapping[str, Any] = (network.record.metrics or {}).get(task, {})
    return found


def _describe_metric(value: float | None, network: Compared, task: str, *, higher: bool) -> FactCell:
    """Return a metric, with its gain over the single-task network."""
    base = None if network.single is None else read_finite(network.single.metrics.get(task, {}).get("value"))
    if value is None or not base:
        return FactCell(figure(value))
    gain = 100 * (value - base) / abs(base) * (1 if higher else -1)
    return FactCell(figure(value), f"{signed(gain, 1)} %", tone(gain))


def _list_costs(networks: Sequence[Compared]) -> list[Fact]:
    """Return what the networks cost."""
    madds = [float(network.record.madds) for network in networks]
    params = [float(network.record.params) for network in networks]
    facts = [
        _rate("MAdds", "↓, share of single-task", madds, [_describe_madds(network) for network in networks]),
        _rate("Parameters", "↓", params, [FactCell(count(value)) for value in params]),
        _tell("Budget", "MAdds", networks, lambda network: count(network.record.budget_madds)),
    ]
    latencies = [network.latency_ms for network in networks]
    if any(latency is not None for latency in latencies):
        facts.append(_rate("Latency", "ms, ↓", latencies, [FactCell(figure(value)) for value in latencies]))
    return facts


def _describe_madds(network: Compared) -> FactCell:
    """Return the MAdds of a network with their share of the single-task networks."""
    single = network.single
    share = f"{100 * network.record.madds / single.madds:.1f} %" if single is not None and single.madds else ""
    return FactCell(count(network.record.madds), share)


def _list_origins(networks: Sequence[Compared]) -> list[Fact]:
    """Return where the networks come from."""
    tell: tuple[tuple[str, Callable[[Compared], str]], ...] = (
        ("Search", lambda network: network.job.name),
        ("Method", lambda network: network.architecture.provenance.objective),
        ("Seed", lambda network: str(network.record.seed)),
        ("Tasks", lambda network: ", ".join(network.record.tasks)),
        ("Dataset", lambda network: network.record.dataset),
        ("Backbone", lambda network: network.record.backbone),
        ("Input", lambda network: f" {TIMES} ".join(map(str, network.architecture.input_size))),
        ("Recipe", lambda network: str(network.job.spec.get("preset", NOTHING))),
        ("Tree", lambda network: network.record.fingerprint[:12]),
        ("Found", lambda network: timestamp(network.record.created_at)),
        ("Owner", lambda network: network.record.owner),
        ("Version", lambda network: network.architecture.provenance.code_version),
        ("Dataset's fingerprint", lambda network: network.architecture.provenance.dataset_fingerprint[:12]),
        ("Study", lambda network: network.record.study_key[:12]),
    )
    return [_tell(name, "", networks, read) for name, read in tell]


def _tell(name: str, note: str, networks: Sequence[Compared], read: Callable[[Compared], str]) -> Fact:
    """Return a line in which nothing is better than anything else."""
    texts = [read(network) for network in networks]
    return Fact(name, note, tuple(FactCell(text) for text in texts), len(set(texts)) > 1)


def _rate(
    name: str, note: str, values: Sequence[float | None], cells: Sequence[FactCell], *, higher: bool = False
) -> Fact:
    """Return a line whose best cells are marked, unless all are the same."""
    known = [value for value in values if value is not None]
    differs = len(set(values)) > 1
    best = (max(known) if higher else min(known)) if known and len(set(known)) > 1 else None
    marked = tuple(
        FactCell(cell.text, cell.note, cell.tone, is_best=best is not None and value == best)
        for value, cell in zip(values, cells, strict=True)
    )
    return Fact(name, note, marked, differs)
