"""What holds for every page: it fits at 400 % zoom, by keyboard alone, without motion, with odd results in it (G1, G3).

A loop over pages inside each test: signing in anew for every page would take most of the time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from db.questions import QueueLimits
from db.records.jobs import NewJob, NewTrial
from db.records.states import JobKind

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from db.records.jobs import ClaimedTrial
    from tests.service.dashboard.conftest import CheckAxe, NewPage, SeedSearch, Site, Watch

ZOOMED = {"viewport": {"width": 320, "height": 256}, "device_scale_factor": 4}
"""1280 by 1024 pixels of a screen at 400 %."""
MAIN_PAGES = ("searches", "studies", "search well", "study well", "network", "comparison", "form", "question")
NOT_A_FIGURE = re.compile(r"\b(None|nan|NaN|undefined|null|Infinity|inf)\b")
LIST_CONTROLS = """
() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
    .filter((one) => one.checkVisibility({visibilityProperty: true}) && !one.disabled && one.type !== 'hidden'
        && !one.closest('fieldset[disabled]') && one.getAttribute('tabindex') !== '-1')
"""
# Brought into view by focus, as Tab does it, a control must show some of itself within the window, uncovered.
FIND_OUT_OF_REACH = f"""
() => {{
    const told = [];
    for (const one of ({LIST_CONTROLS})()) {{
        one.focus();
        one.scrollIntoView({{block: 'center', inline: 'nearest'}});
        const box = one.getBoundingClientRect();
        const left = Math.max(box.left, 0), right = Math.min(box.right, innerWidth);
        const top = Math.max(box.top, 0), bottom = Math.min(box.bottom, innerHeight);
        const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
        const seen = hit && (one.contains(hit) || hit.contains(one) || hit.closest('label')?.control === one
            || one.ownerSVGElement?.contains(hit));  // points of equal figures lie on each other
        const words = one.outerHTML.slice(0, 120);
        if (document.activeElement !== one) told.push('no focus: ' + words);
        else if (right - left < 4 || bottom - top < 4 || !seen) told.push('not in view: ' + words);
    }}
    return told;
}}
"""
MARK_CONTROLS = f"() => ({LIST_CONTROLS})().map((one, index) => (one.dataset.walk = index, index)).length"
# A radio group is one stop of Tab; arrows go on inside it.
READ_FOCUS = """
() => {
    const one = document.activeElement, style = getComputedStyle(one);
    const outlined = parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== 'none';
    const point = one.closest('svg a')?.querySelector('path');
    const bold = point && parseFloat(getComputedStyle(point).strokeWidth) >= 4;
    return [one.dataset.walk ?? '', outlined || bold || !one.dataset.walk, one.outerHTML.slice(0, 120)];
}
"""


def lose_a_figure(site: Site, claimed: ClaimedTrial, result: dict[str, Any]) -> None:
    """Let a candidate diverge: the metric of its first task is no number, which JSON has no word for but null."""
    if claimed.trial.kind == "candidate" and result["metrics"]:
        next(iter(result["metrics"].values()))["value"] = None


@pytest.fixture(scope="module")
def paths(site: Site, seed_search: SeedSearch) -> dict[str, str]:
    """Return the address of every kind of page, with results that went well and with all that can be odd."""
    well = seed_search(site, "well", tasks=("left", "right", "left_group"), budgets=("60%", "75%"), seeds=(0, 1))
    odd = seed_search(site, "diverged", tasks=("left", "left_group"), leave=lose_a_figure)
    untrained = seed_search(site, "untrained", tasks=("right", "right_group"), retrain=False)
    failed = seed_search(site, "all failed", outcome="failed")
    running = seed_search(site, "running", outcome="running", tasks=("right", "left_group"))
    queued = seed_search(site, "queued", outcome="queued")
    ids = [row.id for row in site.store.list_front_rows(job_id=well.id, study_key=None)]
    odd_id = site.store.list_front_rows(job_id=odd.id, study_key=None)[0].id
    plain_id = site.store.list_front_rows(job_id=untrained.id, study_key=None)[0].id
    export = NewJob(
        JobKind.EXPORT, "olga", "export", {"format": "onnx"}, "0", well.study_key, (NewTrial("export", "e", {}),),
        architecture_id=ids[0],
    )  # fmt: skip
    exported, _ = site.store.submit(export, limits=QueueLimits())
    searches = {"well": well, "diverged": odd, "untrained": untrained, "failed": failed, "running": running}
    return {
        "searches": "/searches",
        "no searches": "/searches?name=zzz",
        "studies": "/studies",
        **{f"search {name}": f"/searches/{job.id}" for name, job in {**searches, "queued": queued}.items()},
        **{f"study {name}": f"/studies/{job.study_key}" for name, job in searches.items()},
        "study under a limit": f"/studies/{well.study_key}?under=0.2M&spread=range&pins={ids[0]},{ids[1]}",
        "network": f"/architectures/{ids[0]}",
        "network diverged": f"/architectures/{odd_id}",
        "network untrained": f"/architectures/{plain_id}",
        "export": f"/exports/{exported.id}",
        "comparison": f"/compare?ids={','.join(ids[:4])}&all=1",
        "comparison of odd ones": f"/compare?ids={odd_id},{plain_id}",
        "no comparison": "/compare",
        "form": "/submit",
        "form again": f"/submit?from={well.id}",
        "question": f"/searches/{queued.id}/confirm?action=cancel",
        "nothing": "/nothing/here",
    }


def show(page: Page, path: str) -> None:
    """Open a page, unfold all that is folded, and wait until its scripts are done."""
    page.goto(path)
    if page.locator("main").get_attribute("data-state") is not None:
        page.locator("main[data-state=ready]").wait_for()
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")


def find_faults_of_reach(page: Page) -> list[str]:
    """Return what of a page cannot be come at in its window."""
    found = list(page.evaluate(FIND_OUT_OF_REACH))
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("scrolls sideways")
    return found


def test_an_empty_server_is_entered_at_400_percent_by_keyboard(new_page: NewPage, site: Site) -> None:
    """Sign in, see nothing in the lists, copy the one command, list the shortcuts, go to the form (G1 with no row)."""
    # The first test of this file: the store is empty.
    page = new_page(None, **ZOOMED)
    page.goto("/sign-in")
    assert find_faults_of_reach(page) == []
    page.get_by_label("Access token").fill(site.tokens["operator"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    for path in ("/studies", "/searches", "/"):
        show(page, path)
        assert find_faults_of_reach(page) == [], path
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
    assert page.evaluate("document.querySelector('dialog[open]').contains(document.activeElement)")
    page.get_by_role("button", name="Close").press("Enter")
    page.keyboard.press("g")
    page.keyboard.press("n")
    page.wait_for_url("**/submit")


def test_lists_of_one_and_of_two(new_page: NewPage, site: Site, seed_search: SeedSearch, check_axe: CheckAxe) -> None:
    """With the first search and with the second, lists count right and say it right (G1 with one and two rows)."""
    page = new_page(viewport={"width": 390, "height": 844})
    for number, words in ((1, "1 {one} on this page"), (2, "2 {many} on this page")):
        tasks = ("left", "right") if number == 1 else ("left", "right_group")
        seed_search(site, f"search {number}", tasks=tasks, budgets=("75%",))
        for path, one, many in (("/searches", "search", "searches"), ("/studies", "study", "studies")):
            show(page, path)
            assert page.locator("#rows tr").count() == number
            assert words.format(one=one, many=many) in page.inner_text("main")
            check_axe(page)


def test_at_400_percent_every_control_is_in_reach(new_page: NewPage, paths: dict[str, str], watch: Watch) -> None:
    """No page scrolls sideways, and whatever takes the focus comes into view, nothing lying over it (G3)."""
    watch.forgive("404")
    page = new_page(**ZOOMED)
    told: dict[str, list[str]] = {}
    for name, path in paths.items():
        show(page, path)
        assert page.evaluate("[innerWidth, devicePixelRatio]") == [320, 4]
        found = find_faults_of_reach(page)
        told |= {name: found} if found else {}
    assert told == {}


def test_tab_alone_visits_every_control_and_shows_where_it_is(new_page: NewPage, paths: dict[str, str]) -> None:
    """Links, buttons, fields, drawings and boxes that scroll, downloads too, each with a ring around it (G3)."""
    page = new_page(viewport={"width": 1280, "height": 900})
    for name in MAIN_PAGES:
        show(page, paths[name])
        num = page.evaluate(MARK_CONTROLS)
        page.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
        visited: set[str] = set()
        for _ in range(num + 20):
            page.keyboard.press("Tab")
            walked, has_ring, described = page.evaluate(READ_FOCUS)
            assert has_ring, (name, described)
            visited.add(walked)
        missed = page.evaluate(
            "(seen) => [...document.querySelectorAll('[data-walk]')].filter((one) => !seen.includes(one.dataset.walk)"
            " && one.type !== 'radio').map((one) => one.outerHTML.slice(0, 120))",
            sorted(visited),
        )
        assert missed == [], name


def test_no_two_shortcuts_of_a_page_are_alike(new_page: NewPage, paths: dict[str, str]) -> None:
    """Each key stands for one thing, none begins another's, and the list that `?` opens names them all."""
    page = new_page()
    for name in (*MAIN_PAGES, "search running"):
        show(page, paths[name])
        keys = page.evaluate(
            "[...document.querySelectorAll('[data-key]')].filter((one) => one.checkVisibility() && !one.disabled)"
            ".map((one) => one.dataset.key)"
        )
        assert len(set(keys)) == len(keys), (name, sorted(keys))
        firsts = {key.split()[0] for key in keys if " " in key}
        assert firsts.isdisjoint(keys), name
        page.keyboard.press("?")
        assert page.locator("#keys[open] dt").count() == len(keys) + 2, name
        page.keyboard.press("Escape")


def test_nothing_moves_where_motion_is_unwelcome(new_page: NewPage, paths: dict[str, str]) -> None:
    """With reduced motion no animation and no transition runs on any page; without the wish there are some."""
    script = """() => [...document.querySelectorAll('*')].filter((one) => {
        const style = getComputedStyle(one);
        return style.animationName !== 'none' || style.transitionDuration.split(', ').some((s) => parseFloat(s) > 0)
            || style.scrollBehavior === 'smooth';
    }).length + document.getAnimations().length"""
    still, moving = new_page(reduced_motion="reduce"), new_page(reduced_motion="no-preference")
    for name in MAIN_PAGES:
        show(still, paths[name])
        assert still.evaluate("matchMedia('(prefers-reduced-motion: reduce)').matches")
        assert still.evaluate(script) == 0, name
    show(moving, paths["network"])
    assert moving.evaluate(script) > 0


def test_odd_results_are_told_in_words(
    new_page: NewPage, paths: dict[str, str], check_axe: CheckAxe, watch: Watch
) -> None:
    """What is no number is a dash, and pages of failed, diverged and unfinished searches are accessible (G1)."""
    watch.forgive("404")
    page = new_page(viewport={"width": 1280, "height": 900})
    for name, path in paths.items():
        show(page, path)
        words = page.inner_text("main")
        assert not NOT_A_FIGURE.search(words), (name, NOT_A_FIGURE.search(words))
        if "diverged" in name or "odd" in name:
            check_axe(page)
