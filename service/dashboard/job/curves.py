"""The figures that trials report -> panels of curves: what the searches did, then the training.

A figure is called "stage/name" (`service.working.remote_reporter`). More trials than there are colours would not be
told apart, so only some are drawn unless one is asked for. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from db.records.jobs import TrialRecord
from db.records.states import TrialState
from service.pages.curves_drawing import Line, Panel, mark_svg
from service.pages.drawing import TASK_COLOURS
from service.web.thinning import thin_points

Figures = Mapping[tuple[str, str], Sequence[tuple[int, float]]]
_MAX_LINES = len(TASK_COLOURS)
_MAX_POINTS_IN_ALL = 8_000
_SEARCH, _TRAIN = "search", "train"
_SEARCH_FIRST = ("expected_madds", "resource_weight", "temperature", "held-out loss")
_TITLES = {
    "expected_madds": "expected MAdds",
    "resource_weight": "resource weight",
    "held-out loss": "loss on held-out samples",
}


@dataclass(frozen=True)
class CurveGroup:
    """The panels of one stage, under a headline."""

    title: str
    note: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Curves:
    """All curves of a job.

    Attributes:
        groups: The panels.
        legend: (colour, mark, name) per trial that is drawn.
    """

    groups: tuple[CurveGroup, ...]
    legend: tuple[tuple[int, str, str], ...]


def build_curves(trials: Sequence[TrialRecord], figures: Figures) -> Curves:
    """Return the curves of a job, of at most as many trials as there are colours.

    Args:
        trials: Of the job, in order.
        figures: {(trial id, "stage/name"): [(step, value), ...]}.
    """
    known = {trial_id for trial_id, _ in figures}
    chosen = choose_trials([trial for trial in trials if trial.id in known])
    paints = {trial.id: index for index, trial in enumerate(chosen)}
    names = {name: None for trial_id, name in figures if trial_id in paints}
    stages = list(dict.fromkeys(name.partition("/")[0] for name in names))
    stages.sort(key=lambda stage: (stage != _SEARCH, stage != _TRAIN))
    num_points = max(12, min(160, _MAX_POINTS_IN_ALL // max(1, len(names) * len(chosen))))
    groups = []
    for stage in stages:
        inside = sorted((name for name in names if name.partition("/")[0] == stage), key=_rank)
        panels = tuple(_build_panel(name, chosen, figures, num_points) for name in inside)
        groups.append(CurveGroup(*_describe_stage(stage), panels))
    legend = tuple((paint, _mark(paint), trial.name) for paint, trial in enumerate(chosen))
    return Curves(tuple(groups), legend)


def draw_legend(curves: Curves) -> list[tuple[Markup, str]]:
    """Return what tells the lines apart: the shape and mark of each, and its name."""
    return [(Markup(mark_svg(paint, mark)), name) for paint, mark, name in curves.legend]  # drawn by ourselves


def choose_trials(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return at most as many trials as there are colours, in their order: candidates first, then what runs."""
    wanted = sorted(trials, key=lambda trial: (trial.kind != "candidate", trial.state is not TrialState.RUNNING))
    kept = {trial.id for trial in wanted[:_MAX_LINES]}
    return [trial for trial in trials if trial.id in kept]


def _build_panel(name: str, trials: Sequence[TrialRecord], figures: Figures, num_points: int) -> Panel:
    """Return the panel of one figure, with the budgets where it shows what they bound."""
    figure = name.partition("/")[2] or name
    lines = []
    for paint, trial in enumerate(trials):
        found = figures.get((trial.id, name))
        if not found:
            continue
        points = tuple((float(step), value) for step, value in thin_points(found, num_points))
        lines.append(Line(trial.name, paint, points, mark=_mark(paint)))
        if figure == "expected_madds" and trial.budget_madds is not None:
            ends = tuple((step, float(trial.budget_madds)) for step in dict.fromkeys((points[0][0], points[-1][0])))
            lines.append(Line(f"{trial.name}, budget", paint, ends, dashed=True))
    title = _TITLES.get(figure, figure)
    budget = " (dashed: budget)" if any(line.dashed for line in lines) else ""
    return Panel(title + budget, tuple(lines), across="step")


def _mark(paint: int) -> str:
    """Return what stands at the end of a line: a number, since letters tell networks of one name apart."""
    return str(paint + 1)


def _rank(name: str) -> tuple[int, str]:
    """Return the place of a figure among those of its stage."""
    figure = name.partition("/")[2]
    return (_SEARCH_FIRST.index(figure) if figure in _SEARCH_FIRST else len(_SEARCH_FIRST), figure)


def _describe_stage(stage: str) -> tuple[str, str]:
    """Return the headline of a stage and what its curves say."""
    if stage == _SEARCH:
        return "While searching", (
            "The expected cost is driven to the budget while the temperature falls and the choices harden; losses are "
            "means over an epoch."
        )
    if stage == _TRAIN:
        return "While training", "Training loss per task of the networks that were found and of the baselines."
    return f"While in stage {stage}", "Figures that the trials report."
