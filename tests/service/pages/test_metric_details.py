"""What stands behind the metrics, for every kind of task, in the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch

from search.data.catalogue import TaskInfo, TaskKind
from search.judging.tasks import KINDS, build_metric
from search.results import ClassFigure, MetricDetails, MetricValue, Results
from service.pages.metric_details import build_detail_tables
from service.pages.report import render_report


def with_details(results: Results, details: MetricDetails | None) -> Results:
    """Return a study in which every network kept these details of its first task."""
    first = next(iter(results.study.tasks))

    def put(metrics: dict[str, MetricValue]) -> dict[str, MetricValue]:
        return metrics | {first: metrics[first].model_copy(update={"details": details})}

    candidates = tuple(
        candidate.model_copy(update={"metrics": put(candidate.metrics or {})}) for candidate in results.candidates
    )
    assert results.baselines is not None
    single, shared = results.baselines.single, results.baselines.shared
    baselines = results.baselines.model_copy(
        update={
            "single": single.model_copy(update={"metrics": put(single.metrics)}),
            "shared": shared.model_copy(update={"metrics": put(shared.metrics)}),
        }
    )
    return results.model_copy(update={"candidates": candidates, "baselines": baselines})


def measure(kind: TaskKind) -> tuple[TaskInfo, MetricDetails]:
    """Return a task of a kind and what its metric keeps of one random batch."""
    torch.manual_seed(0)
    channels = {"segmentation": 3, "parts": 3, "classification": 3, "normals": 3}.get(kind, 1)
    task = TaskInfo("it", kind, channels, ("one", "two", "three") if channels == 3 else (), 0.9)
    label = (
        torch.nn.functional.normalize(torch.randn(2, 3, 8, 8), dim=1) if kind == "normals" else torch.ones(2, 1, 8, 8)
    )
    if kind in ("segmentation", "parts", "classification"):
        label = (
            torch.zeros(2, dtype=torch.int64) if kind == "classification" else torch.zeros(2, 8, 8, dtype=torch.int64)
        )
    output = torch.randn(2, channels, 8, 8) if KINDS[kind].dense else torch.randn(2, channels)
    metric = build_metric(task)
    metric.update(output, label)
    return task, metric.describe(task.class_names)


@pytest.mark.parametrize("kind", get_args(TaskKind))
def test_every_kind_of_task_has_its_figures_in_the_report(
    build_results: Callable[..., Results], kind: TaskKind
) -> None:
    """Classes by their names or the figures usual for the kind: each is a row with a figure per network."""
    task, details = measure(kind)
    results = with_details(build_results(), details)
    (table,) = build_detail_tables(results)
    names = [name for name, _ in table.rows]
    assert names
    assert set(names) >= set(task.class_names if kind in ("segmentation", "parts", "classification") else ())
    page = render_report(results, {})
    assert '<h2 id="details">' in page
    assert all(f'title="{name}"' in page for name in names)


def test_networks_stand_in_the_order_of_the_table(build_results: Callable[..., Results]) -> None:
    """Separate networks, candidates from the dearest on, everything shared."""
    results = with_details(build_results(), MetricDetails(per_class=(ClassFigure(name="car", value=12.345),)))
    (table,) = build_detail_tables(results)
    dearest_first = sorted(results.candidates, key=lambda candidate: -candidate.madds)
    assert table.networks == ("separate networks", *(found.name for found in dearest_first), "everything shared")
    assert table.rows == (("car", ("12.35",) * len(table.networks)),)


def test_a_class_that_never_occurs_has_a_dash(build_results: Callable[..., Results]) -> None:
    """It is no zero; and a class of a hostile name is no markup."""
    rows = (ClassFigure(name="<b>ghost</b>", value=None), ClassFigure(name="car", value=0.0))
    results = with_details(build_results(), MetricDetails(per_class=rows))
    (table,) = build_detail_tables(results)
    assert [figures[0] for _, figures in table.rows] == ["\N{EN DASH}", "0.000"]
    assert "<b>ghost" not in render_report(results, {})


def test_studies_that_kept_nothing_have_no_such_section(build_results: Callable[..., Results]) -> None:
    """Old documents, and jobs without retraining, get a report as ever."""
    for results in (with_details(build_results(), None), build_results(deltas=(None,))):
        assert build_detail_tables(results) == []
        assert 'id="details"' not in render_report(results, {})
