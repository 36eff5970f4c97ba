"""The page of a job in a real browser: live, by keyboard, without scripts, with whatever its trials left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from db.questions import JobChanges, QueueLimits, WorkerHello
from db.records.jobs import JobRecord, MetricPoint, NewJob, NewTrial, Progress, Resources
from db.records.states import JobKind, Reason, StopMode
from service.dashboard.formats import count, percent, signed
from service.dashboard.search_page import read_last_lines

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from db.records.jobs import Claim
    from tests.service.dashboard.conftest import CheckAxe, NewPage, SeedSearch, Site, Watch

LIVE_MS = 2000
NO_RESOURCE = "Failed to load resource|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|ERR_EMPTY_RESPONSE"


def open_job(page: Page, job: JobRecord) -> None:
    """Open the page of a search and wait until its script is done."""
    page.goto(f"/searches/{job.id}")
    page.wait_for_selector('main[data-state="ready"]')


def submit_many(site: Site, num_trials: int) -> JobRecord:
    """Return a queued job of many trials, which no worker of another test takes first."""
    trials = tuple(NewTrial("candidate", f"trial-{n}", {"budget": "60%"}, None, n, 200_000) for n in range(num_trials))
    spec = {"dataset": "digits", "tasks": ["left", "right"], "backbone": "tiny4"}
    new = NewJob(JobKind.SEARCH, "olga", f"{num_trials} trials", spec, "0", "no-study", trials, priority=100)
    return site.store.submit(new, limits=QueueLimits())[0]


def claim(site: Site, job: JobRecord) -> Claim:
    """Return the work of a job, which is the most urgent one."""
    hello = WorkerHello("worker-1", "test worker", site.settings.code_version, Resources(cpus=1000, gpus=8))
    found = site.store.claim(hello, lease_seconds=3600, max_trials=1000)
    assert found is not None
    assert found.job.id == job.id
    return found


def test_figures_are_those_of_the_api(page: Page, site: Site, seed_search: SeedSearch) -> None:
    """Progress, trials, networks and their gains: what the API says, written as everywhere (G4)."""
    job = seed_search(site)
    with site.ask() as api:
        trials = api.get(f"/api/v1/searches/{job.id}/trials").json()["items"]
        front = api.get(f"/api/v1/searches/{job.id}/front").json()
    open_job(page, job)
    assert page.locator("#progress-words").inner_text() == percent(job.progress)
    assert [row.split("\n")[0] for row in page.locator("table.trials tbody th").all_inner_texts()] == [
        trial["name"] for trial in trials
    ]
    rows = page.locator('[data-part="summary"] tbody tr').all_inner_texts()
    assert len(rows) == len(front["points"])
    for point in front["points"]:
        (row,) = [row for row in rows if row.startswith(point["name"])]
        assert [count(point["madds"]), count(point["params"]), signed(point["delta_m"])] == row.split("\t")[2:]
    best = max(point["delta_m"] for point in front["points"])
    assert f"{signed(best)} %" in page.locator(".figures").inner_text()


@pytest.mark.parametrize("outcome", ["queued", "running", "succeeded", "failed"])
def test_every_state_can_be_used_by_everybody(
    new_page: NewPage, site: Site, seed_search: SeedSearch, check_axe: CheckAxe, outcome: str
) -> None:
    """No axe violation in either theme, and a phone's width holds the page, also at 400 % (G1, G3)."""
    job = seed_search(site, name=outcome, outcome=outcome)
    page = new_page(color_scheme="light", viewport={"width": 390, "height": 844})
    open_job(page, job)
    check_axe(page)
    page.emulate_media(color_scheme="dark")
    check_axe(page)
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 500})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    settle(site, job)


def settle(site: Site, job: JobRecord) -> None:
    """End a job, so that no later claim meets it."""
    if not site.store.get_job(job.id).state.is_terminal:
        site.store.stop_job(job.id, StopMode.KILL, Reason.USER_KILL)


def test_what_happens_is_seen_at_once(page: Page, site: Site) -> None:
    """State, trial, progress, figures and lines are there within two seconds, without a reload (G2)."""
    job = submit_many(site, 2)
    open_job(page, job)
    page.evaluate("window.same = true")
    first, second = claim(site, job).trials
    page.wait_for_selector('h1 .chip[data-state="RUNNING"]', timeout=LIVE_MS)
    site.store.heartbeat(first.attempt.id, lease_seconds=60, progress=Progress("search", 3, 10))
    page.get_by_text("search, step 3 of 10").wait_for(timeout=LIVE_MS)
    site.store.add_logs(first.attempt.id, ["<b>epoch 1</b>"])
    page.locator("#log p", has_text="trial-0 <b>epoch 1</b>").wait_for(timeout=LIVE_MS)
    points = [MetricPoint("search/loss left", step, 2.0 - step / 10) for step in range(5)]
    site.store.add_metrics(first.attempt.id, points)
    page.locator('[data-part="curves"] path.curve').wait_for(timeout=LIVE_MS)
    for claimed in (first, second):
        site.store.fail(claimed.attempt.id, Reason.OUT_OF_MEMORY, "12 GB were asked for.")
    page.locator("#trouble", has_text="the memory was not enough").wait_for(timeout=LIVE_MS)
    assert page.locator("#action-resume").is_visible()
    assert page.evaluate("window.same") is True


def test_it_is_right_again_after_the_server_was(page: Page, site: Site, watch: Watch) -> None:
    """The page says that it reconnects, and shows what happened meanwhile (G2)."""
    watch.forgive(NO_RESOURCE)
    job = submit_many(site, 1)
    open_job(page, job)
    page.locator("#live", has_text="live").wait_for()
    site.stop()
    page.locator("#live", has_text="reconnecting").wait_for(timeout=5000)
    (claimed,) = claim(site, job).trials
    site.store.add_logs(claimed.attempt.id, ["written in the dark"])
    site.start()
    page.wait_for_selector('h1 .chip[data-state="RUNNING"]', timeout=8000)
    page.locator("#log p", has_text="written in the dark").wait_for(timeout=LIVE_MS)
    site.store.fail(claimed.attempt.id, Reason.DIVERGED, "")
    page.wait_for_selector('h1 .chip[data-state="FAILED"]', timeout=LIVE_MS)


def test_cancelling_needs_the_keyboard_only(page: Page, site: Site, check_axe: CheckAxe) -> None:
    """A shortcut opens the question, Escape closes it, Tab and Enter answer it; the focus comes back."""
    job = submit_many(site, 1)
    open_job(page, job)
    page.keyboard.press("c")
    page.wait_for_selector("#dialog-cancel[open]")
    check_axe(page)
    page.keyboard.press("Escape")
    page.wait_for_selector("#dialog-cancel:not([open])", state="attached")
    assert site.store.get_job(job.id).state == "QUEUED"
    page.keyboard.press("c")
    page.wait_for_selector("#dialog-cancel[open]")
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    page.keyboard.press("Enter")
    page.wait_for_selector('h1 .chip[data-state="CANCELLED"]')
    assert page.locator("#trouble").inner_text().startswith("This search was stopped: cancelled by a person.")
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    page.wait_for_selector('h1 .chip[data-state="QUEUED"]')
    settle(site, job)


def test_actions_work_without_scripts(new_page: NewPage, site: Site, seed_search: SeedSearch) -> None:
    """A page of its own asks; its form does it. The rest of the page is readable (G5)."""
    job = seed_search(site, name="no scripts", outcome="queued")
    page = new_page(java_script_enabled=False)
    page.goto(f"/searches/{job.id}")
    assert page.get_by_text("60pct-s0").first.is_visible()
    page.get_by_role("button", name="Kill…").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Kill this search now?"
    page.get_by_role("button", name="Kill").click()
    assert page.locator("h1 .chip").inner_text() == "Cancelled"
    page.get_by_role("button", name="Retry…").click()
    page.get_by_role("button", name="Retry").click()
    again = site.store.get_job(page.url.rpartition("/")[2])
    assert (again.retry_of, again.owner, again.spec) == (job.id, "olga", job.spec)
    settle(site, again)


def test_an_action_that_came_too_late_is_explained(page: Page, site: Site, watch: Watch) -> None:
    """The page shows why not, and how things stand now."""
    watch.forgive("409")
    job = submit_many(site, 1)
    open_job(page, job)
    (claimed,) = claim(site, job).trials
    page.keyboard.press("c")
    site.store.fail(claimed.attempt.id, Reason.DIVERGED, "")
    page.locator("#dialog-cancel button", has_text="Cancel").first.click()
    page.get_by_role("alert").wait_for()
    assert "FAILED does not allow that" in page.get_by_role("alert").inner_text()
    assert page.locator("h1 .chip").inner_text() == "Failed"


def test_viewers_and_strangers_see_no_actions_of_others(new_page: NewPage, site: Site) -> None:
    """A viewer may do nothing; an admin everything; both read all of it."""
    job = submit_many(site, 1)
    viewer = new_page("viewer")
    open_job(viewer, job)
    assert viewer.locator("[data-actions]").count() == 0
    assert viewer.locator("dialog[id^=dialog-]").count() == 0
    admin = new_page("admin")
    open_job(admin, job)
    assert admin.locator("[data-actions] button").all_inner_texts() == ["Cancel…", "Kill…"]
    settle(site, job)


def test_the_log_stands_still_while_somebody_reads(page: Page, site: Site) -> None:
    """Scrolled up it pauses and counts what is new; at the end it follows again."""
    job = submit_many(site, 1)
    (claimed,) = claim(site, job).trials
    site.store.add_logs(claimed.attempt.id, [f"line {number}" for number in range(1000)])
    open_job(page, job)
    log, button = page.locator("#log"), page.locator("#log-follow")
    assert log.locator("p").count() == 200
    assert log.locator("p").last.inner_text() == "trial-0 line 999"
    log.evaluate("box => { box.scrollTop = 0; }")
    page.locator('#log-follow[aria-pressed="false"]').wait_for()
    site.store.add_logs(claimed.attempt.id, ["new", "newer"])
    page.get_by_role("button", name="Paused, 2 new").wait_for(timeout=LIVE_MS)
    assert log.evaluate("box => box.scrollTop") == 0
    page.keyboard.press("f")
    assert button.inner_text() == "Following"
    page.keyboard.press("l")
    assert log.evaluate("box => document.activeElement === box")
    assert log.evaluate("box => box.scrollTop + box.clientHeight >= box.scrollHeight - 2")
    settle(site, job)


@pytest.mark.parametrize("number", [0, 1, 199, 201, 2500])
def test_the_last_lines_are_found_in_any_log(site: Site, number: int) -> None:
    """However long it is, without reading it from its beginning."""
    job = submit_many(site, 1)
    (claimed,) = claim(site, job).trials
    for start in range(0, number, 500):
        site.store.add_logs(claimed.attempt.id, [f"{line}" for line in range(start, min(number, start + 500))])
    lines = read_last_lines(site.store, job.id)
    assert [int(line.text) for line in lines] == list(range(max(0, number - 200), number))
    settle(site, job)


def test_two_hundred_trials_fit_on_a_light_page(page: Page, site: Site, check_axe: CheckAxe) -> None:
    """All of them failed, each with figures and two attempts: under 300 kB, and usable (G1)."""
    job = submit_many(site, 200)
    for claimed in claim(site, job).trials:
        site.store.add_metrics(
            claimed.attempt.id, [MetricPoint("train/loss left", n, 1.0 / (n + 1)) for n in range(30)]
        )
        site.store.add_logs(claimed.attempt.id, ["epoch 1 of 30: " + "loss " * 10])
        site.store.fail(claimed.attempt.id, Reason.DIVERGED, "The loss became infinite in epoch 3.")
    answer = page.goto(f"/searches/{job.id}")
    assert answer is not None
    assert len(answer.body()) < 230_000  # style sheets and scripts take the rest
    assert page.locator("table.trials tbody tr").count() == 200
    assert page.locator("g.lane").count() == 60
    assert "and 195 more" in page.locator("#trouble").inner_text()
    check_axe(page)


def test_a_job_that_reported_no_finite_figure_says_so(page: Page, site: Site) -> None:
    """NaN losses draw nothing and break nothing."""
    job = submit_many(site, 1)
    (claimed,) = claim(site, job).trials
    site.store.add_metrics(claimed.attempt.id, [MetricPoint("search/loss left", 1, float("nan"))])
    site.store.complete(
        claimed.attempt.id,
        {"metrics": {"left": {"metric": "accuracy", "value": None}}, "madds": None},
        None,
        score=lambda _, __: 0.0,
    )
    open_job(page, job)
    assert "No trial has reported a figure yet" in page.locator('[data-part="curves"]').inner_text()
    assert page.locator("h1 .chip").inner_text() == "Done"


def test_curves_of_one_trial_keep_their_address(page: Page, site: Site, seed_search: SeedSearch) -> None:
    """The choice is in the address, so that it can be sent to a colleague and survives a reload."""
    job = seed_search(site, name="curves")
    open_job(page, job)
    assert page.locator('[data-part="curves"] .curve-legend li').count() > 1
    page.get_by_label("Curves of").select_option(label="75pct-s0")
    page.locator('[data-part="curves"] .curve-legend li:only-child').wait_for()
    page.reload()
    assert page.locator('[data-part="curves"] .curve-legend li').all_inner_texts() == ["1\n75pct-s0"]


@pytest.mark.parametrize(("kind", "root"), [(JobKind.RETRAIN, "retrains"), (JobKind.EXPORT, "exports")])
def test_other_kinds_of_jobs_have_the_same_page(page: Page, site: Site, kind: JobKind, root: str) -> None:
    """Retrainings and exports are followed and cancelled alike, under the name of their kind."""
    trial = NewTrial(kind.value, f"{kind.value}-s0", {})
    spec = {"dataset": "digits", "tasks": ["left", "right"], "architecture_id": "arch_1"}
    new = NewJob(kind, "olga", "another kind", spec, "0", "k", (trial,), priority=100, architecture_id="arch_1")
    job, _ = site.store.submit(new, limits=QueueLimits())
    page.goto(f"/{root}/{job.id}")
    page.wait_for_selector('main[data-state="ready"]')
    (claimed,) = claim(site, job).trials
    page.wait_for_selector('h1 .chip[data-state="RUNNING"]', timeout=LIVE_MS)
    site.store.release(claimed.attempt.id, Reason.WORKER_STOPPED, "")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_selector('h1 .chip[data-state="CANCELLED"]')
    assert f"/{root}/{job.id}" in page.url


def test_the_spec_can_be_submitted_again(page: Page, site: Site, seed_search: SeedSearch) -> None:
    """It is the body of the request, as JSON."""
    job = seed_search(site, name="spec")
    page.goto(f"/searches/{job.id}/spec.json")
    assert json.loads(page.locator("pre").inner_text()) == dict(job.spec)


def test_another_job_is_not_found(page: Page, watch: Watch) -> None:
    """With the request's id, on a page."""
    watch.forgive("404")
    page.goto("/searches/srch_none")
    assert page.get_by_role("heading", level=1).inner_text() == "There is nothing at this address."


def test_names_are_text(page: Page, site: Site) -> None:
    """Whatever a person calls a search or a trial writes is shown, never run (C5)."""
    job = submit_many(site, 1)
    evil = "</h1><script>alert(1)</script> {{7*7}} \u202e 🌳"
    site.store.update_job(job.id, JobChanges(name=evil, notes="<img src=x>"), if_version=job.version)
    (claimed,) = claim(site, job).trials
    site.store.fail(claimed.attempt.id, Reason.DIVERGED, "<img src=x onerror=alert(1)>")
    open_job(page, job)
    assert evil in page.locator("h1").inner_text()
    assert "<img src=x onerror=alert(1)>" in page.locator("#trouble").inner_text()
