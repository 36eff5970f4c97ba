"""A study at hand: candidates are named by their budgets."""

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from search.spec import parse_budget
from search.study import budget_name


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
