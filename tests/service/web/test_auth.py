"""Callers and their limits, on a clock of the test's own."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.sql.store import SqlStore, open_store
from service.server_settings import RateLimits, ServerSettings
from service.web.auth import Authenticator
from service.web.problems import ProblemError
from service.web.rate_limits import TokenBuckets
from service.web.token_format import make_attempt_token, make_token, read_attempt_token, read_token

SECRET = b"s" * 32


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.seconds


@pytest.fixture
def store(sqlite_url: str) -> Iterator[SqlStore]:
    """Return an empty store."""
    with closing(open_store(sqlite_url)) as opened:
        yield opened


def build(store: SqlStore, clock: Clock) -> Authenticator:
    """Return an authenticator that allows 30 wrong tokens at once and 20 a minute."""
    settings = ServerSettings("/nowhere", Path("/nowhere"), SECRET, "1", rate_limits=RateLimits())
    return Authenticator(store, settings, clock)


def refuse(authenticator: Authenticator, header: str | None, address: str = "192.0.2.1") -> str:
    """Return the code with which a header is refused."""
    with pytest.raises(ProblemError) as refused:
        authenticator.admit(header, address, "searches:read")
    return refused.value.code


def test_a_thousand_wrong_tokens_get_30_answers(store: SqlStore) -> None:
    """From the 31st on an address is refused unheard, others are not; a minute later it may try 20 more (D4)."""
    clock = Clock()
    authenticator = build(store, clock)
    wrong = make_token(name="x", owner="x", role="admin", created_at=store.now())
    codes = [refuse(authenticator, f"Bearer {wrong.text}") for _ in range(1000)]
    assert codes == ["unauthorized"] * 30 + ["rate_limited"] * 970
    assert refuse(authenticator, None, "192.0.2.2") == "unauthorized"
    clock.seconds += 60
    assert [refuse(authenticator, None) for _ in range(21)] == ["unauthorized"] * 20 + ["rate_limited"]


def test_secrets_are_compared_in_constant_time(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known and unknown ids both lead to one comparison of two hashes of the same length (D4)."""
    compared: list[tuple[int, int]] = []
    original = hmac.compare_digest

    def watch(left: str, right: str) -> bool:
        compared.append((len(left), len(right)))
        return original(left, right)

    authenticator = build(store, Clock())
    known = make_token(name="x", owner="x", role="viewer", created_at=store.now())
    store.add_token(known.record)
    unknown = make_token(name="x", owner="x", role="viewer", created_at=store.now())
    monkeypatch.setattr(hmac, "compare_digest", watch)
    authenticator.admit(f"Bearer {known.text}", "a", "searches:read")
    refuse(authenticator, f"Bearer {unknown.text}")
    assert compared == [(6, 6), (64, 64)] * 2


def test_the_use_of_a_token_is_noted(store: SqlStore) -> None:
    """The first use, and one a minute later, are noted; those between cost the database nothing."""
    clock = Clock()
    authenticator = build(store, clock)
    token = make_token(name="x", owner="x", role="viewer", created_at=store.now())
    store.add_token(token.record)
    assert token.record.last_used_at is None
    authenticator.admit(f"Bearer {token.text}", "a", "searches:read")
    noted = store.find_token(token.record.id)
    assert noted is not None
    assert noted.last_used_at is not None


def test_tokens_read_back() -> None:
    """A token says its id and the hash of its secret; one with a letter changed is none."""
    token = make_token(name="x", owner="x", role="viewer", created_at=datetime.now(UTC))
    presented = read_token(token.text)
    assert presented is not None
    assert (presented.id, presented.secret_sha256) == (token.record.id, token.record.secret_sha256)
    for place in (5, 20, len(token.text) - 1):
        letter = "a" if token.text[place] != "a" else "b"
        assert read_token(token.text[:place] + letter + token.text[place + 1 :]) is None
    assert token.text not in repr(token.record)


def test_attempt_tokens_depend_on_the_secret() -> None:
    """The token of an attempt names it, and is worthless to a server with another secret."""
    text = make_attempt_token("attm_1_2", SECRET)
    assert read_attempt_token(text, SECRET) == "attm_1_2"
    assert read_attempt_token(text, b"t" * 32) is None
    assert read_attempt_token(text.replace("attm_1", "attm_2"), SECRET) is None


def test_buckets_refill_evenly() -> None:
    """A bucket of 2 that gets one request in 10 seconds: two at once, then one every ten."""
    clock = Clock()
    buckets = TokenBuckets(0.1, 2, clock)
    assert [buckets.take("a").allowed for _ in range(3)] == [True, True, False]
    clock.seconds += 5
    refused = buckets.take("a")
    assert (refused.allowed, refused.retry_seconds) == (False, 5)
    clock.seconds += 5
    assert buckets.take("a").allowed
    assert buckets.take("b").remaining == 1


def test_a_short_secret_is_refused() -> None:
    """A secret that could be guessed is no secret."""
    with pytest.raises(ValueError, match="at least 32 bytes"):
        ServerSettings("/nowhere", Path("/nowhere"), b"short", "1")
