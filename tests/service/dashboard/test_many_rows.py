"""Pages with a thousand networks: as light and as quick to use as with ten (G1)."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

    from db.records.jobs import JobRecord
    from tests.service.dashboard.conftest import NewPage, SeedSearch, Site

NUM_NETWORKS = 1000
MAX_BYTES = 300_000
PATIENCE_S = 8.0
"""Generous: the tests of a busy machine; how long it took is printed."""


@pytest.fixture(scope="module")
def job(site: Site, seed_search: SeedSearch) -> JobRecord:
    """Return a search with a thousand networks, copies of one with other figures."""
    found: JobRecord = seed_search(site, "a crowd", tasks=("left", "right"), budgets=("75%",))
    (network,) = site.store.list_front_rows(job_id=found.id, study_key=None)
    record = site.store.get_architecture(network.id)
    with closing(sqlite3.connect(site.folder / "bmtas.db")) as connection:
        for index in range(1, NUM_NETWORKS):
            own = {"name": f"75pct-s{index}", "seed": index}
            trial = {"id": f"tria_crowd{index:05}", "position": 10 + index}
            copy_row(connection, "trial", record.trial_id, {**own, **trial})
            figures = {
                "trial_id": trial["id"],
                "madds": record.madds + 97 * index,
                "params": record.params + index,
                "delta_m": -5 + index / 150 + (index * 37 % 101) / 50,
            }
            copy_row(connection, "architecture", record.id, {**own, **figures, "id": f"arch_crowd{index:05}"})
        counts = "trials_total = trials_total + ?1, trials_succeeded = trials_succeeded + ?1"
        connection.execute(f"UPDATE job SET {counts} WHERE id = ?2", (NUM_NETWORKS - 1, found.id))
        connection.commit()
    return found


def copy_row(connection: sqlite3.Connection, table: str, row_id: str, changes: dict[str, object]) -> None:
    """Add a copy of a row with some columns changed."""
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    columns = ", ".join("?" if name in changes else name for name in names)
    values = [changes[name] for name in names if name in changes]
    connection.execute(f"INSERT INTO {table} SELECT {columns} FROM {table} WHERE id = ?", [*values, row_id])


def weigh(page: Page, path: str) -> tuple[int, int, float]:
    """Return the bytes that came over the wire for a page with all it loads, its own unpacked, seconds until usable."""
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - playwright marks what it calls
    started = time.perf_counter()
    document = page.goto(path)
    assert document is not None
    page.locator("main[data-state=ready]").wait_for()
    seconds = time.perf_counter() - started
    wire = sum(int(answer.headers.get("content-length") or 0) for answer in answers)
    unpacked = len(document.body())
    print(f"{path}: {wire / 1e3:.0f} kB over the wire, {unpacked / 1e3:.0f} kB unpacked, {seconds:.2f} s")  # noqa: T201
    return wire, unpacked, seconds


def test_a_thousand_points_are_light_and_can_be_walked(page: Page, job: JobRecord) -> None:
    """The page of the study has them all, weighs little packed and unpacked, and its arrow keys answer at once."""
    wire, unpacked, seconds = weigh(page, f"/studies/{job.study_key}")
    assert page.locator("svg.study-front a").count() == NUM_NETWORKS
    assert wire < MAX_BYTES / 2
    assert unpacked < MAX_BYTES
    assert seconds < PATIENCE_S
    page.keyboard.press("w")
    started = time.perf_counter()
    page.keyboard.press("ArrowRight")
    focused = str(page.evaluate("document.activeElement.id"))
    expect(page.locator("#card [data-id]")).to_have_attribute("data-id", focused.removeprefix("point-"))
    page.locator("#choice-x").select_option("params")
    page.wait_for_url("**x=params")
    page.locator("main[data-state=ready]").wait_for()
    print(f"a step and another axis: {time.perf_counter() - started:.2f} s")  # noqa: T201 - figures for the log
    assert time.perf_counter() - started < PATIENCE_S


@pytest.mark.parametrize("path", ["/searches/{id}", "/studies", "/searches", "/architectures/arch_crowd00007"])
def test_pages_around_a_thousand_networks_stay_light(page: Page, job: JobRecord, path: str) -> None:
    """The search, the lists and the page of one of the networks tell of the others without carrying them."""
    wire, unpacked, seconds = weigh(page, path.format(id=job.id))
    assert wire < MAX_BYTES / 2
    assert unpacked < MAX_BYTES
    assert seconds < PATIENCE_S


def test_a_client_that_takes_no_gzip_gets_the_page_as_it_is(new_page: NewPage, site: Site, job: JobRecord) -> None:
    """Pages are packed for those who ask; answers of the API never are, so that their ETags and ranges hold."""
    page = new_page()
    plain = page.request.get(f"/studies/{job.study_key}", headers={"Accept-Encoding": "identity"})
    packed = page.request.get(f"/studies/{job.study_key}", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert (plain.headers["vary"], packed.headers["vary"]) == ("Accept-Encoding", "Accept-Encoding")
    strip = [body.partition("<footer")[0].replace(" ", "") for body in (plain.text(), packed.text())]
    assert strip[0] == strip[1]
    with site.ask("viewer") as client:
        answer = client.get(f"/api/v1/pareto?study={job.study_key}", headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in answer.headers
        again = client.get(answer.url, headers={"Accept-Encoding": "gzip", "If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
