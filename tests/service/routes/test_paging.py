"""Pages of lists: nothing twice, nothing left out while rows come in, tokens good for their own list only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.questions import QueueLimits
from db.records.jobs import NewJob, NewTrial
from db.records.states import JobKind
from db.stores import Store
from service.web.paging import PageTokens
from service.web.problems import ProblemError

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server, StartServer

URL = "/api/v1/searches"


def add_jobs(store: Store, names: list[str]) -> list[str]:
    """Return the ids of jobs that were put into the store directly."""
    trial = NewTrial("candidate", "60pct-s0", {})
    ids = []
    for name in names:
        job = NewJob(JobKind.SEARCH, "me", name, {"tasks": [], "dataset": "digits"}, "0", "0", (trial,))
        ids.append(store.submit(job, limits=QueueLimits())[0].id)
    return ids


def read_all(server: Server, **params: Any) -> list[str]:
    """Return the ids of all pages, while a new job comes in after every page."""
    found: list[str] = []
    query = dict(params)
    while True:
        response = server.ask().get(URL, params=query)
        assert response.status_code == 200, response.text
        found += [row["id"] for row in response.json()["items"]]
        if "next_page_token" not in response.json():
            assert "link" not in response.headers
            return found
        assert 'rel="next"' in response.headers["link"]
        query["page_token"] = response.json()["next_page_token"]
        add_jobs(server.store, ["intruder"])


def test_old_rows_come_once_each_while_new_ones_come_in(start_server: StartServer, database_url: str) -> None:
    """In every order, rows that were there at the start appear exactly once over all pages (C7)."""
    server = start_server(database_url)
    ids = add_jobs(server.store, [f"name {index % 3}" for index in range(11)])
    for sort in ("created_at", "-created_at", "name", "-name", "state", "-priority"):
        found = read_all(server, sort=sort, page_size=3)
        assert sorted(set(found) & set(ids)) == sorted(ids)
        assert len(found) == len(set(found))


def test_the_link_header_leads_on(server: Server) -> None:
    """Following rel=next gives the same page as the token."""
    add_jobs(server.store, ["one", "two", "three"])
    first = server.ask().get(URL, params={"page_size": 2, "sort": "name"})
    link = first.headers["link"].partition(">")[0].removeprefix("<")
    by_token = {"page_size": 2, "sort": "name", "page_token": first.json()["next_page_token"]}
    assert server.ask().get(link).json() == server.ask().get(URL, params=by_token).json()


def test_page_sizes_are_clamped(server: Server) -> None:
    """Nought means the default and more than 200 means 200; negative is refused elsewhere."""
    add_jobs(server.store, [str(index) for index in range(205)])
    assert len(server.ask().get(URL, params={"page_size": 100_000}).json()["items"]) == 200
    assert len(server.ask().get(URL, params={"page_size": 0}).json()["items"]) == 50


def test_a_token_is_good_for_its_own_list(server: Server) -> None:
    """With another filter or order, or with a letter changed, the token is refused (C7)."""
    add_jobs(server.store, ["a", "b", "c"])
    token = server.ask().get(URL, params={"page_size": 1}).json()["next_page_token"]
    changed = ("A" if token[30] != "A" else "B").join((token[:30], token[31:]))
    for params in ({"sort": "name"}, {"task": "left"}, {"page_token": changed}, {"page_token": "ä" * 9}):
        response = server.ask().get(URL, params={"page_token": token, **params})
        assert (response.status_code, response.json()["code"]) == (400, "invalid_page_token")
    for path in ("/api/v1/architectures", "/api/v1/exports"):
        assert server.ask().get(path, params={"page_token": token}).status_code == 400


@given(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.none()), st.text())
def test_tokens_hold_what_was_put_in(value: Any, row_id: str) -> None:
    """A token read with the same filters gives the row back."""
    tokens = PageTokens(b"k" * 32)
    assert tokens.read(tokens.make((value, row_id), {"a": "b"}), {"a": "b"}) == (value, row_id)


def test_tokens_keep_times() -> None:
    """A time comes back as the same time."""
    tokens, now = PageTokens(b"k" * 32), datetime.now(UTC)
    assert tokens.read(tokens.make((now, "x"), {}), {}) == (now, "x")


@given(st.text(max_size=200))
def test_no_text_is_taken_for_a_token(text: str) -> None:
    """Whatever is sent as a token, it is refused and nothing breaks."""
    with pytest.raises(ProblemError, match="next_page_token"):
        PageTokens(b"k" * 32).read(text, {})


def test_tokens_of_another_server_are_refused() -> None:
    """The seal depends on the secret."""
    token = PageTokens(b"a" * 32).make(("x", "y"), {})
    with pytest.raises(ProblemError):
        PageTokens(b"b" * 32).read(token, {})
