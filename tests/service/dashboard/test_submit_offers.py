"""The form of a search with a person's own dataset and weights to choose, in a real browser."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from db.records.states import Reason, StopMode
from search.data.shelf import DatasetShelf
from service.serving.dataset_checker import DatasetChecker
from tests.search.data.files.own_dataset import CLASSES, manifest_values, write_own_dataset

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.service.dashboard.conftest import CheckAxe, NewPage, Site


@pytest.fixture(scope="module", autouse=True)
def offers(site: Site) -> None:
    """Have the site offer a sound dataset, a faulty one, and a weight file."""
    folder = site.folder / "datasets"
    write_own_dataset(folder / "robot", name="robot")
    tasks = manifest_values()["tasks"]
    tasks["semseg"]["classes"] = CLASSES[:2]
    write_own_dataset(folder / "faulty", name="faulty", tasks=tasks)
    (site.folder / "weights").mkdir()
    (site.folder / "weights" / "mine.pth").write_bytes(b"weights")


def check_all(site: Site) -> None:
    """Have the datasets checked as the server does beside its requests."""
    DatasetChecker(DatasetShelf(site.settings.datasets_dir), site.store).check_all(threading.Event())


def choose(page: Page, label: str, value: str) -> None:
    """Choose from a list and wait until the server has said what it thinks of it."""
    page.get_by_label(label, exact=True).select_option(value)
    page.wait_for_selector('main[data-check="done"]')


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_persons_dataset_is_shown_with_its_check(
    new_page: NewPage, site: Site, check_axe: CheckAxe, theme: str
) -> None:
    """Its tasks, what the check found, how often each class occurs; faults by part, with the samples that have them."""
    check_all(site)
    page = new_page(color_scheme=theme, viewport={"width": 400, "height": 900})
    page.goto("/submit")
    page.wait_for_selector('main[data-state="ready"]')
    choose(page, "Dataset", "robot")
    told = page.locator('[data-part="dataset"]')
    assert "4 training and 2 validation samples" in told.inner_text()
    assert "no faults" in told.inner_text()
    page.get_by_text("Labels of robot").click()
    assert all(name in told.inner_text() for name in (*CLASSES, "m, median", "without a label"))
    assert page.get_by_role("checkbox", name="normals").is_visible()
    assert not page.get_by_role("checkbox", name="left", exact=True).is_visible()
    check_axe(page)
    choose(page, "Dataset", "faulty")
    assert "The check found faults" in told.inner_text()
    assert "semseg" in told.locator("li").first.inner_text()
    assert "The check found faults in" in page.locator('[data-part="preview"]').inner_text()
    check_axe(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_search_on_it_is_submitted_with_weights(page: Page, site: Site) -> None:
    """What is chosen stands in the lines to copy, and in the search."""
    page.goto("/submit")
    page.wait_for_selector('main[data-state="ready"]')
    choose(page, "Dataset", "robot")
    for task in ("parts", "depth", "normals", "edge", "sal"):
        page.get_by_role("checkbox", name=task).uncheck()
    page.get_by_label("Budgets").fill("90%")
    choose(page, "Weights", "mine.pth")
    assert json.loads(page.locator("#text-json").inner_text())["weights"] == "mine.pth"
    assert "--weights mine.pth" in page.locator("#text-cli").inner_text()
    page.get_by_role("button", name="Submit the search").click()
    page.wait_for_url("**/searches/srch_*")
    job = site.store.get_job(page.url.rpartition("/")[2])
    assert (job.spec["dataset"], job.spec["tasks"], job.spec["weights"]) == ("robot", ["semseg", "scene"], "mine.pth")
    site.store.stop_job(job.id, StopMode.KILL, Reason.USER_KILL)
    page.goto("/searches?dataset=robot")
    assert page.get_by_label("Dataset").input_value() == "robot"
    assert page.locator("main").inner_text().count("robot tiny4") == 1


def test_it_is_checked_again_without_scripts(new_page: NewPage, site: Site) -> None:
    """A button of the form has the samples read again and keeps what was filled in."""
    check_all(site)
    page = new_page(java_script_enabled=False)
    page.goto("/submit")
    page.get_by_label("Name").fill("kept")
    page.get_by_label("Dataset", exact=True).select_option("robot")
    page.get_by_role("button", name="Check it first").click()
    page.get_by_role("button", name="Check again").click()
    assert "are being read" in page.locator('[data-part="dataset"]').inner_text()
    assert page.get_by_label("Name").input_value() == "kept"
    check_all(site)
    page.get_by_role("button", name="Check it first").click()
    assert "no faults" in page.locator('[data-part="dataset"]').inner_text()
