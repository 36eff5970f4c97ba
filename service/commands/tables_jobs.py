"""What a server tells -> tables for people: jobs, trials, fronts and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table

from service.client_parts.records import FoundArchitecture, Front, Job, Trial
from service.commands.tables import build_table, format_count, format_gain, format_metric

_SINGLE_PREFIX = "single-"


def build_jobs_table(jobs: Sequence[Job]) -> Table:
    """Return one row per job."""
    table = build_table("Jobs", "id", "state", "progress", "trials", "best delta_m %", "submitted", "name")
    for job in jobs:
        trials = f"{job.trials_done}/{job.trials_total}"
        created = format_time(job.created_at)
        table.add_row(
            job.id, job.state, f"{job.progress:.0%}", trials, format_gain(job.best_delta_m), created, job.name
        )
    return table


def build_trials_table(job: Job, trials: Sequence[Trial]) -> Table:
    """Return one row per trial of a job."""
    table = build_table(f"{job.id}: {job.state}", "trial", "state", "attempts", "at", "why")
    for trial in trials:
        at = f"{trial.stage} {trial.step}/{trial.total_steps}" if trial.state == "RUNNING" and trial.total_steps else ""
        why = " ".join(part for part in (trial.reason, trial.message) if part)
        table.add_row(trial.name, trial.state, str(trial.attempts), at, why)
    return table


def build_front_table(front: Front, found: Sequence[FoundArchitecture]) -> Table:
    """Return one row per network of a search: baselines, then what was found; a star marks the front.

    Args:
        front: Of the search.
        found: The networks with their metrics.
    """
    metrics = {network.id: network.metrics or {} for network in found}
    tasks = next((measured for measured in metrics.values() if measured), {})
    columns = [
        f"{task}\n{entry['metric']} {'↑' if entry['higher_is_better'] else '↓'}" for task, entry in tasks.items()
    ]
    names = ("network", "architecture", "front", "MAdds", "params", "delta_m %")
    table = build_table("Networks", *names, *columns, counts_from=3)
    for name, baseline in front.baselines.items():
        shown = f"single ({len(tasks)} networks)" if name == "single" and tasks else name
        gain, cells = format_gain(baseline["delta_m"]), _metric_cells(tasks, baseline["metrics"] or {})
        table.add_row(shown, "", "", *_count_cells(baseline["madds"], baseline["params"]), gain, *cells)
    if front.baselines:
        table.add_section()
    for point in sorted(front.points, key=lambda point: point.madds):
        star = "*" if point.id in front.front else ""
        gain, cells = format_gain(point.delta_m), _metric_cells(tasks, metrics.get(point.id, {}))
        table.add_row(point.name, point.id, star, *_count_cells(point.madds, point.params), gain, *cells)
    return table


def build_tokens_table(tokens: Sequence[Mapping[str, Any]]) -> Table:
    """Return one row per access token."""
    table = build_table("Access tokens", "id", "name", "owner", "role", "created", "expires", "last used", "revoked")
    for token in tokens:
        times = [format_time(token.get(f"{what}_at")) for what in ("created", "expires", "last_used", "revoked")]
        table.add_row(str(token["id"]), str(token["name"]), str(token["owner"]), str(token["role"]), *times)
    return table


def format_time(text: str | None) -> str:
    """Return a time in this machine's zone to the minute, "" for none."""
    if not text:
        return ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")


def _count_cells(madds: int, params: int) -> tuple[str, str]:
    """Return the cells of MAdds and parameters."""
    return format_count(madds), format_count(params)


def _metric_cells(tasks: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """Return a cell per task, empty where nothing was measured."""
    return [format_metric(metrics[task]["value"]) if task in metrics else "" for task in tasks]
