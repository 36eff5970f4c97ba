"""The form of a search in a real browser: checked as one types, by keyboard, without scripts, sent twice."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from db.questions import JobQuery
from db.records.states import Reason, StopMode

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from db.records.jobs import JobRecord
    from tests.service.dashboard.conftest import CheckAxe, NewPage, SeedSearch, Site, Watch

PROVOKED = "status of (409|422)"


def open_form(page: Page, query: str = "") -> None:
    """Open the form and wait until its script is done."""
    page.goto(f"/submit{query}")
    page.wait_for_selector('main[data-state="ready"]')


def wait_for_check(page: Page) -> None:
    """Wait until the server has said what it thinks of what was typed."""
    page.wait_for_selector('main[data-check="done"]')


def list_jobs(site: Site) -> list[JobRecord]:
    """Return all searches, the newest first."""
    return site.store.list_jobs(JobQuery(limit=200))


def test_the_form_shows_what_it_will_ask(page: Page, site: Site) -> None:
    """JSON, curl and command line of what is typed, the estimate of the API, and no token anywhere."""
    open_form(page)
    page.get_by_label("Budgets").fill("60%, 280000")
    page.get_by_label("Preset").select_option("smoke")
    wait_for_check(page)
    body = json.loads(page.locator("[aria-labelledby=line-json]").inner_text())
    assert (body["budgets"], body["preset"]) == (["60%", 280000], "smoke")
    with site.ask() as api:
        said = api.post("/api/v1/searches/validate", json=body).json()
    figures = page.locator('[data-part="preview"]').inner_text()
    assert f"{said['estimate']['num_trials']}" in figures
    for warning in said["warnings"]:
        assert warning in figures
    assert "--budget 280000" in page.locator("[aria-labelledby=line-cli]").inner_text()
    assert "$TOKEN" in page.locator("[aria-labelledby=line-curl]").inner_text()
    assert not re.search(r"nas_[0-9a-z]{12}_", page.content())


FAULTS = (
    ("Budgets", "1%", "budgets", "Sharing everything already costs"),
    ("Budgets", "60%, many", "budgets", "many: A budget is a whole number of MAdds such as 1200000"),
    ("Budgets", "", "budgets", "A search needs at least one budget"),
    ("Budgets", "60%, 60%", "budgets", "Each may be named once."),
    ("Seeds", "-1", "seeds", "greater than or equal to 0"),
    ("Seeds", "0 0", "seeds", "Each may be named once."),
    ("Input size", "4x4", "input_size", "The dataset offers"),
    ("Input size", "24", "input_size", "at least 2 items"),
    ("Priority", "1000", "priority", "less than or equal to 100"),
    ("Deadline, in seconds", "soon", "deadline_seconds", "valid number"),
    ("CPU cores per trial", "0", "resources.cpus", "greater than 0"),
    ("Labels", "no sign", "labels", "Each line is KEY=VALUE"),
    ("Name", "a\u0007b", "name", "Control characters are not allowed here."),
)


def test_each_fault_is_told_at_its_field(page: Page) -> None:
    """In the API's words, tied to the field for screen readers, while one types, and gone when mended (issue 2, 10)."""
    open_form(page)
    page.locator("details.more > summary").click()
    for label, typed, field, said in FAULTS:
        control, place = page.get_by_label(label, exact=True), page.locator(f"#error-{field.replace('.', '-')}")
        before = control.input_value()
        control.fill(typed)
        place.filter(has_text=said).wait_for()
        assert control.get_attribute("aria-invalid") == "true"
        assert str(place.get_attribute("id")) in (control.get_attribute("aria-describedby") or "")
        assert "1 field needs mending." in page.locator('[data-part="state"]').inner_text()
        control.fill(before)
        place.wait_for(state="hidden")
        assert control.get_attribute("aria-invalid") is None


def test_one_task_is_not_enough(page: Page) -> None:
    """The sentence stands at the tasks, and goes when it is mended."""
    open_form(page)
    names = page.locator('.of-dataset[data-dataset="digits"] input')
    for index in range(1, names.count()):
        names.nth(index).uncheck()
    page.get_by_text("A branching needs at least two tasks.").first.wait_for()
    names.nth(1).check()
    page.locator("#error-tasks").wait_for(state="hidden")
    page.get_by_text("Ready to submit.").wait_for()


def test_the_scale_shows_where_budgets_lie(page: Page) -> None:
    """A dot for each that can be kept, a cross for each that cannot; the words say the same."""
    open_form(page)
    page.get_by_label("Budgets").fill("1%, 60%, 99%")
    page.locator("#error-budgets").wait_for()
    titles = page.locator(".scale-drawing g.budget title").all_text_contents()
    assert [title.rpartition(", ")[2] for title in titles if "," in title] == ["too small", "does not bind"]
    assert len(titles) == 3
    assert "one network per task costs" in page.locator('[data-part="scale"] .note').inner_text().lower()


def test_a_dataset_brings_its_tasks(page: Page) -> None:
    """Only the tasks of the chosen dataset are shown and sent."""
    open_form(page)
    page.get_by_label("Dataset").select_option("scenes")
    page.get_by_label("Backbone").select_option("mobilenet_v2")
    wait_for_check(page)
    assert not page.locator('.of-dataset[data-dataset="digits"]').is_visible()
    body = json.loads(page.locator("[aria-labelledby=line-json]").inner_text())
    assert body["tasks"] == ["semseg", "parts", "sal", "normals", "depth", "edge"]


def test_the_form_is_accessible(new_page: NewPage, check_axe: CheckAxe) -> None:
    """In both themes; right, wrong, open and on a phone (G3)."""
    page = new_page(color_scheme="light", viewport={"width": 390, "height": 844})
    open_form(page)
    check_axe(page)
    page.emulate_media(color_scheme="dark")
    page.locator("details.more > summary").click()
    page.get_by_label("Budgets").fill("1%")
    page.locator("#error-budgets").wait_for()
    check_axe(page)
    page.set_viewport_size({"width": 320, "height": 500})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_whole_way_by_keyboard_alone(new_page: NewPage, site: Site) -> None:
    """Sign in, submit, watch, cancel with confirmation: no mouse (G3)."""
    page = new_page(None)
    page.goto("/submit")
    page.wait_for_selector("#token")
    page.keyboard.type(site.tokens["operator"])
    page.keyboard.press("Enter")
    page.wait_for_selector('main[data-state="ready"]')
    press_until(page, "Tab", "document.activeElement.id === 'budgets'")
    page.keyboard.press("Control+a")
    page.keyboard.type("75%")
    press_until(page, "Tab", "document.activeElement.matches('button.primary')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/searches/srch_*")
    page.wait_for_selector('main[data-state="ready"]')
    press_until(page, "Tab", "document.activeElement.id === 'action-cancel'")
    page.keyboard.press("Enter")
    page.wait_for_selector("#dialog-cancel[open]")
    page.keyboard.press("Enter")
    page.wait_for_selector('h1 .chip[data-state="CANCELLED"]')
    job = site.store.get_job(page.url.rpartition("/")[2])
    assert (job.state, job.reason, job.spec["budgets"]) == ("CANCELLED", "user_cancel", ["75%"])


def press_until(page: Page, key: str, condition: str) -> None:
    """Press a key until a condition holds, as a person does who sees the focus move."""
    for _ in range(80):
        if page.evaluate(condition):
            return
        page.keyboard.press(key)
    raise AssertionError(f"Never came to: {condition}")


def test_without_scripts_it_submits_and_tells_faults(new_page: NewPage, site: Site, watch: Watch) -> None:
    """The same form, the same sentences at the same fields (G5)."""
    watch.forgive(PROVOKED)
    page = new_page(java_script_enabled=False)
    page.goto("/submit")
    page.get_by_label("Budgets").fill("1%")
    page.get_by_role("button", name="Check it first").click()
    assert "Sharing everything already costs" in page.locator("#error-budgets").inner_text()
    page.get_by_role("button", name="Submit the search").click()
    assert "Nothing was submitted." in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Budgets").input_value() == "1%"
    page.get_by_label("Budgets").fill("75%")
    page.get_by_role("button", name="Submit the search").click()
    job = site.store.get_job(page.url.rpartition("/")[2])
    assert job.spec["budgets"] == ["75%"]
    site.store.stop_job(job.id, StopMode.KILL, Reason.USER_KILL)


def test_sent_twice_it_is_one_search(page: Page, site: Site) -> None:
    """Going back and submitting again shows the search that is there; with a change it makes another one."""
    open_form(page)
    page.get_by_label("Name").fill("twice")
    page.get_by_role("button", name="Submit the search").click()
    page.wait_for_url("**/searches/srch_*")
    first = page.url
    for name, same in (("twice", True), ("thrice", False)):
        page.go_back()
        page.wait_for_selector("#submit-form")
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Submit the search").click()
        page.wait_for_url("**/searches/srch_*")
        assert (page.url == first) is same
    jobs = [job for job in list_jobs(site) if job.name in ("twice", "thrice")]
    assert len(jobs) == 2
    for job in jobs:
        site.store.stop_job(job.id, StopMode.KILL, Reason.USER_KILL)


def test_a_refused_form_names_the_fields_and_takes_the_focus(page: Page, watch: Watch, check_axe: CheckAxe) -> None:
    """Links lead from the summary to the fields."""
    watch.forgive(PROVOKED)
    open_form(page)
    page.get_by_label("Budgets").fill("1%")
    page.get_by_label("Seeds").fill("x")
    page.get_by_role("button", name="Submit the search").click()
    page.wait_for_selector("#refused:focus")
    assert page.locator("#refused a").all_inner_texts() == ["Seeds"]  # the API looks at costs once all is well-formed
    page.get_by_label("Seeds").fill("0")
    page.get_by_role("button", name="Submit the search").click()
    page.wait_for_selector("#refused:focus")
    page.locator("#refused a", has_text="Budgets").click()
    assert page.evaluate("document.activeElement.id") == "budgets"
    check_axe(page)


def test_a_search_can_be_repeated_with_changes(page: Page, site: Site, seed_search: SeedSearch) -> None:
    """The form begins as the other search asked."""
    job = seed_search(site, name="to repeat", budgets=("60%", "75%"), seeds=(3,), labels={"team": "vision"})
    open_form(page, f"?from={job.id}")
    assert page.get_by_label("Budgets").input_value() == "60%, 75%"
    body = json.loads(page.locator("[aria-labelledby=line-json]").inner_text())
    assert (body["seeds"], body["labels"], body["tasks"]) == ([3], {"team": "vision"}, ["left", "right"])


def test_a_viewer_sees_why_there_is_nothing_to_send(new_page: NewPage, check_axe: CheckAxe) -> None:
    """The form is dimmed, and says whom to ask."""
    page = new_page("viewer")
    open_form(page)
    assert "Your token may only read." in page.locator("main").inner_text()
    assert page.get_by_role("button", name="Submit the search").count() == 0
    check_axe(page)
