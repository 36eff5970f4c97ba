"""The frame of the pages: problems as pages, headers, shortcuts, themes, static files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import APIRouter

from service.dashboard.site import PageRoute
from service.dashboard.static_files import FOLDER, asset, load_files

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.service.dashboard.conftest import CheckAxe, NewPage, Site, Watch

PAGES = ("/searches", "/studies")


def test_an_unknown_address_is_a_page_for_people(page: Page, watch: Watch, check_axe: CheckAxe) -> None:
    """A browser gets a page that names the request; a program gets the problem document as ever."""
    watch.forgive("404")
    answer = page.goto("/nothing/here")
    assert answer is not None
    assert answer.status == 404
    request_id = answer.headers["x-request-id"]
    assert request_id in page.inner_text("main")
    assert page.get_by_role("button", name="Sign out").is_visible()
    check_axe(page)
    api = httpx.get(page.url, headers={"X-Request-Id": "req_0123456789"}, trust_env=False)
    assert api.json()["request_id"] == "req_0123456789"
    assert api.headers["content-type"] == "application/problem+json"


def test_a_bad_parameter_is_explained(page: Page, watch: Watch) -> None:
    """What is wrong with the address stands on the page, without what was sent."""
    watch.forgive("400")
    answer = page.goto("/searches?state=planted-value")
    assert answer is not None
    assert answer.status == 400
    assert "state" in page.inner_text("main")
    assert "planted-value" not in page.inner_text("main")


def test_a_page_says_who_may_see_it() -> None:
    """A page that forgets to say so does not come to life."""
    router = APIRouter(route_class=PageRoute)

    def show() -> None:
        """Show nothing."""

    with pytest.raises(TypeError, match="must say who may see it"):
        router.add_api_route("/x", show)


def test_pages_are_not_part_of_the_api(site: Site) -> None:
    """The description of the API names no page."""
    paths = httpx.get(f"{site.address}/openapi.json", trust_env=False).json()["paths"]
    assert not {"/", "/searches", "/studies", "/sign-in", "/static/{version}/{name:path}"} & set(paths)


@pytest.mark.parametrize("path", ["/sign-in", "/nothing"])
def test_every_page_forbids_what_it_does_not_need(site: Site, path: str) -> None:
    """No inline script or style, nothing from elsewhere, no frames, and no copy kept."""
    answer = httpx.get(site.address + path, headers={"Accept": "text/html"}, trust_env=False)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_files_are_kept_by_their_contents(site: Site) -> None:
    """Under its own hash a file is kept for a year, under another it is not; others are not there."""
    with httpx.Client(base_url=site.address, trust_env=False) as client:
        good = client.get(asset("theme.css"), headers={"Accept": "text/css,*/*;q=0.1"})
        assert (good.status_code, good.content) == (200, load_files()["theme.css"])
        assert "immutable" in good.headers["cache-control"]
        assert client.get("/static/old/live.js").headers["cache-control"] == "no-cache"
        for name in ("nothing.js", "..%2fsite.py", "%2e%2e/site.py"):
            assert client.get(f"/static/x/{name}").status_code == 404
    with pytest.raises(KeyError):
        asset("nothing.js")


def test_modules_import_what_is_there() -> None:
    """Every module that a script imports is a file of ours, by a relative name."""
    for name, content in load_files().items():
        if name.endswith(".js"):
            wanted = re.findall(r'^import (?:.* from )?"(\.[^"]+)";', content.decode(), re.MULTILINE)
            for path in wanted:
                assert (FOLDER / name).parent.joinpath(path).resolve().is_relative_to(FOLDER), f"{name}: {path}"
                assert (FOLDER / name).parent.joinpath(path).is_file(), f"{name}: {path}"


@pytest.mark.parametrize("path", PAGES)
def test_the_list_of_shortcuts_opens_by_its_key(page: Page, path: str) -> None:
    """`?` opens it and Escape closes it; it names what the page has; keys do nothing while one types."""
    page.goto(path)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    dialog.wait_for()
    assert "Go to the studies" in dialog.inner_text()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url("**/studies")


def test_keys_do_nothing_while_one_types(new_page: NewPage) -> None:
    """In a field, a question mark is a question mark."""
    page = new_page(role=None)
    page.goto("/sign-in")
    page.get_by_label("Access token").press_sequentially("?gt")
    assert page.get_by_role("dialog").count() == 0
    assert page.get_by_label("Access token").input_value() == "?gt"


def test_the_theme_is_chosen_and_remembered(page: Page) -> None:
    """System, light, dark and round again, by its key; the choice holds on the next page."""
    page.goto("/searches")
    root = page.locator("html")
    assert root.get_attribute("data-theme") is None
    page.keyboard.press("t")
    assert root.get_attribute("data-theme") == "light"
    page.keyboard.press("t")
    page.goto("/studies")
    assert root.get_attribute("data-theme") == "dark"
    assert page.get_by_role("button", name="Colours: dark").is_visible()


def test_a_page_weighs_little(page: Page) -> None:
    """A page with all that it loads stays under 300 kB."""
    sizes: list[int] = []
    page.on("response", lambda response: sizes.append(int(response.headers.get("content-length") or 0)))
    page.goto("/searches", wait_until="load")
    assert 10_000 < sum(sizes) < 300_000
