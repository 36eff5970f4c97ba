"""delta_m: the mean relative gain of a multi-task network over single-task baselines.

Source: Bruggemann et al., BMVC 2020 (after Maninis et al., CVPR 2019). Pure: no torch; the web process scores with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from search.errors import TaskSetError
from search.results import MetricValue

SMALLEST_BASELINE = {"mErr": 0.1, "RMSE": 0.001}
"""Smallest baseline that delta_m divides by, degrees and metres; 1 percentage point for all other metrics."""


def compute_delta_m(metrics: Mapping[str, MetricValue], baselines: Mapping[str, MetricValue]) -> float:
    """Return the mean relative gain over the single-task baselines, percent; above 0 is better than they are.

    delta_m = 100 / T * sum over tasks of s * (M - B) / B, with s = -1 where lower is better. A baseline below
    `SMALLEST_BASELINE` (a network that learned nothing scores 0 %) divides by that bound instead, so that the gain
    stays finite and keeps its sign and order.

    Args:
        metrics: Of the multi-task network, per task.
        baselines: Of the single-task networks, for the same tasks and metrics.

    Raises:
        TaskSetError: The two name different tasks or metrics, or none.
    """
    _check_same_tasks(metrics, baselines)
    gains = []
    for name, measured in metrics.items():
        baseline = baselines[name].value
        gain = (measured.value - baseline) / max(baseline, SMALLEST_BASELINE.get(measured.metric, 1.0))
        gains.append(gain if measured.higher_is_better else -gain)
    return 100 * math.fsum(gains) / len(gains)


def score_documents(metrics: Mapping[str, Any], baselines: Mapping[str, Any]) -> float:
    """Return delta_m in percent of metrics as they stand in JSON: per task {metric, value, higher_is_better}.

    Raises:
        TaskSetError: The two name different tasks or metrics, or none.
    """
    return compute_delta_m(_parse(metrics), _parse(baselines))


def _parse(document: Mapping[str, Any]) -> dict[str, MetricValue]:
    """Return metrics from JSON values."""
    return {task: MetricValue.model_validate(measured) for task, measured in document.items()}


def _check_same_tasks(metrics: Mapping[str, MetricValue], baselines: Mapping[str, MetricValue]) -> None:
    seen = {name: measured.metric for name, measured in metrics.items()}
    wanted = {name: baseline.metric for name, baseline in baselines.items()}
    if not seen or seen != wanted:
        raise TaskSetError(
            f"delta_m compares the same metric of the same tasks, got {seen} against baselines {wanted}. "
            "Train the baselines of exactly these tasks."
        )
