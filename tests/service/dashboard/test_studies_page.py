"""The list of studies in a real browser."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import pytest

from service.dashboard.formats import signed

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.service.dashboard.conftest import CheckAxe, NewPage, SeedSearch, Site


BACKBONES = ("tiny4", "tiny8", "tiny16")


def test_no_study_is_no_dead_end(page: Page, check_axe: CheckAxe) -> None:
    """Without a study the page says how one begins."""
    # The first test of this file: the store is empty.
    page.goto("/studies")
    assert "A study begins with its first search" in page.inner_text("main")
    check_axe(page)


def test_studies_sum_up_their_searches(page: Page, site: Site, seed_search: SeedSearch) -> None:
    """Two searches of one recipe are one study with the best of both; another set of tasks is another study."""
    seed_search(site, "one", budgets=["60%"])
    best = seed_search(site, "two", budgets=["70%", "75%"])
    seed_search(site, "waiting", tasks=None, outcome="queued")
    page.goto("/studies")
    page.locator("main[data-state=ready]").wait_for()
    rows = page.locator("#rows tr")
    assert rows.count() == 2
    waiting, both = rows.nth(0).inner_text(), rows.nth(1)
    assert "\N{EN DASH}" in waiting
    assert both.locator("td").nth(3).inner_text() == "3"
    assert both.locator("td").nth(4).inner_text() == "2"
    assert best.best_delta_m is not None
    assert f"{abs(best.best_delta_m):.2f}" in both.locator("td").nth(1).inner_text()
    assert both.locator("svg circle").count() == 3
    assert both.get_by_role("link").get_attribute("href") == f"/studies/{best.study_key}"
    assert not re.search(r"\b(None|nan|undefined)\b", page.inner_text("main"))


def test_the_best_study_can_come_first(page: Page, site: Site, seed_search: SeedSearch) -> None:
    """By its key: the order stands in the address, and studies without a score come last."""
    for gain, tasks in ((1.0, ("left", "left_group")), (9.0, ("right", "right_group"))):
        seed_search(site, "ranked", tasks=tasks, value=lambda name, _, gain=gain: 60 + gain * name.startswith("60"))
    page.goto("/studies")
    page.locator("main[data-state=ready]").wait_for()
    page.keyboard.press("o")
    page.wait_for_url("**/studies?sort=-best_delta_m")
    found = [study.best_delta_m for study in site.store.list_studies(limit=100)]
    known = sorted((gain for gain in found if gain is not None), reverse=True)
    shown = page.locator("#rows td[data-name='Best delta_m']").all_inner_texts()
    assert shown[: len(known)] == [f"{signed(gain)} %" for gain in known]
    assert set(shown[len(known) :]) <= {"\N{EN DASH}"}
    assert page.locator("th[aria-sort=descending]").inner_text() == "Best delta_m"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_is_accessible(new_page: NewPage, check_axe: CheckAxe, scheme: str) -> None:
    """Axe finds nothing to complain of, in both themes, on wide and narrow screens."""
    for width in (1280, 390):
        page = new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
        page.goto("/studies")
        check_axe(page)


def test_pages_of_studies_make_up_the_list(page: Page, site: Site, seed_search: SeedSearch) -> None:
    """Following the next page to the end shows every study once."""
    names = ["left", "right", "left_group", "right_group"]
    for size in range(2, 5):
        for tasks in itertools.combinations(names, size):
            for backbone in BACKBONES:
                seed_search(site, "one more", tasks=tasks, backbone=backbone, outcome="queued")
    page.goto("/studies")
    seen = page.locator("#rows tr").evaluate_all("rows => rows.map((row) => row.id)")
    page.get_by_role("link", name="Next page").click()
    page.get_by_role("link", name="First page").wait_for()
    seen += page.locator("#rows tr").evaluate_all("rows => rows.map((row) => row.id)")
    assert len(seen) > 25
    assert seen == [study.study_key for study in site.store.list_studies(limit=100)]
