"""Values -> tables for people: datasets, backbones, costs, and what a study found.

Tables only; what they show comes as frozen values from `search` and `models`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from models.branching import Branching
from models.catalogue import BackboneInfo
from models.foreign import ForeignBackbone
from search.data.catalogue import DatasetInfo
from search.results import Candidate, MetricValue, Results

if TYPE_CHECKING:
    from search.costs.cost_table import CostTable

_PIPE_WIDTH = 160


def print_table(table: Table, stream: TextIO) -> None:
    """Print a table; where there is no terminal it takes the width it needs."""
    width = None if stream.isatty() else _PIPE_WIDTH
    Console(file=stream, width=width, highlight=False).print(table)


def build_datasets_table(datasets: Sequence[tuple[DatasetInfo, bool, Path | None]]) -> Table:
    """Return one row per dataset, given with each whether networks can be trained on it here and where it lies."""
    table = build_table("Datasets", "name", "search", "tasks (channels)", "size", "train", "val", "what it is", "where")
    table.columns[-1].overflow = "fold"  # a path that is cut would be of no use
    for info, trainable, place in datasets:
        low, high = info.sizes
        size = f"{low}" if low == high else f"{low} to {high}"
        tasks = ", ".join(f"{task.name} ({task.channels})" for task in info.tasks)
        can_search = "yes" if trainable else "no"
        counts = (str(info.num_train), str(info.num_val))
        where = "built in" if info.embedded else "not here: costs only" if place is None else str(place)
        table.add_row(info.name, can_search, tasks, size, *counts, info.summary, where)
    return table


def build_backbones_table(backbones: Sequence[BackboneInfo], foreign: Sequence[ForeignBackbone] = ()) -> Table:
    """Return one row per backbone; of those that other packages bring only what their metadata say."""
    table = build_table("Backbones", "name", "layers", "output stride", "smallest side", "what it is")
    for info in backbones:
        table.add_row(info.name, str(info.num_layers), str(info.output_stride), str(info.min_size), info.summary)
    for brought in foreign:
        table.add_row(brought.name, "", "", "", brought.problem or f"{brought.target} of {brought.package}")
    return table


def build_cost_table(costs: CostTable, dataset: str, branching: Branching | None) -> Table:
    """Return what every part costs, then the totals.

    Args:
        costs: The parts.
        dataset: Name of the dataset, for the title.
        branching: Tree of an architecture to count as well; None without one.
    """
    height, width = costs.input_size
    copied = [] if branching is None else ["one copy", "copies"]
    title = f"{costs.backbone} on {dataset}, one image of {height}x{width}"
    table = build_table(title, "part", *copied, "MAdds", "of single %", counts_from=1)
    num_copies = (1,) * len(costs.layer_names) if branching is None else branching.num_branches
    parts = [("stem", costs.stem_madds, 1)]
    parts += zip(costs.layer_names, costs.layer_madds, num_copies, strict=True)
    parts += [(f"head {task}", madds, 1) for task, madds in costs.decoder_madds.items()]
    for name, madds, number in parts:
        cells = [format_count(madds), str(number)] if copied else []
        table.add_row(name, *cells, format_count(number * madds), f"{100 * number * madds / costs.single_madds:.1f}")
    table.add_section()
    totals = [] if branching is None else [("architecture", costs.madds(branching))]
    totals += [("fully shared", costs.shared_madds), ("fully split, one stem", costs.split_madds)]
    totals += [(f"single ({costs.num_tasks} networks)", costs.single_madds)]
    for name, total in totals:
        table.add_row(name, *("" for _ in copied), format_count(total), f"{100 * total / costs.single_madds:.1f}")
    return table


def build_results_table(results: Results) -> Table:
    """Return one row per network of a study: single, shared, then the candidates; a star marks the front.

    Where nothing was trained there are costs only.
    """
    study, baselines = results.study, results.baselines
    single_name = f"single ({len(study.tasks)} networks)"
    if baselines is None:
        table = build_table("Networks", "network", "front", "MAdds", "params", counts_from=2)
        costs = study.costs
        table.add_row(single_name, "", *_count_cells(costs.single_madds, costs.single_params))
        table.add_row("shared", "", *_count_cells(costs.shared_madds, costs.shared_params), end_section=True)
        for found in results.candidates:
            table.add_row(found.name, _star(found, results), *_count_cells(found.madds, found.params))
        return table
    metrics = [f"{task}\n{entry.metric} {_arrow(entry.higher_is_better)}" for task, entry in study.tasks.items()]
    table = build_table("Networks", "network", "front", "MAdds", "params", "delta_m %", *metrics, counts_from=2)
    single, shared, tasks = baselines.single, baselines.shared, list(study.tasks)
    table.add_row(
        single_name,
        "",
        *_count_cells(single.madds, single.params),
        format_gain(0.0),
        *_metric_cells(tasks, single.metrics),
    )
    table.add_row(
        "shared",
        "",
        *_count_cells(shared.madds, shared.params),
        format_gain(shared.delta_m),
        *_metric_cells(tasks, shared.metrics),
        end_section=True,
    )
    for found in results.candidates:
        cells = (
            *_count_cells(found.madds, found.params),
            format_gain(found.delta_m),
            *_metric_cells(tasks, found.metrics),
        )
        table.add_row(found.name, _star(found, results), *cells)
    return table


def build_metrics_table(rows: Mapping[str, Mapping[str, MetricValue]]) -> Table:
    """Return one row per network and task with its metric."""
    table = build_table("Metrics", "network", "task", "metric", "value", "better")
    for network, metrics in rows.items():
        for task, measured in metrics.items():
            better = "higher" if measured.higher_is_better else "lower"
            table.add_row(network, task, measured.metric, format_metric(measured.value), better)
    return table


def format_count(count: int) -> str:
    """Return a count of MAdds or parameters for people: "5.986 G", "15.51 M", "812"."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return str(count)


def format_metric(value: float) -> str:
    """Return a metric for people: two decimals for percentages and degrees, four for small figures."""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def build_table(title: str, *columns: str, counts_from: int | None = None) -> Table:
    """Return an empty table in the house's look; columns from `counts_from` on hold figures and stand to the right."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        is_figure = counts_from is not None and index >= counts_from
        table.add_column(column, justify="right" if is_figure else "left")
    return table


def _arrow(higher_is_better: bool) -> str:
    """Return the sign that says which way is better."""
    return "↑" if higher_is_better else "↓"


def _star(candidate: Candidate, results: Results) -> str:
    """Return the mark of a candidate on the front."""
    return "*" if candidate.name in results.front else ""


def _count_cells(madds: int, params: int | None) -> tuple[str, str]:
    """Return the cells of MAdds and parameters."""
    return format_count(madds), "" if params is None else format_count(params)


def format_gain(delta_m: float | None) -> str:
    """Return a multi-task gain in percent with its sign; empty when it was not measured."""
    return "" if delta_m is None else f"{delta_m:+.2f}"


def _metric_cells(tasks: Sequence[str], metrics: Mapping[str, MetricValue] | None) -> list[str]:
    """Return a cell per task, empty where nothing was measured."""
    return ["" if metrics is None else format_metric(metrics[task].value) for task in tasks]
