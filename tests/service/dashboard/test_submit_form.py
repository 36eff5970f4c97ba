"""The form of a search: everything of the schema, read back as it was filled in, faults at their fields."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.dashboard.submit_form import assign_errors, build_groups, fill_in, list_controls, read_body
from service.dashboard.submit_offers import FormOffers, OfferedDataset
from service.schemas.requests import SearchBody
from service.web.problems import FieldError

OFFERS = FormOffers(
    datasets=(
        OfferedDataset("digits", "two digits", ("left", "right", "left_group", "right_group")),
        OfferedDataset("robot", "a person's own", ("semseg", "depth", "scene")),
    ),
    backbones=(("tiny4", "tiny4: small"), ("wild_net", "wild_net (of wild 1.0)")),
    weights=(("none", "none: from random weights"), ("mine.pth", "mine.pth (1 MB)")),
)
CONTROLS = list_controls(build_groups(OFFERS))
FULL: dict[str, Any] = {
    "name": "two digits",
    "dataset": "digits",
    "tasks": ["left", "right"],
    "backbone": "tiny4",
    "budgets": ["60%", 280000],
    "seeds": [0, 7],
    "preset": "smoke",
    "objective": "paper",
    "input_size": [24, 24],
    "retrain": False,
    "weights": "mine.pth",
    "labels": {"team": "vision", "why": "a = b"},
    "priority": -3,
    "deadline_seconds": 90.5,
    "max_attempts": 2,
    "resources": {"cpus": 0.5, "gpus": 1.0},
}


def test_every_field_of_the_schema_has_a_control() -> None:
    """What the API takes, the form offers, each with a label; also what the API may gain."""
    schema = SearchBody.model_json_schema()
    assert {control.name.partition(".")[0] for control in CONTROLS} == set(schema["properties"])
    assert all(control.label for control in CONTROLS)
    schema["properties"]["new_thing"] = {"type": "integer", "minimum": 1, "maximum": 9, "description": "A new one."}
    new = next(control for control in list_controls(build_groups(OFFERS, schema)) if control.name == "new_thing")
    assert (new.label, new.hint, new.kind) == ("New thing", "A new one. From 1 to 9.", "number")


def test_a_body_comes_back_as_it_was_filled_in() -> None:
    """Retry with changes begins with exactly what was asked."""
    assert read_body(fill_in(FULL, CONTROLS, OFFERS), CONTROLS) == (FULL, [])


def test_the_empty_form_is_a_search_that_may_be_submitted() -> None:
    """Defaults are left out but for what says what the search is."""
    body, errors = read_body(fill_in({}, CONTROLS, OFFERS), CONTROLS)
    assert errors == []
    assert list(body) == ["dataset", "tasks", "backbone", "budgets", "seeds", "preset"]
    assert SearchBody.model_validate(body).budgets == ["60%"]


@given(st.lists(st.integers(1, 10**18), min_size=1, max_size=5), st.integers(-100, 100), st.booleans())
def test_any_sound_body_survives_the_form(budgets: list[int], priority: int, retrain: bool) -> None:
    """Through the controls and back, the API reads the same search."""
    body = {**FULL, "budgets": [madds % 10**17 + 1 for madds in budgets], "priority": priority, "retrain": retrain}
    read, _ = read_body(fill_in(body, CONTROLS, OFFERS), CONTROLS)
    assert SearchBody.model_validate(read) == SearchBody.model_validate(body)


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("budgets", "60%;  9.1G,1200000\n", ["60%", "9.1G", 1200000]),
        ("budgets", " ", []),
        ("seeds", "0 1 x", [0, 1, "x"]),
        ("input_size", "128 x 96", [128, 96]),
        ("priority", "1e9", "1e9"),
        ("deadline_seconds", "nan", "nan"),
        ("max_attempts", "5", 5),
        ("max_attempts", "2.5", 2.5),
    ],
)
def test_what_is_typed_is_read_as_a_person_means_it(name: str, typed: str, value: Any) -> None:
    """What is no number stays text, for the API to refuse."""
    values = fill_in(FULL, CONTROLS, OFFERS) | {name: [typed]}
    assert read_body(values, CONTROLS)[0][name] == value


def test_a_label_without_a_sign_is_a_fault_of_its_field() -> None:
    """No body can say it, so the form does."""
    values = fill_in(FULL, CONTROLS, OFFERS) | {"labels": ["team=vision\noops"]}
    body, errors = read_body(values, CONTROLS)
    assert [error.pointer for error in errors] == ["/labels"]
    assert body["labels"] == {"team": "vision"}


def test_faults_find_their_fields() -> None:
    """By pointer; of a list it is said which value is meant, and what belongs nowhere is not lost."""
    errors = [
        FieldError(pointer="/budgets/1", code="infeasible_budget", message="Too small."),
        FieldError(pointer="/resources", code="unschedulable", message="Too large."),
        FieldError(pointer="/tasks", code="too_short", message="List should have."),
        FieldError(pointer="", code="invalid_request", message="Nothing fits."),
    ]
    placed, others = assign_errors(errors, CONTROLS, FULL)
    assert placed == {
        "budgets": ["280000: Too small."],
        "resources.cpus": ["Too large."],
        "tasks": ["A branching needs at least two tasks. Choose another one."],
    }
    assert others == ["Nothing fits."]


def test_what_is_offered_may_be_chosen() -> None:
    """Datasets, backbones and weights are those of the server at this moment; the tasks are those of each dataset."""
    choices = {control.name: [value for value, _ in control.choices] for control in CONTROLS}
    assert (choices["dataset"], choices["backbone"]) == (["digits", "robot"], ["tiny4", "wild_net"])
    assert choices["weights"] == ["none", "mine.pth"]
    values = fill_in({"dataset": "robot", "tasks": ["depth", "semseg"]}, CONTROLS, OFFERS)
    assert (values["tasks.robot"], len(values["tasks.digits"])) == (["semseg", "depth"], 4)
    assert read_body(values, CONTROLS)[0]["tasks"] == ["semseg", "depth"]
