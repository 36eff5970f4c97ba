"""Choices in an address: read back as they were written, and nonsense is as if it were not said."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.dashboard.study.choices import COLOURINGS, COSTS, SPREADS, StudyChoices, read_limit

IDS = st.from_regex(r"arch_[0-9a-f]{20}", fullmatch=True)
CHOICES = st.builds(
    StudyChoices,
    x=st.sampled_from(list(COSTS)),
    y=st.text(min_size=1, max_size=20),
    search=st.text(max_size=20),
    feasible=st.booleans(),
    under=st.sampled_from(["", "9G", "550 M", "12.5", "310080"]),
    colour=st.sampled_from(list(COLOURINGS)),
    spread=st.sampled_from(list(SPREADS)),
    sort=st.sampled_from(["x", "-x", "name", "-task.left"]),
    page=st.integers(1, 9999),
    pins=st.lists(IDS, max_size=4, unique=True).map(tuple),
)


@given(CHOICES)
def test_choices_are_read_back_as_they_were_written(choices: StudyChoices) -> None:
    """The address holds all there is to know."""
    query = dict(parse_qsl(choices.query().removeprefix("?"), keep_blank_values=True))
    assert StudyChoices.read(query) == choices


def test_the_defaults_leave_the_address_as_it_is() -> None:
    """A study under its plain address shows MAdds against delta_m."""
    assert StudyChoices.read({}).query() == ""


@given(st.dictionaries(st.sampled_from(["x", "y", "under", "page", "pins", "colour", "sort"]), st.text(max_size=30)))
def test_nonsense_is_as_if_it_were_not_said(query: dict[str, str]) -> None:
    """Whatever stands in an address, choices come out of it that can be written and read again."""
    choices = StudyChoices.read(query)
    again = dict(parse_qsl(choices.query().removeprefix("?"), keep_blank_values=True))
    assert StudyChoices.read(again) == choices


@pytest.mark.parametrize(
    ("text", "limit"),
    [("9G", 9e9), ("9 g", 9e9), ("550M", 5.5e8), ("1.5k", 1500.0), ("12.5", 12.5), ("0", None), ("-1", None),
     ("1e9", None), ("", None), ("9T", None), ("9" * 16, None)],
)  # fmt: skip
def test_limits_are_read_as_people_write_them(text: str, limit: float | None) -> None:
    """A number with K, M or G; anything else is no limit."""
    assert read_limit(text) == limit


def test_pins_are_put_in_and_taken_out() -> None:
    """A network is pinned once, and let go by the same."""
    choices = StudyChoices(pins=("a",))
    assert choices.toggled_pins("b") == ("a", "b")
    assert choices.toggled_pins("a") == ()
