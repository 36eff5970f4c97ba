"""What pydantic found wrong with a request, as a problem: places and rules, never what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError

from service.web.problems import FieldError, ProblemError
from service.web.strict_body import encode_pointer

_MAX_ERRORS = 20
_OWN_WORDS = {
    "missing": "The field is missing.",
    "extra_forbidden": "The field is unknown. Check its spelling.",
    "string_pattern_mismatch": "The text does not have the form that the API description gives.",
    "json_invalid": "The body is not JSON.",
    "int_from_float": "A whole number is needed.",
    "finite_number": "The number must be finite.",
}


def problem_of_validation(error: RequestValidationError) -> ProblemError:
    """Return invalid_request for a body, invalid_parameter for anything else of a request."""
    found = error.errors()
    in_body = [fault for fault in found if fault["loc"] and fault["loc"][0] == "body"]
    if in_body:
        errors = [_describe(fault, encode_pointer(_clean(fault["loc"][1:]))) for fault in in_body[:_MAX_ERRORS]]
        return ProblemError("invalid_request", _sum_up(errors, len(in_body)), errors=errors)
    errors = [_describe(fault, str(fault["loc"][-1])) for fault in found[:_MAX_ERRORS]]
    return ProblemError("invalid_parameter", _sum_up(errors, len(found)), errors=errors)


def _describe(fault: Mapping[str, Any], pointer: str) -> FieldError:
    """Return one fault: our own sentences where a validator of ours spoke, pydantic's rule otherwise."""
    kind = str(fault["type"])
    own = fault.get("ctx", {}).get("error")
    if kind == "value_error" and isinstance(own, ValueError):
        message = str(own)
    else:
        message = _OWN_WORDS.get(kind) or f"{fault['msg']}."
    return FieldError(pointer=pointer, code=kind, message=message)


def _clean(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return the place of a fault without the marks that pydantic adds for keys of dictionaries."""
    return tuple(part for part in path if part != "[key]")


def _sum_up(errors: list[FieldError], number: int) -> str:
    """Return the first fault as the sentence of the problem, and how many there are."""
    first = f"{errors[0].pointer or 'The body'}: {errors[0].message}"
    return first if number == 1 else f"{first} There are {number} faults in all."
