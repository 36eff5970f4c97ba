"""Reads the JSON body of a request: one document, no duplicate keys, finite numbers, real text, no deep nesting.

Neighbours: `service.web.guarded_route` reads every body through it. Its refusals never quote what was sent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, NoReturn

from service.web.problems import FieldError, ProblemError

MAX_DEPTH = 40
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}", re.ASCII)
_MAX_ERRORS = 20


def parse_body(content: bytes, *, mend_text: bool = False) -> Any:
    """Return the JSON value that a body holds.

    Args:
        content: The body.
        mend_text: Whether characters that are no text (lone surrogates, NUL) become the replacement character, for
            what programs wrote; people are told.

    Raises:
        ProblemError: malformed_json (400) for what is no JSON, invalid_request (422) for numbers that are not finite
            and text that is none.
    """
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=float)
    except UnicodeDecodeError:
        raise _malformed("is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"is not JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise _malformed("is nested too deeply") from None
    except ValueError:  # an integer of thousands of digits
        raise _malformed("holds a number that is too long") from None
    if mend_text:
        document = _mend(document, 0)
    errors: list[FieldError] = []
    for fault in _find_faults(document):
        errors.append(fault)
        if len(errors) == _MAX_ERRORS:
            break
    if errors:
        raise ProblemError("invalid_request", "Some values of the body cannot be stored.", errors=errors)
    return document


def encode_pointer(path: Sequence[str | int]) -> str:
    """Return a path into a document as RFC 6901 pointer, as far as it is made of plain words: a key may be anything."""
    plain = list(takewhile(lambda part: isinstance(part, int) or _PLAIN_KEY.fullmatch(part), path))
    return "".join(f"/{part}" for part in plain)


def _find_faults(document: Any) -> Iterator[FieldError]:
    """Yield what cannot be stored, with its place."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict | list):
            if len(path) >= MAX_DEPTH:
                raise _malformed(f"is nested more than {MAX_DEPTH} levels deep")
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in pairs:
                if isinstance(key, str) and not is_text(key):
                    yield _fault(path, "invalid_text", "A key has a character that is no text.")
                    continue
                if isinstance(item, dict | list | str | float):
                    waiting.append(((*path, key), item))
        elif isinstance(value, str) and not is_text(value):
            yield _fault(path, "invalid_text", "The text has a character that is none: NUL or half a surrogate pair.")
        elif isinstance(value, float) and not math.isfinite(value):
            yield _fault(path, "not_finite", "The number must be finite.")


def is_text(text: str) -> bool:
    """Return whether a string can be stored as text everywhere: no NUL, no lone surrogates."""
    return (text.isascii() and "\0" not in text) or not any(_is_no_text(character) for character in text)


def mend(text: str) -> str:
    """Return a text whose characters that are none are replaced."""
    return text if is_text(text) else "".join("\ufffd" if _is_no_text(item) else item for item in text)


def _mend(value: Any, depth: int) -> Any:
    """Return a JSON value with all its texts mended."""
    if depth > MAX_DEPTH:
        raise _malformed(f"is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        return mend(value)
    if isinstance(value, dict):
        return {mend(key): _mend(item, depth + 1) for key, item in value.items()}
    return [_mend(item, depth + 1) for item in value] if isinstance(value, list) else value


def _is_no_text(character: str) -> bool:
    """Return whether a character is NUL or half of a surrogate pair."""
    return character == "\0" or "\ud800" <= character <= "\udfff"


def _fault(path: tuple[str | int, ...], code: str, message: str) -> FieldError:
    """Return what is wrong with the value at a path; a key that is no text itself does not appear."""
    return FieldError(pointer=encode_pointer(path), code=code, message=message)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's pairs as a dict, or refuse a key that stands twice."""
    document = dict(pairs)
    if len(document) != len(pairs):
        _refuse_duplicate()
    return document


def _refuse_duplicate() -> NoReturn:
    """Refuse a key that stands twice: parsers disagree on which one counts."""
    raise _malformed("has an object in which a key stands twice")


def _malformed(reason: str) -> ProblemError:
    """Return the problem of a body that is not one JSON document."""
    return ProblemError("malformed_json", f"The body must be one JSON document, but it {reason}.")
