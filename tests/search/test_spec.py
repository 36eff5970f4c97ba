"""JobSpec: words in canonical form, one hash per job whatever the order of its keys, nothing unknown let through."""

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from search.errors import BudgetError, InputSizeError
from search.presets import build_spec
from search.spec import JobSpec, budget_name, parse_budget, parse_size, resolve_budget

NUMBERS = st.one_of(
    st.integers(1, 10**12).map(str),
    st.decimals(min_value="0.001", max_value="999999", places=3).map(lambda number: f"{number:f}"),
)


def example(**words: Any) -> JobSpec:
    """Return the job of a few words."""
    chosen: dict[str, Any] = {"dataset": "digits", "tasks": ["left", "right"], "backbone": "tiny4", "budgets": ["60%"]}
    return build_spec(**(chosen | words))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("9.1G", "9100000000"),
        ("550M", "550000000"),
        ("1.5K", "1500"),
        (" 1200000 ", "1200000"),
        (1200000, "1200000"),
        ("60%", "60%"),
        ("060.50%", "60.5%"),
        ("1000000%", "1000000%"),
        ("0.00001%", "0.00001%"),
        ("123456789012345678", "123456789012345678"),
    ],
)
def test_budgets_have_one_canonical_form(text: str | int, canonical: str) -> None:
    """Units are multiplied out exactly, and percentages lose needless zeros."""
    assert parse_budget(text) == canonical


@given(number=NUMBERS, unit=st.sampled_from(["K", "M", "G", "%"]))
def test_a_canonical_budget_is_read_as_itself(number: str, unit: str) -> None:
    """Reading a canonical budget again changes nothing, so a spec survives its own JSON."""
    canonical = parse_budget(number + ("" if Fraction(number) > 10**6 else unit))
    assert parse_budget(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("", "sixty", "60 %", "60%%", "-1G", "1e9", "9,1G", "9.1g", "1.G", ".5G", "NaN", "inf", "٣G"),
        *("0", "0.0G", "0%", "0.4", "1000001%", "9" * 19, "1000000000G"),
    ],
)
def test_malformed_budgets_are_refused(text: str) -> None:
    """What is no budget gets a sentence with examples and with what was seen."""
    with pytest.raises(BudgetError, match=r"9\.1G, 550M or 1200000.*such as 60%, got '"):
        parse_budget(text)


@given(percent=st.integers(1, 100_000), single_madds=st.integers(1, 10**12))
def test_a_percentage_is_rounded_down_exactly(percent: int, single_madds: int) -> None:
    """The budget is the floor of the exact share; floats would lose a MAdd at 57 % of 100."""
    assert resolve_budget(parse_budget(f"{percent / 100:.2f}%"), single_madds) == percent * single_madds // 10_000


def test_an_absolute_budget_is_itself() -> None:
    """A number of MAdds does not depend on what single-task networks cost."""
    assert resolve_budget(parse_budget("9.1G"), 1) == 9_100_000_000


@given(height=st.integers(0, 99999), width=st.integers(0, 99999), cross=st.sampled_from("xX"))
def test_sizes_are_height_by_width(height: int, width: int, cross: str) -> None:
    """HxW is read in that order, and one number is a square."""
    assert parse_size(f" {height}{cross}{width} ") == (height, width)
    assert parse_size(str(height)) == (height, height)


@pytest.mark.parametrize("text", ["", "x", "128x", "x128", "128 x 128", "1x2x3", "-1x2", "12.5", "123456x1", "1٣"])
def test_malformed_sizes_are_refused(text: str) -> None:
    """What is no size gets a sentence with an example and with what was seen."""
    with pytest.raises(InputSizeError, match=r"HEIGHTxWIDTH in pixels such as 128x128, got '"):
        parse_size(text)


@given(
    order=st.permutations(["dataset", "tasks", "backbone", "budgets", "seed", "preset", "data", "search", "retrain"])
)
def test_the_order_of_keys_changes_no_hash(order: list[str]) -> None:
    """A spec read from JSON with its keys in any order is the same spec with the same hash."""
    spec = example()
    fields = json.loads(spec.canonical_json())
    shuffled = {key: fields[key] for key in [*order, *(set(fields) - set(order))]}
    again = JobSpec.model_validate_json(json.dumps(shuffled))
    assert again == spec
    assert again.spec_hash == spec.spec_hash


@pytest.mark.parametrize(
    "words",
    [
        {"seed": 1},
        {"budgets": ["61%"]},
        {"backbone": "tiny8"},
        {"preset": "smoke"},
        {"objective": "paper"},
        {"with_retrain": False},
        {"tasks": ["left", "left_group"]},
    ],
)
def test_every_word_changes_the_hash(words: dict[str, Any]) -> None:
    """Jobs that differ in any word have different hashes."""
    assert example(**words).spec_hash != example().spec_hash


def test_equal_budgets_count_once() -> None:
    """Budgets that mean the same are one budget, and their hash is that of one."""
    assert example(budgets=["60%", "60.0%"]).spec_hash == example().spec_hash


def test_a_spec_cannot_be_changed() -> None:
    """A spec is a value: nobody can set its fields."""
    with pytest.raises(ValidationError, match="frozen"):
        example().seed = 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("extra",), 1),
        (("search", "epoch"), 5),
        (("search", "epochs"), 0),
        (("search", "temperature_end"), 0.0),
        (("search", "arch_fraction"), 1.0),
        (("retrain", "batch_size"), 1),
        (("retrain", "weights", "learning_rate"), float("inf")),
        (("data", "num_train"), 1),
        (("seed",), -1),
        (("tasks",), ["left"]),
        (("budgets",), []),
        (("budgets",), ["sixty"]),
        (("objective",), "guess"),
    ],
)
def test_values_out_of_range_and_unknown_keys_are_refused(path: tuple[str, ...], value: object) -> None:
    """A spec checks itself on birth, at every depth."""
    fields = example().model_dump()
    place: Any = fields
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        JobSpec.model_validate(fields)


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        ("60%", "60pct"),
        ("62.5%", "62.5pct"),
        ("9.1G", "9.1G"),
        ("550M", "550M"),
        ("1200000", "1.2M"),
        ("1234567", "1234567"),
        ("999", "999"),
        ("1K", "1K"),
    ],
)
def test_candidates_are_named_by_their_budget(budget: str, name: str) -> None:
    """A budget's name is short, exact and fit for a folder."""
    assert budget_name(parse_budget(budget)) == name


@given(one=st.integers(1, 10**12), other=st.integers(1, 10**12))
@examples(max_examples=50)
def test_different_budgets_have_different_names(one: int, other: int) -> None:
    """Two budgets never share a folder."""
    assert (budget_name(str(one)) == budget_name(str(other))) == (one == other)
