"""The small front: every network a mark, the front a step line."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from service.pages.front.drawing import Point
from service.pages.front.small import small_front_svg

_POINTS = st.builds(
    Point,
    name=st.text(max_size=30),
    madds=st.floats(min_value=0, max_value=1e13),
    delta_m=st.floats(min_value=-1e3, max_value=1e3),
    kind=st.sampled_from(["front", "behind", "single", "shared"]),
)


def test_networks_are_marks_and_the_front_is_a_line() -> None:
    """What the search page shows beside its figures."""
    points = [Point("single-task", 300, 0, "single"), Point("a", 180, 1.5, "front"), Point("b", 220, -1, "behind")]
    root = ElementTree.fromstring(small_front_svg(points, standalone=True))
    titles = [next(iter(mark)).text for mark in root.iter() if mark.get("class") == "point"]
    assert titles[1] == "a: 180 MAdds, delta_m +1.50 %"
    assert len(titles) == len(points)
    assert [element.get("class") for element in root.iter() if element.get("class") == "front"] == ["front"]


def test_baselines_alone_have_no_front() -> None:
    """Before a candidate is trained there is no line."""
    assert 'class="front"' not in small_front_svg([Point("single-task", 300, 0, "single")])


def test_a_crowd_behind_the_front_is_dots_without_names() -> None:
    """A thousand networks weigh little; those on the front keep their names."""
    crowd = [Point(f"n{n}", 100 + n, -n / 100, "behind") for n in range(1000)]
    svg = small_front_svg([Point("best", 90, 1, "front"), *crowd])
    assert len(svg) < 30_000
    root = ElementTree.fromstring(svg)
    assert [next(iter(mark)).text for mark in root.iter() if mark.get("class") == "point"] == [
        "best: 90 MAdds, delta_m +1.00 %"
    ]
    (dots,) = [str(mark.get("d")) for mark in root.iter() if mark.get("class") == "crowd"]
    assert dots.count("M") == 1000
    assert "And 1000 networks behind the front." in svg


@given(st.lists(_POINTS, min_size=1, max_size=20))
def test_any_networks_can_be_drawn(points: list[Point]) -> None:
    """However far apart, on one spot or oddly named, it is well-formed."""
    root = ElementTree.fromstring(small_front_svg(points))
    assert sum(mark.get("class") == "point" for mark in root.iter()) == len(points)
