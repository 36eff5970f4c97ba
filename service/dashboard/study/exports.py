"""Exports of what the page of a study shows: the same networks, figures and order as CSV and as JSON. Pure."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from typing import Any

from service.dashboard.study.front import Network, StudyFront, read_finite

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(shown: StudyFront) -> str:
    """Return a line per network; text that a spreadsheet would run as a formula is quoted by an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    records = list_records(shown)
    columns = list(_describe(None, shown))
    writer.writerow([_neutralise(column) for column in columns])
    writer.writerows([_neutralise(record[column]) for column in columns] for record in records)
    return out.getvalue()


def write_json(shown: StudyFront, study_key: str) -> str:
    """Return all that is shown as one document: what was chosen, both axes, networks, front, baselines and seeds."""
    choices, front = shown.choices, shown.front
    document = {
        "study_key": study_key,
        "x": front.x.model_dump() | {"name": choices.x},
        "y": front.y.model_dump(),
        "search": choices.search or None,
        "feasible": choices.feasible,
        "limit": choices.limit,
        "best": None if shown.best is None else shown.best.row.id,
        "front": front.front,
        "hypervolume": front.hypervolume,
        "reference": front.reference,
        "baselines": {name: baseline.model_dump() for name, baseline in front.baselines.items()},
        "networks": list_records(shown, nested=True),
        "seeds": [
            {
                "search_id": group.job_id,
                "budget_madds": group.budget_madds,
                "architecture_ids": [member.row.id for member in group.members],
                "mean_x": group.mean_x,
                "mean_y": group.mean_y,
                "std_y": group.deviation,
                "min_y": min(group.ys),
                "max_y": max(group.ys),
            }
            for group in shown.groups
        ],
    }
    return json.dumps(_drop_infinite(document), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def list_records(shown: StudyFront, *, nested: bool = False) -> list[dict[str, Any]]:
    """Return a flat record per network in the order of the table; with `nested`, its metrics as an object."""
    records = []
    for network in shown.networks:
        record = _describe(network, shown)
        if nested:
            for task, (metric, _) in shown.tasks.items():
                record.pop(f"{task} {metric}")
            record["metrics"] = {task: network.read_metric(task) for task in shown.tasks}
        records.append(record)
    return records


def _describe(network: Network | None, shown: StudyFront) -> dict[str, Any]:
    """Return the record of a network; None gives its keys alone."""
    row = None if network is None else network.row
    record: dict[str, Any] = {
        name: None if row is None else getattr(row, name)
        for name in ("name", "seed", "budget_madds", "madds", "params")
    }
    ids: Mapping[str, Any] = {"architecture_id": row and row.id, "search_id": row and row.job_id}
    record = {**ids, "search": network and network.search, **record}
    if shown.has_latency:
        record["latency_ms"] = network and network.latency_ms
    record["delta_m"] = row and read_finite(row.delta_m)
    for task, (metric, _) in shown.tasks.items():
        record[f"{task} {metric}"] = network and network.read_metric(task)
    for name in ("x", "y", "on_front", "is_over", "is_best"):
        record["over_limit" if name == "is_over" else name] = None if network is None else getattr(network, name)
    return record


def _drop_infinite(value: Any) -> Any:
    """Return a document with null for the numbers that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: _drop_infinite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_drop_infinite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _neutralise(value: Any) -> Any:
    """Return the value of a cell: nothing for what is not known, truth as 1 or 0, no text that acts as a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
