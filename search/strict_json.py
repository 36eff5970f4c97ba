"""Reads JSON that people may have edited or a crash may have cut: no duplicate keys, no NaN, UTF-8 only.

The documents of a run (`search.architecture`, `search.results`, `search.method.routing`) are read through it. Pure: no
torch, no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

_Model = TypeVar("_Model", bound=BaseModel)


def read_strict_json(
    model: type[_Model], content: bytes, check: Callable[[dict[str, Any]], None] = lambda document: None
) -> _Model:
    """Return the document that `content` holds.

    Args:
        model: What it must be.
        content: UTF-8 text of one JSON object.
        check: Looks at the object first; raises ValueError.

    Raises:
        ValueError: Not such a document. The message is the second half of a sentence, without its full stop.
    """
    try:
        check(parse_strict_json(content))
        return model.model_validate_json(content)
    except ValidationError as error:
        reason = describe_validation(error)
    except ValueError as error:
        reason = str(error)
    raise ValueError(reason.rstrip("."))


def parse_strict_json(content: bytes) -> dict[str, Any]:
    """Return the JSON object that `content` holds.

    Args:
        content: UTF-8 text of one JSON object.

    Raises:
        ValueError: Not UTF-8, not JSON, not an object, a key standing twice, or a number that is not finite. The
            message is the second half of a sentence ("it is empty", "the key 'a' stands twice").
    """
    if not content.strip():
        raise ValueError("it is empty")
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg} in line {error.lineno})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError(f"it holds a JSON {type(document).__name__}, not an object")
    return document


def describe_validation(error: ValidationError) -> str:
    """Return the first fault that pydantic found as half a sentence: where it is, and what the rule was."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    own = first.get("ctx", {}).get("error")
    reason = str(own) if own is not None else first["msg"]
    if first["type"] == "missing":
        return f"the key '{place}' is missing"
    if first["type"] == "extra_forbidden":
        return f"the key '{place}' is unknown"
    return f"'{place}': {reason}" if place else reason


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's pairs as a dict, or refuse a key that stands twice (parsers disagree on which one counts)."""
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' stands twice")
    return document


def _refuse_constant(text: str) -> NoReturn:
    """Refuse NaN and the infinities, which JSON does not know."""
    raise ValueError(f"it holds the number {text}, and only finite numbers are allowed")
