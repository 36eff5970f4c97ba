"""Curves: one panel per figure, one colour per stage in all of them."""

import re
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

from search.results import Results
from service.pages.curves_drawing import (
    Line,
    Panel,
    mark_svg,
    panel_svg,
    search_labels,
    search_panels,
    training_labels,
    training_panels,
)


def _curves(svg: str) -> list[ElementTree.Element]:
    """Return the lines and dots of a panel."""
    return [element for element in ElementTree.fromstring(svg).iter() if element.get("class") == "curve"]


def test_searches_and_training_have_panels_of_their_own(build_results: Callable[..., Results]) -> None:
    """Search figures come first, then one panel per loss."""
    history = build_results().history
    assert [panel.title for panel in search_panels(history, {})] == ["expected MAdds", "temperature"]
    assert [panel.title for panel in training_panels(history)] == ["loss left", "loss right"]


def test_single_task_networks_share_one_colour(build_results: Callable[..., Results]) -> None:
    """The legend names them once, and the candidate after them."""
    history = build_results().history
    assert training_labels(history) == ("single-task", "retrain 50%")
    assert search_labels(history) == ("search c0",)
    assert [[line.paint for line in panel.lines] for panel in training_panels(history)] == [[0, 1], [0, 1]]


def test_the_budget_is_a_level_dashed_line(build_results: Callable[..., Results]) -> None:
    """What was aimed at looks different from what came, and spans the same epochs."""
    panel = search_panels(build_results().history, {"search c0": 2e5, "search of another run": 1e5})[0]
    assert panel.title == "expected MAdds (dashed: budget)"
    assert [line.dashed for line in panel.lines] == [False, True]
    assert panel.lines[1].points == ((1.0, 2e5), (5.0, 2e5))
    assert "stroke-dasharray" in panel_svg(panel)


def test_epochs_are_whole_numbers() -> None:
    """Three epochs have no tick at one and a half."""
    svg = panel_svg(Panel("x", (Line("s", 0, ((1.0, 1.0), (3.0, 2.0))),)))
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.get("text-anchor") == "middle"]
    assert texts == ["1", "2", "3"]


def test_a_single_step_is_a_dot(build_results: Callable[..., Results]) -> None:
    """One epoch is still to be seen."""
    svg = panel_svg(training_panels(build_results().history)[0])
    assert [curve.tag.split("}")[1] for curve in _curves(svg)] == ["path", "circle"]


def test_flat_and_negative_figures_have_an_axis() -> None:
    """Neither zeros nor losses below zero break a panel."""
    for values in ((0.0, 0.0), (-3.0, -3.0), (-1.0, 2.0)):
        points = tuple((float(step), value) for step, value in enumerate(values))
        assert len(_curves(panel_svg(Panel("x", (Line("s", 0, points),))))) == 1


def _read_corners(path: str) -> list[str]:
    """Return how far to the right the corners of the first shape of a path lie."""
    return re.findall(r"[ML](-?[0-9.]+) ", path.partition("z")[0])


def test_lines_are_told_apart_without_colour() -> None:
    """Each marked line has shapes of its own along it and its mark at its end; marks of lines that meet stand apart."""
    level = [tuple((float(step), 1.0 + n / 1000) for step in range(9)) for n in range(4)]
    lines = tuple(Line(f"c{n}", n, points, mark=str(n + 1)) for n, points in enumerate(level))
    root = ElementTree.fromstring(panel_svg(Panel("loss", (*lines, Line("budget", 0, level[0], dashed=True)))))
    shapes = [str(element.get("d")) for element in root.iter() if element.get("class") == "shapes"]
    widths = {tuple(float(x) - float(found[0]) for x in found) for found in map(_read_corners, shapes)}
    assert len(widths) == 4
    marks = [element for element in root.iter() if element.get("class") == "mark"]
    assert sorted(str(mark.text) for mark in marks) == ["1", "2", "3", "4"]
    heights = sorted(float(str(mark.get("y"))) for mark in marks)
    assert all(after - before >= 9 for before, after in pairwise(heights))
    assert "curve-mark" in mark_svg(3, "4")


def test_no_history_draws_nothing() -> None:
    """Empty histories and stages without figures give no panel."""
    for history in ({}, {"s": ()}):
        assert (search_panels(history, {}), training_panels(history)) == ((), ())
