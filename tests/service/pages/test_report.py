"""The report: one page that says the result in plain words, loads nothing, and lets no name become markup."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from models.branching import Branching
from search.architecture import Architecture
from search.results import Results
from service.pages.report import Picture, find_best, render_report, write_headline


class _Page(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep one tag."""
        self.found.append((tag, dict(attrs)))

    def count(self, tag: str) -> int:
        """Return how often a tag stands on the page."""
        return sum(found == tag for found, _ in self.found)


def _architectures(results: Results, build: Callable[..., Architecture]) -> dict[str, Architecture]:
    """Return a tree for every candidate."""
    tasks = tuple(results.study.tasks)
    return {candidate.name: build(Branching.shared(tasks, 5)) for candidate in results.candidates}


def test_the_page_loads_nothing_and_runs_nothing(
    build_results: Callable[..., Results], build_architecture: Callable[..., Architecture]
) -> None:
    """No script, no handler, no address but embedded pictures, and a policy that forbids the rest."""
    results = build_results()
    page = _Page(render_report(results, _architectures(results, build_architecture), [Picture("two images", b"png")]))
    for tag, attributes in page.found:
        assert tag not in {"script", "link", "iframe", "object", "form"}
        assert not [
            name for name in attributes if name.startswith("on") or name in {"href", "srcset", "action", "style"}
        ]
        assert str(attributes.get("src", "data:")).startswith("data:image/png;base64,") or "src" not in attributes
    policies = [attributes.get("content") for tag, attributes in page.found if "http-equiv" in attributes]
    assert str(policies[0]).startswith("default-src 'none'")


def test_every_section_is_there(
    build_results: Callable[..., Results], build_architecture: Callable[..., Architecture]
) -> None:
    """Front, table, trees, predictions, curves, use and provenance stand on one page."""
    results = build_results()
    html = render_report(results, _architectures(results, build_architecture), [Picture("two images", b"png")])
    found = re.findall(r'<h2 id="(\w+)">', html)
    assert found == ["cost", "trees", "pictures", "search", "training", "use", "provenance"]
    page = _Page(html)
    assert page.count("svg") == 1 + 2 + 4
    assert page.count("tr") == 1 + 4
    for value in results.study.dataset_fingerprint, results.study.spec_hash, results.study.created:
        assert value in html


def test_what_is_missing_is_left_out(build_results: Callable[..., Results]) -> None:
    """Without trees, pictures and history the page is shorter, not broken."""
    html = render_report(build_results().model_copy(update={"history": {}}), {})
    assert re.findall(r'<h2 id="(\w+)">', html) == ["cost", "use", "provenance"]


def test_without_retraining_there_is_no_column_of_gains(build_results: Callable[..., Results]) -> None:
    """A search alone reports costs and says so."""
    html = render_report(build_results((None, None)), {})
    assert "Nothing was retrained" in html
    assert "delta_m, %" not in html
    assert "bmtas retrain --architecture candidates/c0/architecture.json" in html


def test_the_table_tells_value_and_gain(build_results: Callable[..., Results]) -> None:
    """A metric stands above its gain over the separate network."""
    html = render_report(build_results((-10.0,)), {})
    assert '<td>0.810<small class="bad">−10.0 %</small></td>' in html  # noqa: RUF001
    assert "<td>−10.00</td>" in html  # noqa: RUF001


def test_a_gain_counts_as_one_where_lower_is_better(build_results: Callable[..., Results]) -> None:
    """A smaller error is shown as a gain."""
    document = build_results((-10.0,)).model_dump_json().replace('"higher_is_better":true', '"higher_is_better":false')
    assert '<small class="good">+10.0 %</small>' in render_report(Results.model_validate_json(document), {})


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (
            (-0.42, -2.0),
            "One tree does the work of three separate networks for 49 % of their multiply-adds, and stays "
            "within 0.5 % of their quality",
        ),
        (
            (1.26,),
            "One tree does the work of three separate networks for 49 % of their multiply-adds, and does 1.3 % better",
        ),
        (
            (0.04,),
            "One tree does the work of three separate networks for 49 % of their multiply-adds, and on a par with them",
        ),
        (
            (-33.47,),
            "One tree does the work of three separate networks for 49 % of their multiply-adds, at a loss of 33.5 % in "
            "quality",
        ),
        ((None, None), "Two trees found, for 49 % to 54 % of the multiply-adds of three separate networks"),
        ((None,), "One tree found, for 49 % of the multiply-adds of three separate networks"),
        ((), "No tree was searched yet for the work of three separate networks"),
    ],
)
def test_the_headline_says_the_result_in_plain_words(
    deltas: tuple[float | None, ...], expected: str, build_results: Callable[..., Results]
) -> None:
    """It never promises more than was measured."""
    assert write_headline(build_results(deltas)) == expected


def test_the_best_is_the_largest_gain_and_the_cheaper_of_equals(build_results: Callable[..., Results]) -> None:
    """Cost decides only between equals."""
    best = find_best(build_results((0.1, 0.3, 0.3)))
    assert best is not None
    assert best.name == "c1"
    assert find_best(build_results((None,))) is None


def test_names_are_text_and_never_markup(
    build_results: Callable[..., Results], build_architecture: Callable[..., Architecture]
) -> None:
    """Tasks and captions named like tags are shown, not obeyed."""
    results = build_results(tasks=("<script>alert(1)</script>", 'x" onload="y'))
    html = render_report(
        results, _architectures(results, build_architecture), [Picture('<img src=x onerror="z">', b"png")]
    )
    page = _Page(html)
    assert page.count("script") == 0
    assert page.count("img") == 1
    assert not [name for _, attributes in page.found for name in attributes if name.startswith("on")]


def test_the_page_tells_how_long_training_waited_for_samples(build_results: Callable[..., Results]) -> None:
    """On the average and in the worst epoch, where it waited at all."""
    results = build_results()
    assert "waited for samples" not in render_report(results, {})
    rows = tuple({"step": step, "waiting": share} for step, share in ((1.0, 0.03), (2.0, 0.01)))
    waited = results.model_copy(update={"history": {**results.history, "retrain 60%": rows}})
    assert "2.0 % of an epoch, at most 3.0 % in retrain 60%" in render_report(waited, {})
