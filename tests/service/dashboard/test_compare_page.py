"""The comparison in a real browser: differences first, the best marked, trees level, nothing more than four."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect


@pytest.fixture(scope="module")
def ids(site: Any, seed_search: Callable[..., Any]) -> list[str]:
    """Return the ids of three networks of one search, the dearest last."""
    job = seed_search(site, name="sweep", tasks=("left", "right", "left_group"), budgets=("60%", "75%", "90%"))
    with site.ask("viewer") as client:
        points = client.get(f"/api/v1/searches/{job.id}/front").json()["points"]
    return [point["architecture_id"] for point in points]


def open_comparison(page: Page, ids: list[str], more: str = "") -> None:
    """Open the comparison of some networks."""
    page.goto(f"/compare?ids={','.join(ids)}{more}")
    page.wait_for_selector("main[data-state=ready]")


def test_only_differences_are_shown_at_first(page: Page, ids: list[str]) -> None:
    """What is the same of all is left out until it is asked for."""
    open_comparison(page, ids)
    lines = page.locator("table.compared tbody th[scope=row]")
    names = lines.all_text_contents()
    assert not any(name.startswith("Dataset") for name in names)
    assert any(name.startswith("MAdds") for name in names)
    page.locator("body").press("a")
    page.wait_for_url("**&all=1")
    expect(page.locator("table.compared tbody th[scope=row]").filter(has_text="Backbone")).to_have_count(1)


def test_numbers_are_the_api_s_and_the_best_is_marked(page: Page, site: Any, ids: list[str]) -> None:
    """MAdds and delta_m are those of the API; the star stands at the cheapest and at the one that gains most."""
    with site.ask("viewer") as client:
        found = [client.get(f"/api/v1/architectures/{one}").json() for one in ids]
    open_comparison(page, ids)
    for name, sign in (("MAdds", -1), ("delta_m", 1)):
        cells = page.locator("table.compared tr").filter(has=page.locator("th", has_text=name)).first.locator("td")
        values = [one["madds" if name == "MAdds" else "delta_m"] for one in found]
        best = max(values, key=lambda value: sign * value)
        for place, value in enumerate(values):
            text = cells.nth(place).inner_text()
            assert (f"{value / 1e6:.3f}" if name == "MAdds" else f"{abs(value):.2f}") in text
            assert ("★" in text) == (value == best)


def test_trees_stand_side_by_side(page: Page, ids: list[str]) -> None:
    """A drawing per network, and in words where they differ."""
    open_comparison(page, ids)
    assert page.locator(".tree-row figure svg").count() == 3
    assert page.locator(".curves svg").count() > 0
    expect(page.locator("#content")).to_contain_text("differ")


def test_axe_finds_nothing(new_page: Callable[..., Page], ids: list[str], check_axe: Callable[[Page], None]) -> None:
    """In both themes nothing stands in anybody's way."""
    for theme in ("light", "dark"):
        page = new_page(color_scheme=theme)
        open_comparison(page, ids, "&all=1")
        check_axe(page)


def test_without_javascript_and_on_a_phone(
    new_page: Callable[..., Page], ids: list[str], has_no_sideways_scroll: Callable[[Page], bool]
) -> None:
    """The page is whole as the server sends it; narrow, it scrolls in its boxes only."""
    page = new_page(java_script_enabled=False)
    page.goto(f"/compare?ids={ids[0]}&ids={ids[1]}")
    assert page.locator("table.compared thead th").count() == 2
    phone = new_page(viewport={"width": 320, "height": 700})
    open_comparison(phone, ids)
    assert has_no_sideways_scroll(phone)


@pytest.mark.parametrize("num", [0, 1])
def test_fewer_than_two_are_told_what_to_do(page: Page, ids: list[str], num: int) -> None:
    """None or one network is no mistake: the page says how to choose more."""
    open_comparison(page, ids[:num])
    expect(page.locator(".empty")).to_contain_text("tick two to four")


def test_more_than_four_and_unknown_ones_are_refused(page: Page, watch: Any, ids: list[str]) -> None:
    """Five ids are a mistake in the address, and an unknown id is not found."""
    watch.forgive("400|404")
    answers = [page.goto(f"/compare?ids={wanted}") for wanted in ("a,b,c,d,e", f"{ids[0]},arch_none")]
    assert [answer and answer.status for answer in answers] == [400, 404]
