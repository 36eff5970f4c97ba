"""Whether budgets can be kept at all, judged before any work is done.

The cheapest tree shares every layer, the dearest shares the stem alone; a budget below the one is refused, a budget
above the other says nothing. Pure arithmetic, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from search.errors import BudgetError
from search.spec import resolve_budget


def check_budgets(budgets: Sequence[str], *, shared_madds: int, split_madds: int, single_madds: int) -> tuple[str, ...]:
    """Return a sentence for every budget that does not bind.

    Args:
        budgets: In canonical form, see `search.spec.parse_budget`.
        shared_madds: Cost of the cheapest tree.
        split_madds: Cost of the dearest tree.
        single_madds: Cost of the separate networks, what a percentage is of.

    Raises:
        BudgetError: A budget is below the cheapest tree; the message names the lowest that is not.
    """
    notes = []
    for budget in budgets:
        madds = resolve_budget(budget, single_madds)
        asked = f"{budget} ({madds} MAdds)" if budget.endswith("%") else f"{budget} MAdds"
        if madds < shared_madds:
            share = lowest_percentage(shared_madds, single_madds)
            raise BudgetError(
                f"A budget must allow at least the fully shared network, the cheapest tree there is, got {asked}. "
                f"The lowest feasible budget is {shared_madds} MAdds or {share}."
            )
        if madds >= split_madds:
            notes.append(
                f"The budget {asked} does not bind: the dearest tree costs {split_madds} MAdds and "
                f"{single_madds} are the total of the single-task networks. The search goes on without a limit."
            )
    return tuple(notes)


def lowest_percentage(shared_madds: int, single_madds: int) -> str:
    """Return the lowest percentage budget of two decimals that allows the cheapest tree, such as "25.01%"."""
    hundredths = ceil(10_000 * shared_madds / single_madds)
    while resolve_budget(f"{hundredths / 100:g}%", single_madds) < shared_madds:
        hundredths += 1
    return f"{hundredths / 100:g}%"
