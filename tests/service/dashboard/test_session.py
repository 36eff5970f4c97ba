"""Sessions in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.service.dashboard.conftest import CheckAxe, SeedSearch, Site


def test_signing_in_leads_to_the_list(page: Page, site: Site, seed_search: SeedSearch, check_axe: CheckAxe) -> None:
    """A valid token opens a session."""
    job = seed_search(site)
    assert job.state == "SUCCEEDED", job
    page.goto("/searches")
    assert page.get_by_role("heading", level=1).inner_text() == "Searches"
    check_axe(page)
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    check_axe(page)
