"""What every store promises of tokens, idempotency keys and the audit trail."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db.errors import ConflictError, IdempotencyMismatchError, NotFoundError
from db.questions import Idempotency
from db.records.access import SavedResponse, TokenRecord

if TYPE_CHECKING:
    from tests.contracts.conftest import Desk

KEY = Idempotency("ann", "key-of-sixteen-characters", "POST", "/tokens", "1" * 64)


def make_token(desk: Desk, token_id: str = "t1", **changes: object) -> TokenRecord:
    """Return a token just stored."""
    desk.clock.advance(1)
    token = TokenRecord(
        id=token_id,
        name="laptop",
        owner="ann",
        role="operator",
        scopes=("searches:read", "searches:write"),
        secret_sha256="a" * 64,
        created_at=desk.clock(),
        expires_at=desk.clock() + timedelta(days=1),
        last_used_at=None,
        revoked_at=None,
    )
    token = replace(token, **changes)  # type: ignore[arg-type]
    desk.store.add_token(token)
    return token


def test_a_token_comes_back_as_stored(desk: Desk) -> None:
    """A token is found by its id and listed newest first, for its owner or for all."""
    assert (desk.store.count_tokens(), desk.store.find_token("t1")) == (0, None)
    first, second = make_token(desk), make_token(desk, "t2", owner="bob", expires_at=None)
    assert (desk.store.find_token("t1"), desk.store.find_token("t2")) == (first, second)
    assert desk.store.list_tokens(None) == [second, first]
    assert desk.store.list_tokens("ann") == [first]
    assert desk.store.count_tokens() == 2


def test_an_id_is_taken_once(desk: Desk) -> None:
    """A second token under an id is refused and the first stays."""
    first = make_token(desk)
    with pytest.raises(ConflictError):
        make_token(desk, owner="mallory")
    assert desk.store.find_token("t1") == first


def test_a_revoked_token_stays_revoked(desk: Desk) -> None:
    """Revoking notes the time, again changes nothing, and the token still counts."""
    make_token(desk)
    revoked = desk.store.revoke_token("t1")
    assert revoked.revoked_at == desk.clock()
    desk.clock.advance(60)
    assert desk.store.revoke_token("t1") == revoked == desk.store.find_token("t1")
    assert desk.store.count_tokens() == 1
    with pytest.raises(NotFoundError):
        desk.store.revoke_token("nothing")


def test_use_is_noted_to_the_minute(desk: Desk) -> None:
    """The last use moves on at most once a minute; an unknown token is no error."""
    make_token(desk)
    times = []
    for seconds in (0, 59, 1):
        desk.clock.advance(seconds)
        desk.store.touch_token("t1")
        token = desk.store.find_token("t1")
        assert token is not None
        times.append(token.last_used_at)
    assert times == [desk.clock() - timedelta(seconds=60)] * 2 + [desk.clock()]
    desk.store.touch_token("nothing")


def test_an_answer_is_kept_for_its_request(desk: Desk) -> None:
    """The first answer of a key stays, byte for byte; another request under it is refused."""
    answer = SavedResponse(201, {"ETag": '"1"'}, bytes(range(256)))
    assert desk.store.find_response(KEY) is None
    desk.store.save_response(KEY, answer)
    desk.store.save_response(KEY, SavedResponse(500, {}, b""))
    assert desk.store.find_response(KEY) == answer
    with pytest.raises(IdempotencyMismatchError):
        desk.store.save_response(replace(KEY, body_sha256="2" * 64), answer)


def test_old_answers_are_forgotten(desk: Desk) -> None:
    """Keys older than asked are forgotten and counted, younger ones stay."""
    answer = SavedResponse(200, {}, b"")
    desk.store.save_response(KEY, answer)
    desk.clock.advance(3601)
    desk.store.save_response(replace(KEY, key="young"), answer)
    assert desk.store.purge_responses(3600) == 1
    assert desk.store.find_response(KEY) is None
    assert desk.store.find_response(replace(KEY, key="young")) == answer


def test_the_audit_trail_has_the_newest_first(desk: Desk) -> None:
    """Every note tells who did what to what and when."""
    for number in range(3):
        desk.store.add_audit("ann", "t1", "cancel", f"srch_{number}")
    notes = desk.store.list_audit(limit=2)
    assert [note.resource for note in notes] == ["srch_2", "srch_1"]
    assert vars(notes[0]) == {
        "at": desk.clock(),
        "owner": "ann",
        "token_id": "t1",
        "action": "cancel",
        "resource": "srch_2",
    }


def test_a_store_tells_its_time_and_answers(desk: Desk) -> None:
    """A store answers a ping, and its time is the clock's."""
    desk.store.ping()
    assert desk.store.now() == desk.clock()
