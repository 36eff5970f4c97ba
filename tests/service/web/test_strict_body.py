"""Bodies: one JSON document of finite numbers and real text, whatever is thrown at it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.web.problems import ProblemError
from service.web.strict_body import MAX_DEPTH, encode_pointer, mend, parse_body

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_sound_comes_through(value: Any) -> None:
    """Every JSON value of finite numbers and real text is read as it was written."""
    assert parse_body(json.dumps(value).encode()) == value
    assert parse_body(json.dumps(value, ensure_ascii=False).encode(), mend_text=True) == value


@given(st.binary(max_size=60))
def test_any_bytes_end_in_a_value_or_a_problem(content: bytes) -> None:
    """Nothing else comes out, whatever goes in."""
    statuses = set()
    try:
        parse_body(content)
    except ProblemError as problem:
        statuses.add(problem.status)
    assert statuses <= {400, 422}


@pytest.mark.parametrize(
    ("text", "pointer", "code"),
    [
        ('{"a":[1,NaN]}', "/a/1", "not_finite"),
        ('{"a":{"b":-1e999}}', "/a/b", "not_finite"),
        ('{"a":"\\u0000"}', "/a", "invalid_text"),
        ('{"a":{"\\ud800":1}}', "/a", "invalid_text"),
        ("Infinity", "", "not_finite"),
    ],
)
def test_faults_are_named_by_their_place(text: str, pointer: str, code: str) -> None:
    """A value that cannot be stored is refused with a pointer to it."""
    with pytest.raises(ProblemError) as refused:
        parse_body(text.encode())
    assert (refused.value.status, refused.value.errors[0].pointer, refused.value.errors[0].code) == (422, pointer, code)


def test_depth_is_bounded() -> None:
    """As many levels as are allowed pass, one more does not, mended or not."""
    for depth, passes in ((MAX_DEPTH - 1, True), (MAX_DEPTH + 2, False)):
        content = b"[" * depth + b'"x"' + b"]" * depth
        for mending in (False, True):
            if passes:
                parse_body(content, mend_text=mending)
            else:
                with pytest.raises(ProblemError, match="nested"):
                    parse_body(content, mend_text=mending)


def test_many_faults_are_cut_short() -> None:
    """A flood of faults does not become a flood of errors."""
    with pytest.raises(ProblemError) as refused:
        parse_body(b"[" + b",".join([b"NaN"] * 1000) + b"]")
    assert len(refused.value.errors) == 20


@given(st.text())
def test_mended_text_can_be_stored(text: str) -> None:
    """After mending, a text of any characters is UTF-8 without NUL."""
    assert b"\0" not in mend(text).encode()
    assert len(mend(text)) == len(text)


def test_pointers_stop_at_odd_keys() -> None:
    """A key that is no plain word is not repeated, nor what lies below it."""
    assert encode_pointer(("labels", "a b", 0)) == "/labels"
    assert encode_pointer(("budgets", 0)) == "/budgets/0"
    assert encode_pointer(("x" * 41,)) == ""
