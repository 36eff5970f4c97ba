"""The range of budgets that can be kept: from everything shared to one network per task, with the chosen ones on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.pages.drawing import colour, escape, estimate_text_width, format_count, frame, text

_WIDTH, _SIDE, _ROW = 640.0, 14.0, 17.0
_TRACK = 12.0
_SIZE = 12.0


@dataclass(frozen=True)
class BudgetRange:
    """Multiply-adds between which a tree can be chosen.

    Attributes:
        shared_madds: Of the network whose tasks share everything, the cheapest there is.
        split_madds: Of the dearest tree; a larger budget does not bind.
        single_madds: Of one network per task, what percentages count from.
    """

    shared_madds: int
    split_madds: int
    single_madds: int


@dataclass(frozen=True)
class ChosenBudget:
    """A budget as it was written, and its MAdds."""

    label: str
    madds: int


def budget_scale_svg(costs: BudgetRange, budgets: Sequence[ChosenBudget], *, standalone: bool = False) -> str:
    """Return the drawing of a range of budgets with the chosen ones marked above it."""
    low, high = _choose_span(costs, budgets)

    def place(madds: float) -> float:
        """Return where an amount lies, held at the ends of the drawing."""
        return _SIDE + (min(max(madds, low), high) - low) / (high - low) * (_WIDTH - 2 * _SIDE)

    pins = [(place(budget.madds), describe_budget(budget, costs)) for budget in budgets]
    ends = [
        (place(costs.shared_madds), f"all shared {format_count(costs.shared_madds, costs.single_madds)}"),
        (place(costs.split_madds), f"dearest tree {format_count(costs.split_madds, costs.single_madds)}"),
        (place(costs.single_madds), f"single-task {format_count(costs.single_madds)}"),
    ]
    rows, end_rows = stack_labels(pins), stack_labels(ends)
    track = 10 + _ROW * (max(rows, default=0) + 1) + 8
    body = _draw_track(track, place(costs.shared_madds), place(costs.split_madds))
    for budget, (x, words), row in zip(budgets, pins, rows, strict=True):
        body += _draw_pin(budget, costs, x, words, track, row)
    for (x, words), row in zip(ends, end_rows, strict=True):
        body += _draw_end(x, words, track + _TRACK, row)
    height = track + _TRACK + 12 + _ROW * (max(end_rows) + 1) + 4
    return frame(
        _WIDTH,
        height,
        body,
        title="Feasible budgets",
        description=describe_range(costs, budgets),
        kind="scale-drawing",
        standalone=standalone,
    )


def is_feasible(budget: ChosenBudget, costs: BudgetRange) -> bool:
    """Return whether a tree can keep a budget."""
    return budget.madds >= costs.shared_madds


def describe_budget(budget: ChosenBudget, costs: BudgetRange) -> str:
    """Return a budget with its MAdds and what is to be said of it, in a few words."""
    madds = format_count(budget.madds, max(costs.single_madds, budget.madds))
    words = f"{budget.label} = {madds}" if budget.label.endswith("%") else madds
    if not is_feasible(budget, costs):
        return f"{words}, too small"
    return f"{words}, does not bind" if budget.madds > costs.split_madds else words


def describe_range(costs: BudgetRange, budgets: Sequence[ChosenBudget]) -> str:
    """Return the whole drawing as sentences."""
    shares = [f"{100 * madds / costs.single_madds:.1f}" for madds in (costs.shared_madds, costs.split_madds)]
    sentences = [
        f"Trees cost from {format_count(costs.shared_madds)} MAdds ({shares[0]} % of the single-task total), all "
        f"shared, to {format_count(costs.split_madds)} MAdds ({shares[1]} %), nothing shared but the first layers.",
        f"One network per task costs {format_count(costs.single_madds)} MAdds.",
    ]
    return " ".join([*sentences, *(f"Chosen: {describe_budget(budget, costs)}." for budget in budgets)])


def stack_labels(labels: Sequence[tuple[float, str]]) -> list[int]:
    """Return a row per label, such that labels of a row do not meet; each is centred on its place, held inside."""
    taken: list[list[tuple[float, float]]] = []
    rows = []
    for x, words in labels:
        left, right = _label_span(x, words)
        row = next(
            (index for index, spans in enumerate(taken) if all(right + 8 < a or left - 8 > b for a, b in spans)),
            len(taken),
        )
        if row == len(taken):
            taken.append([])
        taken[row].append((left, right))
        rows.append(row)
    return rows


def _choose_span(costs: BudgetRange, budgets: Sequence[ChosenBudget]) -> tuple[float, float]:
    """Return the ends of the scale: all three networks, and budgets as far as they are not far off."""
    width = max(1.0, costs.single_madds - costs.shared_madds)
    known = [budget.madds for budget in budgets]
    low = min([costs.shared_madds - 0.12 * width, *(madds - 0.05 * width for madds in known)])
    high = max([costs.single_madds + 0.06 * width, *(madds + 0.05 * width for madds in known)])
    return max(0.0, costs.shared_madds - width, low), min(costs.single_madds + 0.5 * width, high)


def _label_span(x: float, words: str) -> tuple[float, float]:
    """Return from where to where a label reaches."""
    width = estimate_text_width(words, _SIZE)
    left = min(max(2.0, x - width / 2), max(2.0, _WIDTH - 2 - width))
    return left, left + width


def _draw_track(top: float, shared: float, split: float) -> str:
    """Return the scale: thin where no tree lies, thick where there are trees."""
    middle = top + _TRACK / 2
    return (
        f'<line x1="{_SIDE}" y1="{middle:.1f}" x2="{_WIDTH - _SIDE}" y2="{middle:.1f}" stroke="{colour("muted")}"/>'
        f'<rect class="feasible" x="{shared:.1f}" y="{top:.1f}" width="{max(2.0, split - shared):.1f}" '
        f'height="{_TRACK}" rx="3" fill="{colour("tint")}" stroke="{colour("accent")}"/>'
    )


def _draw_pin(budget: ChosenBudget, costs: BudgetRange, x: float, words: str, track: float, row: int) -> str:
    """Return the mark of a chosen budget; one that cannot be kept has a cross, so that colour is not needed."""
    paint = "accent" if is_feasible(budget, costs) else "bad"
    top, middle = track - 10 - _ROW * row, track + _TRACK / 2
    mark = f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="6" fill="{colour(paint)}"/>'
    if paint == "bad":
        mark = (
            f'<path d="M{x - 5:.1f} {middle - 5:.1f}l10 10m0 -10l-10 10" stroke="{colour(paint)}" stroke-width="2.5"/>'
        )
    left, _ = _label_span(x, words)
    halo = f'font-weight="600" paint-order="stroke" stroke="{colour("surface")}" stroke-width="4"'
    return (
        f'<g class="budget"><title>{escape(words)}</title>'
        f'<line x1="{x:.1f}" y1="{top + 2:.1f}" x2="{x:.1f}" y2="{middle:.1f}" stroke="{colour(paint)}"/>{mark}'
        f"{text(left, top - 2, words, size=_SIZE, fill='ink' if paint == 'accent' else 'bad', attributes=halo)}</g>"
    )


def _draw_end(x: float, words: str, bottom: float, row: int) -> str:
    """Return the mark of one of the networks that the range is made of."""
    left, _ = _label_span(x, words)
    y = bottom + 22 + _ROW * row
    return (
        f'<line x1="{x:.1f}" y1="{bottom - _TRACK:.1f}" x2="{x:.1f}" y2="{y - 12:.1f}" stroke="{colour("muted")}"/>'
        f"{text(left, y, words, size=_SIZE, fill='muted')}"
    )
