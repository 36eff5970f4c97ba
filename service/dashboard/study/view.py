"""A `StudyFront` for templates and drawing: rows and columns of the table, words, and the plot. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.dashboard.formats import count, figure, signed, tone
from service.dashboard.study.choices import StudyChoices
from service.dashboard.study.front import Network, StudyFront, name_axis, read_finite
from service.pages.drawing import TIMES, escape
from service.pages.front.study import Axis, FrontPlot, Mark, ReferencePoint, SeedBar
from service.schemas.results import Baseline

ROWS_PER_PAGE = 50
_MAX_NAMED = 5
_REFERENCE_NAMES = {"single": "single-task", "shared": "all shared"}


@dataclass(frozen=True)
class Column:
    """A column of the table: its key for sorting, its heading, and a second line below it."""

    key: str
    heading: str
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """A figure, and beside it its gain over the single-task network where that is known."""

    value: str
    gain: str = ""
    tone: str = ""


def build_plot(shown: StudyFront) -> FrontPlot:
    """Return the plot of what is shown."""
    choices, front = shown.choices, shown.front
    has_series = len(shown.series) > 1
    return FrontPlot(
        marks=[
            Mark(
                id=network.row.id,
                label=network.row.name,
                title=f"{network.row.name}: {write_point(network, choices)}",
                x=network.x or 0.0,
                y=network.y or 0.0,
                series=network.series,
                on_front=network.on_front,
                is_over=network.is_over,
                is_best=network.is_best,
                is_pinned=network.is_pinned,
            )
            for network in shown.drawn
        ],
        series=shown.series if has_series else (),
        x=Axis(name_axis(choices.x, shown.tasks), is_count=choices.x != "latency_ms"),
        y=Axis(name_axis(choices.y, shown.tasks), higher_is_better=front.y.better == "higher"),
        references=list_references(shown),
        bars=[
            SeedBar(
                title=f"{group.search}: mean {write_quality(group.mean_y, choices)} of {len(group.members)} seeds",
                x=group.mean_x,
                y=group.mean_y,
                low=group.ends(choices.spread)[0],
                high=group.ends(choices.spread)[1],
                series=group.members[0].series,
            )
            for group in shown.groups
        ],
        limit=choices.limit,
    )


def list_references(shown: StudyFront) -> list[ReferencePoint]:
    """Return the baselines that have both figures on the chosen axes."""
    found = []
    for kind, baseline in shown.front.baselines.items():
        y = read_finite(baseline.y)
        if y is not None:
            found.append(ReferencePoint(kind, _REFERENCE_NAMES[kind], baseline.x, y))
    return found


def write_point(network: Network, choices: StudyChoices) -> str:
    """Return both figures of a network in words."""
    return f"{write_cost(network.x, choices)}, {write_quality(network.y, choices)}"


def write_cost(x: float | None, choices: StudyChoices) -> str:
    """Return a cost with its unit."""
    if choices.x == "latency_ms":
        return f"{figure(x)} ms"
    return f"{count(x)} {'MAdds' if choices.x == 'madds' else 'parameters'}"


def write_quality(y: float | None, choices: StudyChoices) -> str:
    """Return a quality with its name."""
    return f"delta_m {signed(y)} %" if choices.y == "delta_m" else f"{choices.y} {figure(y)}"


def list_table_columns(shown: StudyFront) -> list[Column]:
    """Return the columns of the table after the name."""
    columns = [
        Column("search", "Search"),
        Column("seed", "Seed"),
        Column("budget", "Budget", "MAdds"),
        Column("madds", "MAdds", "of single-task" if shown.single is not None else ""),
        Column("params", "Parameters"),
    ]
    if shown.has_latency:
        columns.append(Column("latency_ms", "Latency", "ms"))
    columns.append(Column("delta_m", "delta_m", "%"))
    for task, (metric, higher_is_better) in shown.tasks.items():
        columns.append(Column(f"task.{task}", task, f"{metric} {'↑' if higher_is_better else '↓'}"))
    return columns


def list_table_rows(shown: StudyFront, networks: Sequence[Network]) -> list[dict[str, Any]]:
    """Return what the table says of some networks, cells in the order of its columns."""
    single = shown.single
    rows = []
    for network in networks:
        row = network.row
        share = f"{100 * row.madds / single.madds:.1f} %" if single is not None and single.madds else ""
        cells = [
            Cell(str(row.seed)),
            Cell(count(row.budget_madds)),
            Cell(count(row.madds), share),
            Cell(count(row.params)),
        ]
        if shown.has_latency:
            cells.append(Cell(figure(network.latency_ms)))
        delta_m = read_finite(row.delta_m)
        cells.append(Cell(signed(delta_m), tone=tone(delta_m)))
        cells += list_metric_cells(row.metrics or {}, list(shown.tasks), single)
        rows.append({"network": network, "cells": cells})
    return rows


def list_metric_cells(metrics: Mapping[str, Any], tasks: Sequence[str], single: Baseline | None) -> list[Cell]:
    """Return a cell per task: the metric, and its gain over the single-task network in percent."""
    cells = []
    for task in tasks:
        measured = metrics.get(task, {})
        value = read_finite(measured.get("value"))
        base = None if single is None else read_finite(single.metrics.get(task, {}).get("value"))
        if value is None or not base:
            cells.append(Cell(figure(value)))
            continue
        gain = 100 * (value - base) / abs(base) * (1 if measured["higher_is_better"] else -1)
        cells.append(Cell(figure(value), f"{signed(gain, 1)} %", tone(gain)))
    return cells


def list_seed_rows(shown: StudyFront) -> list[dict[str, Any]]:
    """Return what the table of seeds says."""
    return [
        {
            "search": group.search,
            "job_id": group.job_id,
            "budget": count(group.budget_madds),
            "num": len(group.members),
            "cost": write_cost(group.mean_x, shown.choices),
            "mean": _write_plain(group.mean_y, shown.choices),
            "deviation": figure(group.deviation),
            "low": _write_plain(min(group.ys), shown.choices),
            "high": _write_plain(max(group.ys), shown.choices),
        }
        for group in shown.groups
    ]


def _write_plain(y: float, choices: StudyChoices) -> str:
    """Return a quality without its name."""
    return signed(y) if choices.y == "delta_m" else figure(y)


def write_left_out(shown: StudyFront) -> str:
    """Return which networks are not drawn, and why; "" where all are."""
    left_out = shown.left_out
    if not left_out:
        return ""
    names = [network.row.name for network in left_out[:_MAX_NAMED]]
    more = f" and {len(left_out) - len(names)} more" if len(left_out) > len(names) else ""
    missing = shown.choices.y if all(network.y is None for network in left_out) else "a figure"
    what = "1 network is" if len(left_out) == 1 else f"{len(left_out)} networks are"
    return f"{what} in the table but not in the drawing, because {missing} is not known: {', '.join(names)}{more}."


def write_summary(shown: StudyFront) -> str:
    """Return what there is to see, in a sentence or two."""
    num = len(shown.networks)
    if not num:
        return "No network has been found yet."
    if not shown.drawn:
        these = "1 network" if num == 1 else f"{num} networks"
        return f"{these}, of none of which {shown.choices.y} is known: not trained yet, or their baselines are not."
    words = [f"{num} network{'s' if num > 1 else ''}, {len(shown.front.front)} on the front."]
    limit = "" if shown.choices.limit is None else f" under {shown.choices.under}"
    if shown.best is not None:
        words.append(f"The best{limit} is {shown.best.row.name}: {write_point(shown.best, shown.choices)}.")
    elif limit:
        words.append(f"No network costs less than {shown.choices.under}.")
    return " ".join(words).replace(" %", "\N{NO-BREAK SPACE}%")


def write_area(shown: StudyFront) -> str:
    """Return the hypervolume with its unit; "" where there is none."""
    area = read_finite(shown.front.hypervolume)
    unit = shown.front.y.unit
    return "" if area is None else f"{count(area)} {shown.front.x.unit} {TIMES} {unit}"


def find_sorted_column(choices: StudyChoices) -> str:
    """Return the column by which the table is sorted, with "-" for the largest first."""
    columns = {"x": choices.x, "y": choices.y if choices.y == "delta_m" else f"task.{choices.y}"}
    sign, column = choices.sort[: choices.sort.startswith("-")], choices.sort.removeprefix("-")
    return sign + columns.get(column, column)


def write_title(shown: StudyFront) -> str:
    """Return the title of the drawing."""
    y = "delta_m" if shown.choices.y == "delta_m" else shown.choices.y
    return escape(f"{name_axis(shown.choices.x, {}).split(' of ')[0].split(' (')[0]} against {y}").capitalize()
