"""Idempotency keys: the same key gets the same answer, another body a refusal, and a refused request keeps nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server, StartServer

URL = "/api/v1/searches"
SEARCH: dict[str, Any] = {"dataset": "digits", "backbone": "tiny4", "budgets": ["60%"], "preset": "smoke"}
KEY = {"Idempotency-Key": "0123456789abcdef"}


def test_twenty_at_once_make_one_search(start_server: StartServer, database_url: str) -> None:
    """Of 20 parallel posts with one key, one makes a search and all are answered with it (C6)."""
    server = start_server(database_url)
    client = server.ask()

    def post(_: int) -> httpx.Response:
        return client.post(URL, json=SEARCH, headers=KEY)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["id"] for answer in accepted}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in accepted) == 1
    assert sum(server.store.count_jobs().values()) == 1


def test_a_repetition_is_the_first_answer(server: Server) -> None:
    """Status, body and Location are those of the first answer, whatever has happened to the job since."""
    first = server.ask().post(URL, json=SEARCH, headers=KEY)
    server.ask().post(f"{first.headers['location']}/cancel")
    reordered = dict(reversed(SEARCH.items()))
    again = server.ask().post(URL, json=reordered, headers=KEY)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"


def test_a_key_is_for_one_request(server: Server) -> None:
    """The same key with another body, or at another address, is refused with 422."""
    key = {"Idempotency-Key": "one-request-only-please"}
    server.ask().post(URL, json=SEARCH, headers=key)
    other = server.ask().post(URL, json={**SEARCH, "seeds": [1]}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_keys_of_different_owners_never_meet(server: Server) -> None:
    """Two owners may use the same key."""
    key = {"Idempotency-Key": "everybody-uses-this-key"}
    mine = server.ask().post(URL, json=SEARCH, headers=key).json()["id"]
    theirs = server.ask("other").post(URL, json=SEARCH, headers=key).json()["id"]
    assert mine != theirs


def test_a_refused_request_can_be_mended_under_its_key(server: Server) -> None:
    """A validation failure is not saved."""
    key = {"Idempotency-Key": "mended-in-the-second-try"}
    assert server.ask().post(URL, json={**SEARCH, "budgets": ["1%"]}, headers=key).status_code == 422
    assert server.ask().post(URL, json=SEARCH, headers=key).status_code == 202


@pytest.mark.parametrize("key", ["short", "x" * 256, "has a space in the middle", "umlaut-äöü-0123456789"])
def test_malformed_keys_are_refused(server: Server, key: str) -> None:
    """A key has 16 to 255 printable ASCII characters."""
    response = server.ask().post(URL, json=SEARCH, headers={b"Idempotency-Key": key.encode()})
    assert response.status_code == 400


def test_keys_are_forgotten_after_a_day(server: Server) -> None:
    """Once the answer is purged, the key makes a new search (C6)."""
    key = {"Idempotency-Key": "used-again-much-later"}
    first = server.ask().post(URL, json=SEARCH, headers=key).json()["id"]
    assert server.store.purge_responses(24 * 3600) == 0
    assert server.store.purge_responses(0) > 0
    assert server.ask().post(URL, json=SEARCH, headers=key).json()["id"] != first


def test_a_retry_is_made_once_per_key(server: Server) -> None:
    """Retry creates a job, so it honours the key too."""
    path = f"{URL}/{server.submit()['id']}"
    server.ask().post(f"{path}/cancel")
    key = {"Idempotency-Key": "retry-me-only-once-please"}
    ids = {server.ask().post(f"{path}/retry", headers=key).json()["id"] for _ in range(3)}
    assert len(ids) == 1
