"""The scale of budgets: in words and as a drawing, whatever is chosen."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from service.pages.budget_scale_drawing import (
    BudgetRange,
    ChosenBudget,
    budget_scale_svg,
    describe_budget,
    describe_range,
    stack_labels,
)

COSTS = BudgetRange(shared_madds=155_600, split_madds=280_000, single_madds=300_000)


def _marks(svg: str) -> list[ElementTree.Element]:
    return [element for element in ElementTree.fromstring(svg).iter() if element.get("class") == "budget"]


def test_a_budget_says_what_is_to_be_said_of_it() -> None:
    """A share gets its MAdds; one that cannot be kept and one that does not bind are named so."""
    assert describe_budget(ChosenBudget("60%", 180_000), COSTS) == "60% = 0.180 M"
    assert describe_budget(ChosenBudget("100000", 100_000), COSTS) == "0.100 M, too small"
    assert describe_budget(ChosenBudget("99%", 297_000), COSTS) == "99% = 0.297 M, does not bind"


def test_the_words_tell_the_whole_drawing() -> None:
    """Who does not see the scale hears its ends and the chosen budgets."""
    words = describe_range(COSTS, [ChosenBudget("60%", 180_000)])
    assert "0.156 M MAdds (51.9 %" in words
    assert "0.280 M MAdds (93.3 %)" in words
    assert words.endswith("Chosen: 60% = 0.180 M.")


def test_infeasible_budgets_look_different() -> None:
    """A cross instead of a dot, so that colour is not needed."""
    svg = budget_scale_svg(COSTS, [ChosenBudget("60%", 180_000), ChosenBudget("5", 5)], standalone=True)
    tags = [[child.tag.rpartition("}")[2] for child in mark] for mark in _marks(svg)]
    assert tags == [["title", "line", "circle", "text"], ["title", "line", "path", "text"]]


@given(st.lists(st.integers(min_value=1, max_value=10**18), max_size=16))
def test_any_budgets_can_be_drawn_inside(amounts: list[int]) -> None:
    """Sixteen budgets, far off or on one spot: every mark lies in the drawing."""
    root = ElementTree.fromstring(budget_scale_svg(COSTS, [ChosenBudget(str(madds), madds) for madds in amounts]))
    assert len(_marks(ElementTree.tostring(root).decode())) == len(amounts)
    xs = [float(element.get(name, "0")) for element in root.iter() for name in ("x", "x1", "x2", "cx")]
    assert all(0 <= x <= 640 for x in xs)


def test_labels_that_would_meet_stand_in_rows() -> None:
    """Two at one place get two rows, a third far off the first."""
    assert stack_labels([(300, "a label"), (302, "a label"), (600, "far")]) == [0, 1, 0]


def test_one_network_that_is_all_there_is_can_be_drawn() -> None:
    """All ends on one spot are no division by zero."""
    flat = BudgetRange(10, 10, 10)
    assert budget_scale_svg(flat, [ChosenBudget("10", 10)]).startswith("<svg")
