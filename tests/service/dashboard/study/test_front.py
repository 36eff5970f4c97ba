"""What a study shows: the API's front, the best within a limit, seeds together, nothing made up where it is unknown."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.records.results import FrontRow
from service.dashboard.study.choices import StudyChoices
from service.dashboard.study.front import StudyFront, build_study_front, sort_networks
from service.dashboard.study.view import build_plot, list_seed_rows, write_left_out, write_summary
from service.web.fronts import FrontQuestion, build_front


def network(index: int, madds: int, delta_m: float | None, **changes: Any) -> FrontRow:
    """Return a network that was found."""
    row = FrontRow(
        id=f"arch_{index}",
        job_id="srch_1",
        trial_id=f"tria_{index}",
        name=f"n{index}",
        seed=0,
        budget_madds=100,
        madds=madds,
        params=10 * madds,
        delta_m=delta_m,
        metrics={"left": {"metric": "accuracy", "value": 50.0 + index, "higher_is_better": True}},
    )
    return row._replace(**changes)


def show(rows: list[FrontRow], **choices: Any) -> StudyFront:
    """Return what is shown of some networks."""
    return build_study_front(rows, {}, {}, StudyChoices(**choices))


POINTS = st.lists(st.tuples(st.integers(1, 9), st.one_of(st.none(), st.integers(-5, 5))), max_size=12)


@settings(max_examples=100)
@given(POINTS, st.integers(1, 10))
def test_the_best_is_what_brute_force_finds(points: list[tuple[int, int | None]], limit: int) -> None:
    """Within the limit none gains more, and of those that gain as much none is cheaper; the front is the API's."""
    rows = [network(i, madds, gain) for i, (madds, gain) in enumerate(points)]
    shown = show(rows, under=str(limit))
    within = [(gain, -madds) for madds, gain in points if gain is not None and madds <= limit]
    best = shown.best
    assert (best is None) == (not within)
    assert best is None or (best.row.delta_m, -best.row.madds) == max(within)
    assert shown.front.front == build_front(rows, {}, FrontQuestion()).front
    assert {n.row.id for n in shown.networks if n.on_front} == set(shown.front.front)


def test_what_is_not_known_is_named_and_not_drawn() -> None:
    """A network without a figure, or with one that is no number, stands in the table and in a note."""
    rows = [network(0, 1, 1.0), network(1, 2, None), network(2, 3, math.nan), network(3, 4, math.inf)]
    shown = show(rows)
    assert [n.row.name for n in shown.drawn] == ["n0"]
    assert len(shown.networks) == 4
    assert write_left_out(shown).startswith("3 networks are in the table but not in the drawing")
    assert [mark.id for mark in build_plot(shown).marks] == ["arch_0"]


def test_a_study_without_networks_says_so() -> None:
    """Nothing found yet is no mistake."""
    assert write_summary(show([])) == "No network has been found yet."


def test_networks_over_their_own_budget_may_be_left_out() -> None:
    """Feasible means within its own budget, or without one."""
    rows = [network(0, 100, 1.0), network(1, 101, 2.0), network(2, 999, 3.0, budget_madds=None)]
    assert {n.row.name for n in show(rows, feasible=True).networks} == {"n0", "n2"}


def test_a_metric_where_lower_is_better() -> None:
    """The best is the lowest, and the front is that of the metric."""

    def rmse(value: float) -> dict[str, Any]:
        return {"depth": {"metric": "rmse", "value": value, "higher_is_better": False}}

    rows = [
        network(i, madds, None, metrics=rmse(value)) for i, (madds, value) in enumerate([(1, 0.9), (2, 0.5), (3, 0.7)])
    ]
    shown = show(rows, y="depth")
    assert shown.best is not None
    assert shown.best.row.name == "n1"
    assert shown.front.front == ["arch_0", "arch_1"]


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6))
def test_seeds_of_one_search_and_budget_are_averaged(gains: list[float]) -> None:
    """Mean, deviation and range are those of the textbook; another budget is another group."""
    rows = [network(i, 10, gain, seed=i) for i, gain in enumerate(gains)]
    shown = show([*rows, network(90, 10, 1.0, budget_madds=7)], spread="std")
    (group,) = shown.groups
    assert group.mean_y == pytest.approx(statistics.fmean(gains))
    assert group.deviation == pytest.approx(statistics.stdev(gains))
    assert group.ends("range") == (min(gains), max(gains))
    assert len(list_seed_rows(shown)) == 1


@given(POINTS, st.sampled_from(["x", "-x", "y", "-y", "name", "-delta_m", "task.left", "-task.left", "nonsense"]))
def test_sorting_keeps_all_and_puts_the_unknown_last(points: list[tuple[int, int | None]], sort: str) -> None:
    """No network is lost, and those without a figure come last in both directions."""
    networks = show([network(i, madds, gain) for i, (madds, gain) in enumerate(points)]).networks
    ordered = sort_networks(networks, sort)
    assert sorted(n.row.id for n in ordered) == sorted(n.row.id for n in networks)
    if sort.lstrip("-") == "y":
        known = [n.y for n in ordered if n.y is not None]
        assert [n.y for n in ordered][: len(known)] == known
        assert known == sorted(known, reverse=sort.startswith("-"))


def test_rare_series_share_the_last_place_of_the_legend() -> None:
    """Of eleven seeds eight marks are told apart, the last of them standing for all others."""
    rows = [network(i, 1 + i, 1.0, seed=i if i < 11 else 0) for i in range(12)]
    shown = show(rows, colour="seed")
    assert len(shown.series) == 8
    assert shown.series[-1] == "all others"
    assert max(n.series for n in shown.networks) == 7


def test_what_a_study_does_not_have_is_not_chosen() -> None:
    """An unknown task and a latency that nobody measured fall back on what there is."""
    choices = show([network(0, 1, 1.0)], x="latency_ms", y="smell").choices
    assert (choices.x, choices.y) == ("madds", "delta_m")
    assert replace(choices, y="left") == show([network(0, 1, 1.0)], y="left").choices
