"""The front drawing: every network a mark, labels apart, the front a step line; bars where quality is unknown."""

from collections.abc import Callable
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from search.results import Results
from service.pages.front.drawing import _overlap, collect_points, front_svg, place_labels

SVG = "{http://www.w3.org/2000/svg}"


def _elements(svg: str, kind: str) -> list[ElementTree.Element]:
    """Return the elements of a class."""
    return [element for element in ElementTree.fromstring(svg).iter() if element.get("class") == kind]


def test_every_network_has_a_mark_with_its_figures(build_results: Callable[..., Results]) -> None:
    """Baselines and candidates stand in the plane, and hovering tells their figures."""
    titles = [point.findtext(f"{SVG}title") for point in _elements(front_svg(build_results((-0.4, 0.2))), "point")]
    assert len(titles) == 4
    assert titles[0] == "single-task: 0.525 M MAdds, delta_m 0.00 %"
    assert titles[2] == "c0: 0.257 M MAdds, delta_m −0.40 %"  # noqa: RUF001


def test_dominated_candidates_are_told_from_the_front(build_results: Callable[..., Results]) -> None:
    """The kind of a mark follows the front of the results."""
    kinds = [point.kind for point in collect_points(build_results((-0.4, -0.8)))]
    assert kinds == ["single", "shared", "front", "behind"]


def test_the_front_is_a_step_line(build_results: Callable[..., Results]) -> None:
    """It runs level and upright only."""
    results = build_results((-2.0, -1.0, 0.0)).model_copy(update={"front": ("c0", "c1", "c2")})
    (line,) = _elements(front_svg(results), "front")
    assert {char for char in str(line.get("d")) if char.isalpha()} == {"M", "H", "V"}


def test_an_unmeasured_candidate_is_left_out(build_results: Callable[..., Results]) -> None:
    """What was not retrained has no place on the axis of gain."""
    assert [point.name for point in collect_points(build_results((None, 0.1)))] == ["single-task", "all shared", "c1"]


def test_without_retraining_costs_are_bars(build_results: Callable[..., Results]) -> None:
    """There is a bar for each candidate and for both ends of the range."""
    svg = front_svg(build_results((None, None, None)))
    assert len(_elements(svg, "bar")) == 5
    assert not _elements(svg, "point")


@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(st.tuples(st.floats(100, 480), st.floats(110, 290)), min_size=1, max_size=10),
)
def test_labels_of_ten_networks_never_overlap(places: list[tuple[float, float]]) -> None:
    """Wherever the networks lie, even on one spot, their labels stand apart."""
    boxes = place_labels(places, [f"60pct-s{index}" for index in range(len(places))])
    pairs = [(one, other) for index, one in enumerate(boxes) for other in boxes[:index]]
    assert all(_overlap(one, other) == 0 for one, other in pairs)


def test_a_label_keeps_clear_of_obstacles() -> None:
    """Where its first spot is crossed by a line it takes another."""
    plain = place_labels([(200.0, 200.0)], ["name"])[0]
    moved = place_labels([(200.0, 200.0)], ["name"], [(180.0, 198.0, 400.0, 202.0)])[0]
    assert plain != moved
    assert _overlap(moved, (180.0, 198.0, 400.0, 202.0)) == 0


def test_equal_costs_and_gains_still_draw(build_results: Callable[..., Results]) -> None:
    """A study of one candidate whose gain is zero has axes."""
    assert "delta_m" in front_svg(build_results((0.0,)))
