"""The form of a search, built from the API's own schema: controls, what was typed as a body, faults at their fields.

A field that the API gains appears here by itself. Without scripts the same form works as it is. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from service.dashboard.submit_offers import FormOffers
from service.schemas.requests import SearchBody
from service.web.problems import FieldError

Values = Mapping[str, Sequence[str]]
Kind = Literal["text", "number", "check", "choice", "list", "pairs", "tasks"]
_KEPT = ("dataset", "tasks", "backbone", "budgets", "seeds", "preset")
"""Sent even where they are the default: they say what the search is."""
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("What to search", ("name", "dataset", "tasks", "backbone", "weights")),
    ("How far", ("budgets", "seeds", "preset")),
    ("More", ()),
)
_LABELS = {
    "deadline_seconds": "Deadline, in seconds",
    "max_attempts": "Attempts per trial",
    "resources.cpus": "CPU cores per trial",
    "resources.gpus": "GPUs per trial",
    "retrain": "Train and measure",
}
_HINTS = {
    "name": "What lists call it; dataset, backbone and preset without one.",
    "dataset": "What networks are trained and measured on.",
    "backbone": "The network whose layers the tasks share or part.",
    "tasks": "Two or more that one network is to do.",
    "budgets": "Most MAdds of a network: 9.1G, 550M, 1200000, or a share of the single-task total such as 60%. One "
    "candidate is searched for each; separate several by commas.",
    "seeds": "Each budget is searched once per seed; separate several by commas.",
    "preset": "How long to train.",
    "weights": "Where the encoder starts; files are those in the server's weights folder.",
    "objective": "How the expected cost is computed.",
    "labels": "KEY=VALUE, one per line.",
    "input_size": "Height and width in pixels, such as 128x128; the dataset's own without it.",
    "resources.cpus": "Fractions share a core.",
    "resources.gpus": "Fractions share a GPU.",
}
_CHOICES = {
    ("preset", "smoke"): "smoke: to see that it runs",
    ("preset", "quick"): "quick: a result in minutes",
    ("preset", "paper"): "paper: as in the paper, hours to days",
    ("objective", "exact"): "exact: in closed form",
    ("objective", "paper"): "paper: the paper's recursion",
    ("objective", "sampled"): "sampled: an estimate, for many tasks",
}
_WORDS = {
    ("tasks", "too_short"): "A branching needs at least two tasks. Choose another one.",
    ("budgets", "missing"): "A search needs at least one budget, such as 60% or 9.1G.",
    ("budgets", "too_short"): "A search needs at least one budget, such as 60% or 9.1G.",
    ("seeds", "too_short"): "A search needs at least one seed, such as 0.",
}
_WHOLE, _NUMBER = re.compile(r"-?\d{1,30}", re.ASCII), re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)


@dataclass(frozen=True)
class Control:
    """One control of the form.

    Attributes:
        name: Of the field, e.g. "resources.cpus"; the pointer into the body is the same with slashes.
        label: What stands above it.
        hint: What stands below it.
        kind: Decides how it looks and how it is read.
        choices: (value, words) to choose from.
        minimum, maximum: Limits of a number.
        max_length: Most characters of a text.
        whole: Whether a number, or each of a list, is a whole one.
        default: Value without it, as JSON.
        required: Whether it must be given.
    """

    name: str
    label: str
    hint: str
    kind: Kind
    choices: tuple[tuple[str, str], ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    whole: bool = False
    default: Any = None
    required: bool = False

    @property
    def pointer(self) -> str:
        """Return where in the body it stands."""
        return "/" + self.name.replace(".", "/")


@dataclass(frozen=True)
class Group:
    """Controls under a headline."""

    title: str
    controls: tuple[Control, ...]


def build_groups(offers: FormOffers, schema: Mapping[str, Any] | None = None) -> tuple[Group, ...]:
    """Return the form of a schema, of a search without one, with what may be chosen."""
    whole = _search_schema() if schema is None else schema
    required = set(whole.get("required", ()))
    controls = [
        replace(control, choices=_list_offered(control, offers))
        for name, part in whole["properties"].items()
        for control in _build_controls(name, part, whole, required=name in required)
    ]
    placed = {name for _, names in _GROUPS for name in names}
    groups = []
    for title, names in _GROUPS:
        inside = [control for name in names for control in controls if control.name == name]
        rest = [] if names else [control for control in controls if control.name not in placed]
        groups.append(Group(title, (*inside, *rest)))
    return tuple(groups)


def list_controls(groups: Iterable[Group]) -> list[Control]:
    """Return all controls of a form."""
    return [control for group in groups for control in group.controls]


def fill_in(body: Mapping[str, Any], controls: Sequence[Control], offers: FormOffers) -> dict[str, list[str]]:
    """Return what stands in the controls for a body, defaults where it says nothing."""
    values: dict[str, list[str]] = {}
    for control in controls:
        value: Any = body
        for part in control.name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        value = control.default if value is None else value
        if control.kind == "tasks":
            for dataset in offers.datasets:
                chosen = value if value and dataset.name == body.get("dataset") else dataset.tasks
                values[f"tasks.{dataset.name}"] = [task for task in dataset.tasks if task in chosen]
        elif control.kind == "check":
            values[control.name] = ["on"] if value else []
        elif control.kind == "list":
            sign = "x" if control.name == "input_size" else ", "
            values[control.name] = [sign.join(str(item) for item in value or ())]
        elif control.kind == "pairs":
            values[control.name] = ["\n".join(f"{key}={item}" for key, item in (value or {}).items())]
        else:
            values[control.name] = ["" if value is None else f"{value:g}" if isinstance(value, float) else str(value)]
    return values


def read_body(values: Values, controls: Sequence[Control]) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the body that the controls describe, and the faults of what no body can say.

    What is no number stays text, so that the API's own check names it; defaults are left out.
    """
    body: dict[str, Any] = {}
    errors: list[FieldError] = []
    for control in controls:
        value, fault = _read(control, values)
        if fault:
            errors.append(FieldError(pointer=control.pointer, code="invalid_request", message=fault))
        if value is None or (value == control.default and control.name not in _KEPT):
            continue
        inside, *below = control.name.split(".")
        if below:
            body.setdefault(inside, {})[below[0]] = value
        else:
            body[inside] = value
    return body, errors


def assign_errors(
    errors: Iterable[FieldError], controls: Sequence[Control], body: Mapping[str, Any]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return {name of a control: what is wrong there} and what belongs to none.

    Of a list it is said which of its values is meant.
    """
    placed: dict[str, list[str]] = {}
    others = []
    for error in errors:
        control = next(
            (one for one in controls if error.pointer == one.pointer or error.pointer.startswith(one.pointer + "/")),
            next((one for one in controls if one.pointer.startswith(error.pointer + "/") and error.pointer), None),
        )
        if control is None:
            others.append(error.message)
            continue
        message = _WORDS.get((control.name, error.code), error.message)
        index = error.pointer.removeprefix(control.pointer + "/")
        items = body.get(control.name)
        if index.isdigit() and isinstance(items, list) and int(index) < len(items):
            message = f"{items[int(index)]}: {message}"
        if message not in placed.setdefault(control.name, []):
            placed[control.name].append(message)
    return placed, others


def _build_controls(name: str, part: Mapping[str, Any], whole: Mapping[str, Any], *, required: bool) -> list[Control]:
    """Return the controls of one property; of an object with properties, one for each of them."""
    described = _resolve(part, whole)
    if "properties" in described:
        return [
            control
            for inner, inside in described["properties"].items()
            for control in _build_controls(f"{name}.{inner}", inside, whole, required=False)
        ]
    items = described.get("items", {})
    low, high = described.get("minimum", described.get("exclusiveMinimum")), described.get("maximum")
    return [
        Control(
            name=name,
            label=_LABELS.get(name, name.rpartition(".")[2].replace("_", " ").capitalize()),
            hint=_write_hint(name, described),
            kind=_choose_kind(name, described),
            choices=tuple((value, _CHOICES.get((name, value), value)) for value in described.get("enum", ())),
            minimum=low,
            maximum=high,
            max_length=described.get("maxLength"),
            whole="integer" in (described.get("type"), items.get("type")) or name == "budgets",
            default=_find_default(name, described),
            required=required,
        )
    ]


def _write_hint(name: str, described: Mapping[str, Any]) -> str:
    """Return what is to be said of a property: our words or the schema's, and its limits."""
    words = _HINTS.get(name) or str(described.get("description") or described.get("items", {}).get("description") or "")
    low, high = described.get("minimum", described.get("exclusiveMinimum")), described.get("maximum")
    if low is None or high is None:
        return words
    span = f"{'More than' if 'exclusiveMinimum' in described else 'From'} {low:,g} to {high:,.0f}."
    return f"{words} {span}".strip()


def _resolve(part: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return a property without references and without the choice of leaving it out."""
    described = dict(part)
    if "$ref" in described:
        described |= whole["$defs"][described["$ref"].rpartition("/")[2]]
    kinds = [kind for kind in described.get("anyOf", ()) if kind.get("type") != "null"]
    return {**kinds[0], **described} if len(kinds) == 1 else described


def _choose_kind(name: str, described: Mapping[str, Any]) -> Kind:
    """Return which control fits a property."""
    if name == "tasks":
        return "tasks"
    if "enum" in described or name in ("dataset", "backbone", "weights"):
        return "choice"
    kinds: Mapping[str, Kind] = {
        "array": "list",
        "object": "pairs",
        "boolean": "check",
        "integer": "number",
        "number": "number",
    }
    return kinds.get(str(described.get("type")), "text")


def _list_offered(control: Control, offers: FormOffers) -> tuple[tuple[str, str], ...]:
    """Return what may be chosen, from what is offered or the schema."""
    if control.name == "dataset":
        return tuple((dataset.name, f"{dataset.name}: {dataset.summary}") for dataset in offers.datasets)
    offered = {"backbone": offers.backbones, "weights": offers.weights}
    return offered.get(control.name, control.choices)


@cache
def _search_schema() -> dict[str, Any]:
    """Return the schema of a search."""
    return SearchBody.model_json_schema()


def _find_default(name: str, described: Mapping[str, Any]) -> Any:
    """Return the value that a property has when nothing is said; the schema does not tell that of lists."""
    first = {"dataset": "digits", "backbone": "tiny4", "budgets": ["60%"], "seeds": [0], "labels": {}}
    return first.get(name, described.get("default"))


def _read(control: Control, values: Values) -> tuple[Any, str]:
    """Return the JSON value of a control, None for nothing, and what is wrong with it where no JSON can say it."""
    typed = next(iter(values.get(control.name, ())), "").strip()
    match control.kind:
        case "tasks":
            dataset = next(iter(values.get("dataset", ())), "")
            return list(values.get(f"tasks.{dataset}", ())), ""
        case "check":
            return bool(values.get(control.name)), ""
        case "pairs":
            return _read_pairs(typed)
        case "list":
            return _read_items(control, typed), ""
        case "number":
            return _read_number(control, typed), ""
    return typed or None, ""


def _read_items(control: Control, typed: str) -> list[Any] | None:
    """Return the values that are separated by commas or spaces, None where there is none and none is needed."""
    between = r"[,;\sx]+" if control.name == "input_size" else r"[,;\s]+"
    items = [item for item in re.split(between, typed) if item]
    read = [int(item) if control.whole and _WHOLE.fullmatch(item) else item for item in items]
    return read if read or control.name in _KEPT else None


def _read_number(control: Control, typed: str) -> Any:
    """Return a number; text that is none stays text."""
    if control.whole and _WHOLE.fullmatch(typed):
        return int(typed)
    return float(typed) if _NUMBER.fullmatch(typed) else typed or None


def _read_pairs(typed: str) -> tuple[dict[str, str], str]:
    """Return the pairs that lines name, and what is wrong with the first line that names none."""
    pairs: dict[str, str] = {}
    fault = ""
    for line in (line.strip() for line in typed.splitlines() if line.strip()):
        key, sign, value = line.partition("=")
        if not sign or not key.strip():
            fault = fault or f"Each line is KEY=VALUE, got {line[:40]!r}."
        else:
            pairs[key.strip()] = value.strip()
    return pairs, fault
