"""What stands behind the metrics of a study, as tables: a row per class or side figure, a column per network. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.results import MetricValue, Results
from service.pages.drawing import MINUS

_UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class DetailTable:
    """The figures behind the metric of one task.

    Attributes:
        task: The task.
        metric: Its metric, in whose unit the classes are.
        networks: Names of the columns.
        rows: Name of a class, or of a side figure with its unit, and its figure in each network; side figures come
            first.
    """

    task: str
    metric: str
    networks: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def build_detail_tables(results: Results) -> list[DetailTable]:
    """Return a table per task for which anything was kept, in the order of the tasks."""
    networks = _list_networks(results)
    tables = []
    for task, facts in results.study.tasks.items():
        columns = [_list_figures(metrics[task]) for metrics in networks.values()]
        names = dict.fromkeys(name for column in columns for name in column)
        rows = tuple((name, tuple(column.get(name, _UNKNOWN) for column in columns)) for name in names)
        if rows:
            tables.append(DetailTable(task, facts.metric, tuple(networks), rows))
    return tables


def _list_networks(results: Results) -> dict[str, Mapping[str, MetricValue]]:
    """Return the metrics of all networks that were measured, those of the report's table in its order."""
    candidates = sorted(results.candidates, key=lambda candidate: -candidate.madds)
    found: dict[str, Mapping[str, MetricValue]] = {
        candidate.name: candidate.metrics for candidate in candidates if candidate.metrics is not None
    }
    if results.baselines is None:
        return found
    return {
        "separate networks": results.baselines.single.metrics,
        **found,
        "everything shared": results.baselines.shared.metrics,
    }


def _list_figures(measured: MetricValue) -> dict[str, str]:
    """Return the figures behind a metric by their names."""
    if measured.details is None:
        return {}
    side = {_name(figure.name, figure.unit): _format(figure.value) for figure in measured.details.figures}
    return side | {row.name: _format(row.value) for row in measured.details.per_class}


def _name(name: str, unit: str) -> str:
    """Return the name of a side figure with its unit."""
    return f"{name}, {unit}" if unit else name


def _format(value: float | None) -> str:
    """Return a figure with as many digits as are worth reading, a dash for a class that never occurs."""
    if value is None:
        return _UNKNOWN
    digits = 3 if abs(value) < 2 else 2 if abs(value) < 100 else 1
    return f"{value:.{digits}f}".replace("-", MINUS)
