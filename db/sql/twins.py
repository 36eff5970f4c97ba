"""Twins: trials with the same reuse key, of which one runs for all; and the architectures that trials leave.

Locks on a study and on reuse keys are taken before any job is held; a claim, which holds its job first, only tries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select

from db.records.results import NewArchitecture
from db.records.states import TrialState
from db.rules import find_delta_m, front_event, merge_single_metrics, new_id
from db.sql import schema
from db.sql.ledger import Ledger, Row
from db.stores import Score

_NO_ROW = {"reason": None, "message": ""}


def reuse_lock(reuse_key: str) -> str:
    """Return the name of the lock on a reuse key."""
    return f"reuse {reuse_key}"


def lock_study(ledger: Ledger, study_key: str | None, reuse_keys: Iterable[str]) -> None:
    """Keep others from finishing, starting or submitting twins of these keys, or scoring in this study, to the end."""
    keys = list(reuse_keys)
    ledger.tx.lock_names([*map(reuse_lock, keys), *_submit_locks(study_key, keys)])


def lock_study_for_submit(ledger: Ledger, study_key: str, reuse_keys: Iterable[str]) -> None:
    """Keep others from finishing twins of these keys, or scoring in this study, to the end; many may submit at once."""
    ledger.tx.lock_names(_submit_locks(study_key, reuse_keys), shared=True)


def _submit_locks(study_key: str | None, reuse_keys: Iterable[str]) -> list[str]:
    """Return the locks that a submit shares with other submits only, but not with what finishes twins or scores.

    They are others than those on the reuse keys: a claim would never win a key that someone is always submitting.
    """
    names = [f"submit {key}" for key in reuse_keys]
    return names if study_key is None else [f"study {study_key}", *names]


def find_origins(ledger: Ledger, reuse_keys: Sequence[str]) -> dict[str, Row]:
    """Return {reuse key: trial id, document and architecture of the trial that found the result}."""
    if not reuse_keys:
        return {}
    trial, result = schema.trial, schema.result
    joined = trial.join(result, result.c.trial_id == trial.c.id)
    query = select(trial.c.id, trial.c.reuse_key, result.c.document).select_from(joined)
    query = query.where(trial.c.reuse_key.in_(reuse_keys), schema.RESULT_IS_OWN).order_by(result.c.created_at)
    origins = {row["reuse_key"]: row for row in ledger.tx.list_rows(query)}
    ids = [row["id"] for row in origins.values()]
    query = select(schema.architecture).where(schema.architecture.c.trial_id.in_(ids))
    architectures = {row["trial_id"]: row for row in (ledger.tx.list_rows(query) if ids else [])}
    return {key: row | {"architecture": architectures.get(row["id"])} for key, row in origins.items()}


def take_over(ledger: Ledger, trial: Row, origin: Row) -> None:
    """Finish a queued trial of a held job with what its twin found."""
    store_result(ledger, trial, origin["document"], origin_trial_id=origin["id"])
    ledger.move_trial(trial, TrialState.SUCCEEDED, _NO_ROW | {"reused_from": origin["id"]})
    if origin["architecture"] is not None:
        copy = {"copied_from": origin["architecture"]["id"], "name": trial["name"]}
        insert_architecture(ledger, trial, origin["architecture"] | copy)


def store_result(
    ledger: Ledger, trial: Row, document: Any, *, attempt_id: str | None = None, origin_trial_id: str | None = None
) -> None:
    """Store the only result of a trial; the table refuses a second one."""
    row = {name: trial[name] for name in ("kind", "name")} | {"trial_id": trial["id"], "document": document}
    row |= {"attempt_id": attempt_id, "origin_trial_id": origin_trial_id, "created_at": ledger.now}
    row["study_key"] = ledger.job(trial["job_id"])["study_key"]
    ledger.tx.insert_rows(schema.result, [row])


def add_architecture(ledger: Ledger, trial: Row, new: NewArchitecture, score: Score) -> None:
    """Store the network that a trial of a held job found, scored if its study has the baselines."""
    values = dict(vars(new)) | {"document": dict(new.document), "tasks": list(new.tasks), "copied_from": None}
    values["metrics"] = None if new.metrics is None else dict(new.metrics)
    if new.delta_m is None and new.metrics:
        singles = read_single_metrics(ledger, ledger.job(trial["job_id"])["study_key"])
        values["delta_m"] = find_delta_m(new.metrics, singles, new.tasks, score)
    insert_architecture(ledger, trial, values)


def insert_architecture(ledger: Ledger, trial: Row, values: Row) -> None:
    """Store a network under a trial of a held job, and tell of it."""
    job = ledger.job(trial["job_id"])
    row = values | {"id": new_id("arch"), "job_id": job["id"], "trial_id": trial["id"], "created_at": ledger.now}
    row |= {"study_key": job["study_key"], "owner": job["owner"]}
    ledger.tx.insert_rows(schema.architecture, [row])
    tasks = [{"architecture_id": row["id"], "task": task} for task in dict.fromkeys(row["tasks"])]
    ledger.tx.insert_rows(schema.architecture_task, tasks)
    _note_score(ledger, row)


def read_single_metrics(ledger: Ledger, study_key: str) -> dict[str, Any]:
    """Return {task: metric} of the single-task networks of a study, the newest where there are several."""
    result = schema.result
    query = select(result.c.document).where(
        result.c.study_key == study_key, result.c.kind == "single", schema.RESULT_IS_OWN
    )
    rows = ledger.tx.execute(query.order_by(result.c.created_at, result.c.trial_id)).scalars()
    return merge_single_metrics(rows)


def score_study(ledger: Ledger, study_key: str, score: Score) -> None:
    """Give the networks of a study the delta_m that can be known now; their jobs are held."""
    singles = read_single_metrics(ledger, study_key)
    table = schema.architecture
    query = select(table).where(table.c.study_key == study_key, schema.ARCHITECTURE_AWAITS_SCORE)
    for row in ledger.tx.list_rows(query.order_by(table.c.created_at, table.c.id)):
        delta_m = find_delta_m(row["metrics"], singles, row["tasks"], score)
        if delta_m is not None:
            ledger.tx.update_row(table, row["id"], {"delta_m": delta_m})
            _note_score(ledger, row | {"delta_m": delta_m})


def _note_score(ledger: Ledger, row: Row) -> None:
    """Tell of a network that is new or newly scored, and keep the best of its job."""
    job = ledger.job(row["job_id"])
    delta_m, best = row["delta_m"], job["best_delta_m"]
    if delta_m is not None and (best is None or delta_m > best):
        ledger.change_job(job["id"], {"best_delta_m": delta_m})
    ledger.add_event(job["id"], "front", front_event(row))
