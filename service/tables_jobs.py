"""What a server tells -> tables for people: jobs, trials, fronts and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table

from service.client_records import FoundArchitecture, Front, Job, Trial
from service.tables import build_table, format_count, format_gain, format_metric

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


def build_front_table(front: Front) -> Table:
    """Return one row per network of a search: baselines, then what was found; a star marks the front."""
    tasks = _tasks_of(front)
    columns = [
        f"{task}\n{entry['metric']} {'↑' if entry['higher_is_better'] else '↓'}" for task, entry in tasks.items()
    ]
    names = ("network", "architecture", "front", "MAdds", "params", "delta_m %")
    table = build_table("Networks", *names, *columns, counts_from=3)
    for name, baseline in _baselines_of(front).items():
        table.add_row(name, "", "", *_counts(baseline), format_gain(baseline.get("delta_m")), *_cells(tasks, baseline))
    if front.baselines:
        table.add_section()
    for point in sorted(front.points, key=lambda found: found.madds):
        star = "*" if point.id in front.front else ""
        counts = _counts({"madds": point.madds, "params": point.params})
        gain = format_gain(point.delta_m)
        table.add_row(point.name, point.id, star, *counts, gain, *_cells(tasks, {"metrics": point.metrics}))
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


def _tasks_of(front: Front) -> Mapping[str, Mapping[str, Any]]:
    """Return per task one metric entry, for its name and direction; empty where nothing was measured."""
    measured: Sequence[FoundArchitecture] = [point for point in front.points if point.metrics]
    return measured[0].metrics or {} if measured else {}


def _baselines_of(front: Front) -> dict[str, Mapping[str, Any]]:
    """Return the baselines by the name that people read."""
    return {name: baseline for name, baseline in front.baselines.items() if isinstance(baseline, Mapping)}


def _counts(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return the cells of MAdds and parameters."""
    madds, params = entry.get("madds"), entry.get("params")
    return "" if madds is None else format_count(madds), "" if params is None else format_count(params)


def _cells(tasks: Mapping[str, Any], entry: Mapping[str, Any]) -> list[str]:
    """Return a cell per task, empty where nothing was measured."""
    metrics = entry.get("metrics") or {}
    return [format_metric(metrics[task]["value"]) if task in metrics else "" for task in tasks]
