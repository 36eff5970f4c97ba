"""What the page of a job shows, from records."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.records.jobs import AttemptRecord, JobRecord, Resources, TrialRecord
from db.records.results import FrontRow
from db.records.states import AttemptState, JobKind, JobState, Reason, TrialState
from service.dashboard.formats import NOTHING
from service.dashboard.job.view import (
    MAX_ROWS,
    build_lanes,
    build_trial_rows,
    choose_rows,
    collect_points,
    compute_own_progress,
    count_states,
    find_trouble,
    list_attempt_notes,
    list_budgets,
)
from service.web.fronts import build_front

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TRIAL = TrialRecord(
    id="tril_1", job_id="srch_1", kind="candidate", name="60pct-s0", spec={"budget": "60%"}, reuse_key=None, seed=0,
    budget_madds=180_000, state=TrialState.RUNNING, reason=None, message="", attempts=1, failures=0, not_before=None,
    stage="search", step=5, total_steps=10, reused_from=None, result=None, created_at=NOW, started_at=NOW,
    finished_at=None,
)  # fmt: skip
ATTEMPT = AttemptRecord(
    id="att_1", trial_id="tril_1", job_id="srch_1", number=1, worker_id="worker-1", state=AttemptState.RUNNING,
    reason=None, message="", lease_until=NOW, heartbeat_at=NOW, started_at=NOW, ended_at=None, stage="search", step=5,
    total_steps=10,
)  # fmt: skip


def _job(state: JobState, reason: Reason | None = None) -> JobRecord:
    return JobRecord(
        id="srch_1", kind=JobKind.SEARCH, owner="olga", name="a search", labels={}, notes="", spec={}, spec_hash="",
        study_key="k", priority=0, resources=Resources(), max_attempts=3, state=state, reason=reason, message="It did.",
        stop_requested=None, retry_of=None, architecture_id=None, created_at=NOW, started_at=NOW, finished_at=None,
        deadline_at=None, trials_total=4, trials_done=1, progress=0.25, best_delta_m=None, version=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"left": {"value": 91.25}, "right": {"value": 8}}, "left 91.25, right 8.000"),
        ({"left": {"value": float("nan")}}, f"left {NOTHING}"),
        (
            {"a": {"value": 1}, "b": {"value": 1}, "c": {"value": 1}, "d": {"value": 1}},
            "a 1.000, b 1.000, c 1.000 and 1 more",
        ),
        ({"left": {}, "right": None}, ""),
        (None, ""),
        ("odd", ""),
    ],
)
def test_a_baseline_shows_its_metrics(metrics: Any, words: str) -> None:
    """The first few in words; what is no number is a dash, what is no metric is left out."""
    done = replace(TRIAL, kind="single", state=TrialState.SUCCEEDED, result={"madds": 12, "metrics": metrics})
    (row,) = build_trial_rows([done], {}, NOW)
    assert (row.kind, row.metrics, row.madds, row.share) == ("single-task baseline", words, 12, 1.0)


def test_a_candidate_links_to_its_network() -> None:
    """With its gain, as soon as it is known."""
    (row,) = build_trial_rows([replace(TRIAL, result={"madds": float("nan")})], {"tril_1": ("arch_1", 1.5)}, NOW)
    assert (row.architecture_id, row.delta_m, row.madds, row.share) == ("arch_1", 1.5, None, 0.5)
    (none,) = build_trial_rows([TRIAL], {}, NOW)
    assert (none.architecture_id, none.delta_m, none.state_words) == (None, None, "Running")


def test_what_was_taken_over_is_no_work_done() -> None:
    """Five baselines of another search and a candidate half way: the half is what tells the pace."""
    taken = replace(TRIAL, state=TrialState.SUCCEEDED, reused_from="tril_0")
    assert compute_own_progress([*[taken] * 5, TRIAL]) == 0.5
    assert compute_own_progress([taken]) == 0.0


def test_of_very_many_trials_the_telling_ones_are_listed() -> None:
    """What runs or failed is never left out for what waits or is done, and the order stays."""
    states = [TrialState.QUEUED] * 150 + [TrialState.SUCCEEDED] * 150 + [TrialState.FAILED, TrialState.RUNNING]
    trials = [replace(TRIAL, id=f"t{n}", state=state) for n, state in enumerate(states)]
    shown = choose_rows(trials)
    assert len(shown) == MAX_ROWS
    assert [trial.id for trial in shown] == [trial.id for trial in trials if trial in shown]
    assert shown[-2:] == trials[-2:]
    assert sum(trial.state is TrialState.SUCCEEDED for trial in shown) == 150
    assert choose_rows(trials[:5]) == trials[:5]


def test_lanes_count_from_the_first_attempt() -> None:
    """A running attempt reaches to now; trials that nobody took have no lane."""
    early = replace(ATTEMPT, state=AttemptState.LOST, ended_at=NOW + timedelta(seconds=5), reason=Reason.LEASE_LOST)
    early = replace(early, heartbeat_at=NOW + timedelta(seconds=4))
    late = replace(ATTEMPT, number=2, started_at=NOW + timedelta(seconds=7), begun_at=NOW + timedelta(seconds=9))
    lanes = build_lanes([TRIAL, replace(TRIAL, id="tril_2")], {"tril_1": [early, late]}, NOW + timedelta(seconds=20))
    assert [(bar.taken_seconds, bar.start_seconds, bar.end_seconds, bar.state) for bar in lanes[0].bars] == [
        (0, 0, 4, "LOST"),
        (7, 9, 20, "RUNNING"),
    ]
    assert len(lanes) == 1


def test_notes_are_of_what_ended_otherwise_than_well() -> None:
    """The list in words is for what one has to know."""
    done = replace(ATTEMPT, state=AttemptState.SUCCEEDED)
    lost = replace(ATTEMPT, state=AttemptState.LOST, reason=Reason.LEASE_LOST)
    assert list_attempt_notes([TRIAL], {"tril_1": [done, ATTEMPT]}, NOW) == []
    (note,) = list_attempt_notes([TRIAL], {"tril_1": [done, lost]}, NOW)
    assert note.trial == "60pct-s0"


def test_trouble_is_told_of_what_failed_or_was_stopped_only() -> None:
    """With what to do, and who is concerned."""
    failed = replace(TRIAL, state=TrialState.FAILED)
    assert find_trouble(_job(JobState.RUNNING), [failed]) is None
    trouble = find_trouble(_job(JobState.FAILED, Reason.DIVERGED), [failed] * 7)
    assert trouble is not None
    assert trouble.headline.startswith("The training diverged")
    assert (len(trouble.failed), trouble.num_failed, trouble.message) == (5, 7, "It did.")
    unknown = find_trouble(_job(JobState.CANCELLED), [])
    assert unknown is not None
    assert unknown.advice


def test_budgets_are_told_once_and_in_order() -> None:
    """Seeds do not repeat them."""
    other = replace(TRIAL, spec={"budget": "50%"}, budget_madds=150_000)
    baseline = replace(TRIAL, kind="shared", budget_madds=None)
    assert list_budgets([TRIAL, TRIAL, other, baseline]) == [("50%", 150_000), ("60%", 180_000)]


def test_states_are_counted_in_words() -> None:
    """Only those that occur."""
    assert count_states([TRIAL, TRIAL, replace(TRIAL, state=TrialState.FAILED)]) == [("running", 2), ("failed", 1)]


def test_points_are_networks_whose_gain_is_known() -> None:
    """Untrained ones cannot be drawn."""
    rows = [
        FrontRow("a", "srch_1", "t1", "x", 0, 200, 100, 5, 1.5),
        FrontRow("b", "srch_1", "t2", "y", 0, 9, 9, 5, None),
    ]
    metrics = {"left": {"metric": "accuracy", "value": 90.0, "higher_is_better": True}}
    front = build_front(rows, {"single-left": {"metrics": metrics, "madds": 7, "params": 1}})
    assert [(point.name, point.kind) for point in collect_points(front)] == [("single-task", "single"), ("x", "front")]
