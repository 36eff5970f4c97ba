"""The page of a study in a real browser: the API's numbers, each choice by keyboard, no JavaScript, live, light."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from db.questions import ArchitectureQuery
from db.records.results import NewArchitecture

SWEEP = {"tasks": ("left", "right"), "budgets": ("60%", "70%", "80%"), "seeds": (0, 1)}


@pytest.fixture(scope="module")
def study(site: Any, seed_search: Callable[..., Any]) -> str:
    """Return the key of a study with twelve networks of two searches, one of them measured as no number."""

    def value(trial: str, task: str) -> float:
        share = next((int(number) for number in re.findall(r"(\d+)pct", trial)), 70)
        return 60 + 0.4 * share + (7 * int(trial[-1]) if trial[-1].isdigit() else 0) - (share % 20)

    for name in ("=first", "second"):
        job = seed_search(site, name=name, value=value, **SWEEP)
    return str(job.study_key)


def open_study(page: Page, study: str, query: str = "") -> None:
    """Open the page of a study and wait until it is ready."""
    page.goto(f"/studies/{study}{query}")
    wait_ready(page)


def wait_ready(page: Page) -> None:
    """Wait until the page is what its address says."""
    page.wait_for_selector("main[data-state=ready]")


def ask_front(site: Any, study: str, query: str = "") -> dict[str, Any]:
    """Return what the API answers."""
    with site.ask("viewer") as client:
        answer: dict[str, Any] = client.get(f"/api/v1/pareto?study={study}{query}").json()
        return answer


def read_points(page: Page) -> dict[str, str]:
    """Return {id: what is said of it} of the points in the drawing."""
    found = page.eval_on_selector_all(
        "svg.study-front a", "all => all.map(a => [a.id.slice(6), a.getAttribute('aria-label')])"
    )
    return dict(found)


@pytest.mark.parametrize("query", ["", "&x=params", "&y=left"])
def test_points_and_rows_are_those_of_the_api(page: Page, site: Any, study: str, query: str) -> None:
    """Every network of the API is a point and a row, on the front where the API says so, with the API's figures."""
    answer = ask_front(site, study, query)
    open_study(page, study, f"?{query[1:]}" if query else "")
    points = read_points(page)
    assert set(points) == {point["architecture_id"] for point in answer["points"]}
    rows = page.eval_on_selector_all("table.networks tbody tr", "all => all.map(row => row.dataset.id)")
    assert set(rows) == set(points)
    named = page.eval_on_selector_all("tr.on-front", "all => all.map(row => row.dataset.id)")
    assert set(named) == set(answer["front"])
    if not query:
        for point in answer["points"]:
            gain = f"{abs(point['delta_m']):.2f}"
            assert f"{point['madds'] / 1e6:.3f} M MAdds" in points[point["architecture_id"]]
            assert gain in points[point["architecture_id"]]


def test_axe_finds_nothing(new_page: Callable[..., Page], study: str, check_axe: Callable[[Page], None]) -> None:
    """In both themes, with a limit, pins and seeds, nothing stands in anybody's way."""
    for theme in ("light", "dark"):
        page = new_page(color_scheme=theme, viewport={"width": 1280, "height": 900})
        open_study(page, study, "?under=0.25M&spread=range&colour=seed")
        check_axe(page)


def test_the_keyboard_leads_from_the_top_to_a_network(page: Page, study: str) -> None:
    """The key w goes to the points, arrows walk and show the card, p pins, Enter opens the network."""
    open_study(page, study)
    page.locator("body").press("w")
    page.keyboard.press("Home")
    first = page.evaluate("document.activeElement.id")
    page.keyboard.press("ArrowRight")
    walked = page.evaluate("document.activeElement.id")
    assert walked.startswith("point-")
    assert walked != first
    expect(page.locator("#card [data-id]")).to_have_attribute("data-id", walked.removeprefix("point-"))
    page.keyboard.press("p")
    expect(page.locator(".pins li")).to_have_count(1)
    wait_ready(page)
    assert page.evaluate("document.activeElement.id") == walked
    assert "pins=arch_" in page.url
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/architectures/{walked.removeprefix('point-')}")


def test_two_pins_are_compared(page: Page, study: str) -> None:
    """Ticked in the table, they go to the comparison in the order they were ticked."""
    open_study(page, study)
    boxes = page.locator("table.networks input[type=checkbox]")
    ids = [boxes.nth(index).get_attribute("value") for index in (0, 3)]
    for index in (0, 3):
        boxes.nth(index).click()
        expect(page.locator(".pins li")).to_have_count(1 if index == 0 else 2)
        wait_ready(page)
    page.get_by_role("button", name="Compare 2").click()
    page.wait_for_url(f"**/compare?ids={ids[0]},{ids[1]}")


def test_the_slider_marks_the_best_within_the_limit(page: Page, site: Any, study: str) -> None:
    """What is typed or slid dims what is dearer, rings the best below it and says so in the address."""
    points = ask_front(site, study)["points"]
    costs = sorted({point["madds"] for point in points})
    limit = costs[len(costs) // 2]
    best = max((point for point in points if point["madds"] <= limit), key=lambda p: (p["delta_m"], -p["madds"]))
    open_study(page, study)
    page.locator("#choice-under").fill(str(limit))
    page.locator("#choice-under").press("Enter")
    expect(page.locator("#card-title")).to_contain_text(str(limit))
    wait_ready(page)
    assert page.locator("tr.best").get_attribute("data-id") == best["architecture_id"]
    assert page.locator("tr.over").count() == sum(point["madds"] > limit for point in points)
    page.locator("#choice-range").focus()
    page.keyboard.press("Home")
    expect(page.locator("tr.over")).to_have_count(sum(point["madds"] > costs[0] * 1.002 for point in points))
    assert "under=" in page.url


def test_without_javascript_all_is_there(new_page: Callable[..., Page], study: str) -> None:
    """The drawing, the table, the card and the form work as plain pages."""
    page = new_page(java_script_enabled=False)
    page.goto(f"/studies/{study}")
    assert page.locator("svg.study-front a").count() == 12
    assert page.locator("table.networks tbody tr").count() == 12
    assert page.locator("#card .small-tree").count() == 1
    page.locator("#choice-x").select_option("params")
    page.get_by_role("button", name="Show").click()
    assert "x=params" in page.url
    assert "parameters" in (page.locator("svg.study-front").text_content() or "")
    page.locator("table.networks input[type=checkbox]").nth(0).check()
    page.locator("table.networks input[type=checkbox]").nth(1).check()
    page.locator("#compare").click()
    assert page.locator("table.compared").count() == 1


def test_exports_hold_what_is_shown(page: Page, study: str, tmp_path: Path) -> None:
    """CSV, JSON, SVG and PNG of the page under its choices: the same networks in the same order."""
    open_study(page, study, "?sort=-delta_m&feasible=1")
    shown = page.eval_on_selector_all("table.networks tbody tr", "all => all.map(row => row.dataset.id)")
    kept = {}
    for name in ("CSV", "JSON", "SVG", "PNG"):
        with page.expect_download() as download:
            page.locator(".exports").get_by_text(name, exact=True).click()
        kept[name] = tmp_path / f"front.{name}"
        download.value.save_as(kept[name])
    with kept["CSV"].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    document = json.loads(kept["JSON"].read_text("utf-8"))
    assert [row["architecture_id"] for row in rows] == shown
    assert [one["architecture_id"] for one in document["networks"]] == shown
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())
    assert kept["SVG"].read_text("utf-8").count('class="marks"') == page.locator("svg.study-front .marks").count()
    assert kept["PNG"].read_bytes().startswith(b"\x89PNG")
    assert kept["PNG"].stat().st_size > 5000


def test_new_networks_come_by_themselves(page: Page, site: Any, seed_search: Callable[..., Any]) -> None:
    """A search that ends while one looks puts its points into the drawing, in time and without a reload."""
    tasks = ("left_group", "right_group")
    seed_search(site, name="done", tasks=tasks, budgets=("60%",))
    job = seed_search(site, name="runs", tasks=tasks, budgets=("90%",), outcome="running")
    open_study(page, job.study_key)
    expect(page.locator("#live")).to_have_text("live")
    assert page.locator("svg.study-front a").count() == 1
    finish_running(site, job)
    expect(page.locator("svg.study-front a")).to_have_count(2, timeout=4000)


def finish_running(site: Any, job: Any) -> None:
    """End the trials of a search that runs, as a worker would."""
    trial = next(trial for trial in site.store.list_trials(job.id) if trial.state.value == "RUNNING")
    attempt = site.store.list_attempts(trial.id)[-1]
    other = site.store.list_architectures(ArchitectureQuery(study_key=job.study_key))[0]
    fields = {name: getattr(other, name) for name in NewArchitecture.__dataclass_fields__ if hasattr(other, name)}
    new = NewArchitecture(**{**fields, "name": trial.name, "madds": other.madds + 7, "delta_m": None})
    result = {"architecture": dict(other.document), "metrics": other.metrics, "madds": new.madds, "params": 1}
    site.store.complete(attempt.id, result, new, score=lambda *_: 1.0)


@pytest.mark.parametrize(("query", "width"), [("", 320), ("?spread=std&colour=method", 390)])
def test_a_phone_shows_it_whole(
    new_page: Callable[..., Page], study: str, has_no_sideways_scroll: Callable[[Page], bool], query: str, width: int
) -> None:
    """The page itself never scrolls sideways; drawing and table do in their own boxes."""
    page = new_page(viewport={"width": width, "height": 700})
    open_study(page, study, query)
    assert has_no_sideways_scroll(page)


@pytest.mark.parametrize("outcome", ["untrained", "queued", "one"])
def test_little_to_show_looks_right(
    page: Page, site: Any, seed_search: Callable[..., Any], check_axe: Callable[[Page], None], outcome: str
) -> None:
    """Nothing found yet, nothing trained, a single network: the page says so and draws what there is."""
    ways: dict[str, dict[str, Any]] = {
        "untrained": {"retrain": False},
        "queued": {"outcome": "queued"},
        "one": {"budgets": ("60%",)},
    }
    tasks = {"untrained": ("left", "left_group"), "queued": ("right", "left_group"), "one": ("left", "right_group")}
    job = seed_search(site, name=outcome, tasks=tasks[outcome], **ways[outcome])
    open_study(page, job.study_key)
    words = {"untrained": "not in the drawing", "queued": "No network has been found yet", "one": "1 network, 1 on"}
    expect(page.locator("#shown")).to_contain_text(words[outcome])
    assert page.locator("svg.study-front a").count() == (1 if outcome == "one" else 0)
    check_axe(page)


def test_the_front_of_a_search_leads_to_its_study(page: Page, site: Any, seed_search: Callable[..., Any]) -> None:
    """The address of a search's front shows its study, of which only its own networks."""
    job = seed_search(site, name="own", tasks=("right", "right_group"), budgets=("60%",))
    page.goto(f"/searches/{job.id}/front")
    assert page.url.endswith(f"/studies/{job.study_key}?search={job.id}")


def test_unknown_studies_are_not_found(page: Page, watch: Any) -> None:
    """A study that no search belongs to is a page of its own, with the request's id."""
    watch.forgive("404")
    answer = page.goto("/studies/0123456789abcdef")
    assert answer is not None
    assert answer.status == 404
