"""Curves of a job: from the figures of its trials to panels."""

from datetime import UTC, datetime

import pytest

from db.records.jobs import TrialRecord
from db.records.states import TrialState
from service.dashboard.job.curves import build_curves, choose_trials, draw_legend

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
Points = list[tuple[int, float]]


def _trial(name: str, kind: str = "candidate", state: TrialState = TrialState.SUCCEEDED) -> TrialRecord:
    return TrialRecord(
        id=f"id-{name}", job_id="srch_1", kind=kind, name=name, spec={}, reuse_key=None, seed=0,
        budget_madds=200 if kind == "candidate" else None, state=state, reason=None, message="", attempts=1,
        failures=0, not_before=None, stage="", step=0, total_steps=0, reused_from=None, result=None, created_at=NOW,
        started_at=NOW, finished_at=None,
    )  # fmt: skip


def _figures(*names: str) -> dict[tuple[str, str], Points]:
    """Return what a candidate reports, per trial name."""
    kinds = ("search/temperature", "search/loss left", "search/expected_madds", "train/loss left", "odd")
    return {(f"id-{name}", figure): [(step, 9.0 - step) for step in range(5)] for name in names for figure in kinds}


def test_the_search_comes_first_and_its_cost_before_all() -> None:
    """Stages in the order in which they run, then whatever else is reported."""
    curves = build_curves([_trial("a")], _figures("a"))
    assert [group.title for group in curves.groups] == ["While searching", "While training", "While in stage odd"]
    titles = [panel.title for panel in curves.groups[0].panels]
    assert titles == ["expected MAdds (dashed: budget)", "temperature", "loss left"]
    assert all(panel.across == "step" for group in curves.groups for panel in group.panels)


def test_the_budget_is_drawn_where_the_cost_is() -> None:
    """A level line in the colour of its trial."""
    (line, budget) = build_curves([_trial("a")], _figures("a")).groups[0].panels[0].lines
    assert (budget.dashed, budget.paint, budget.points) == (True, line.paint, ((0.0, 200.0), (4.0, 200.0)))


def test_the_legend_names_the_trials_that_have_figures() -> None:
    """In their order, with the colours and the marks of their lines."""
    curves = build_curves([_trial("a"), _trial("none"), _trial("b")], _figures("a", "b"))
    assert curves.legend == ((0, "1", "a"), (1, "2", "b"))
    assert [(line.paint, line.mark) for line in curves.groups[1].panels[0].lines] == [(0, "1"), (1, "2")]
    assert [name for _, name in draw_legend(curves)] == ["a", "b"]


def test_no_figures_no_curves() -> None:
    """A queued job has none, nor has one whose figures were no finite numbers."""
    assert build_curves([_trial("a")], {}).groups == ()


def test_of_many_trials_the_telling_ones_are_drawn() -> None:
    """No more lines than colours: candidates that run, other candidates, then baselines; in their own order."""
    trials = [_trial(f"s{index}", "single") for index in range(5)]
    trials += [_trial(f"c{index}", state=TrialState.RUNNING if index > 9 else TrialState.FAILED) for index in range(12)]
    chosen = [trial.name for trial in choose_trials(trials)]
    assert chosen == ["c0", "c1", "c2", "c3", "c4", "c5", "c10", "c11"]


@pytest.mark.parametrize("num_trials", [1, 8, 200])
def test_a_page_of_curves_stays_small(num_trials: int) -> None:
    """However many trials and steps there are, the points of all panels are few."""
    trials = [_trial(f"c{index}") for index in range(num_trials)]
    figures = {
        (trial.id, f"search/loss {task}"): [(step, float(step % 7)) for step in range(2000)]
        for trial in trials
        for task in range(6)
    }
    panels = [panel for group in build_curves(trials, figures).groups for panel in group.panels]
    assert sum(len(line.points) for panel in panels for line in panel.lines) <= 9000
