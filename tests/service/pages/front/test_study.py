"""The drawing of a study: a mark per network where its figures say, the front as brute force finds it, labels apart."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.pages.front.study import Axis, FrontPlot, Mark, ReferencePoint, SeedBar, study_front_svg

SVG = "{http://www.w3.org/2000/svg}"
X, Y = Axis("MAdds", is_count=True), Axis("delta_m", higher_is_better=True)


def plot(points: list[tuple[float, float]], on_front: set[int] | None = None, **changes: object) -> FrontPlot:
    """Return a plot of some points, those on the front marked."""
    marks = [
        Mark(id=f"n{i}", label=f"n{i}", title=f"n{i} it", x=x, y=y, on_front=i in (on_front or set()))
        for i, (x, y) in enumerate(points)
    ]
    return FrontPlot(**{"marks": marks, "series": (), "x": X, "y": Y, **changes})  # type: ignore[arg-type]


def parse(drawing: str) -> ElementTree.Element:
    """Return a drawing as a tree of elements."""
    return ElementTree.fromstring(drawing)


def corners(drawing: str) -> list[tuple[float, float]]:
    """Return the corners of the step line at which a network stands."""
    path = re.search(r'class="front-line" d="M([\d.]+) ([\d.]+)((?:H[\d.]+V[\d.]+)*)H', drawing)
    if path is None:
        return []
    steps = re.findall(r"H([\d.]+)V([\d.]+)", path[3])
    return [(float(x), float(y)) for x, y in [(path[1], path[2]), *steps]]


POINTS = st.lists(st.tuples(st.integers(1, 9), st.integers(-4, 4)), min_size=1, max_size=12, unique=True)


@settings(max_examples=60)
@given(POINTS)
def test_the_step_line_goes_through_what_none_beats(points: list[tuple[int, int]]) -> None:
    """The corners of the line are the networks that brute force finds, cheaper ones lower and further left."""
    best = {i for i, (x, y) in enumerate(points) if not any((a, b) != (x, y) and a <= x and b >= y for a, b in points)}
    drawing = study_front_svg(plot([(float(x), float(y)) for x, y in points], best), title="t")
    found = corners(drawing)
    assert len(found) == len(best)
    assert [x for x, _ in found] == sorted(x for x, _ in found)
    assert [y for _, y in found] == sorted((y for _, y in found), reverse=True)


@pytest.mark.parametrize("num", [0, 1, 2, 40])
def test_every_network_is_a_link_in_the_page_and_none_in_the_file(num: int) -> None:
    """The page leads from each mark to its network; the file that is kept has marks alone, and both are sound XML."""
    points = [(1e6 * (i + 1), float(i % 7)) for i in range(num)]
    page = parse(study_front_svg(plot(points), title="t"))
    file = parse(study_front_svg(plot(points), title="t", standalone=True))
    links = page.findall(f".//{SVG}a")
    assert [link.get("href") for link in links] == [f"/architectures/n{i}" for i in range(num)]
    assert file.findall(f".//{SVG}a") == []
    assert page.get("role") == "group"
    assert file.get("role") == "img"


def test_lower_is_better_points_down() -> None:
    """An axis whose metric is better when lower has its small figures at the top."""
    marks = plot([(1.0, 0.1), (2.0, 0.9)]).marks
    drawing = study_front_svg(FrontPlot(marks, (), X, Axis("depth: rmse")), title="t")
    heights = [float(y) for y in re.findall(r'<a id="point-n\d".*?d="M[\d.]+ ([\d.]+)', drawing)]
    assert heights[0] < heights[1]


def test_series_differ_in_shape_and_colour() -> None:
    """No two of eight series have the same outline, nor the same colour."""
    marks = [Mark(id=f"n{i}", label="", title="", x=1.0, y=1.0, series=i) for i in range(8)]
    drawing = study_front_svg(FrontPlot(marks, [f"s{i}" for i in range(8)], X, Y), title="t")
    outlines = re.findall(r"</title><path d=\"([^\"]+)\"", drawing)
    assert len(set(outlines)) == 8
    assert len(set(re.findall(r'class="marks" fill="[^"]+" stroke="([^"]+)"', drawing))) == 8


def test_what_is_over_the_limit_is_dimmed_and_the_best_ringed() -> None:
    """The limit is a line; networks beyond it fade, the best one within has a ring and its name."""
    marks = [
        Mark(id="a", label="cheap", title="", x=1.0, y=1.0, is_best=True),
        Mark(id="b", label="dear", title="", x=9.0, y=2.0, is_over=True),
    ]
    drawing = study_front_svg(FrontPlot(marks, (), X, Y, limit=3.0), title="t")
    assert drawing.count('opacity="0.22"') == 1
    assert drawing.count('class="best"') == 1
    assert 'class="limit"' in drawing
    assert ">cheap</text>" in drawing


def test_references_and_seeds_are_drawn() -> None:
    """Baselines stand with their names, means over seeds with their ends."""
    drawing = study_front_svg(
        plot(
            [(1.0, 1.0)],
            references=[
                ReferencePoint("single", "single-task", 3.0, 0.0),
                ReferencePoint("shared", "all shared", 1, -5),
            ],
            bars=[SeedBar("mean of two", 1.0, 1.0, 0.5, 1.5)],
        ),
        title="t",
    )
    assert drawing.count('class="seed-bar"') == 1
    assert ">single-task</text>" in drawing
    assert ">all shared</text>" in drawing


def test_names_are_text_and_nothing_else() -> None:
    """What people call a network cannot become markup."""
    marks = [Mark(id="a", label="<script>", title="<b>", x=1.0, y=1.0, on_front=True)]
    drawing = study_front_svg(FrontPlot(marks, ["<i>", "b"], X, Y), title="<u>")
    parse(drawing)
    assert not re.search(r"<(script|b|i|u)>", drawing)


def test_a_thousand_networks_stay_light() -> None:
    """A thousand marks take less than 230 kB, so that the page stays under 300."""
    points = [(1e6 * (1 + i * 7919 % 1009), (i * 104_729 % 997) / 10) for i in range(1000)]
    marks = [Mark(id=f"arch_{i:020x}", label=f"n{i}", title=f"60pct-s{i}: 0.310 M MAdds, delta_m +0.91 %", x=x, y=y)
             for i, (x, y) in enumerate(points)]  # fmt: skip
    drawing = study_front_svg(FrontPlot(marks, (), X, Y), title="t")
    assert len(drawing.encode()) < 230_000


def test_an_empty_plot_makes_no_figures_up() -> None:
    """Without networks and baselines the axes bear names, not figures."""
    words = re.findall(r">([^<]+)</text>", study_front_svg(plot([]), title="t"))
    assert "nothing to draw yet" in words
    assert not any(re.search(r"\d", word) for word in words)
