"""A branched network in words: who shares which layers, as one paragraph and as a nested list with figures. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.branching import Grouping
from search.architecture import Architecture
from search.results import StudyCosts
from service.pages.drawing import format_count
from service.pages.tree.layout import Branch, grow_branches, name_channels

_LEAST_PERCENT, _WHOLE_FROM_PERCENT, _ALL_PERCENT = 0.05, 9.95, 100


@dataclass(frozen=True)
class OutlineItem:
    """One line of the outline of a tree, with the lines below it."""

    text: str
    children: tuple[OutlineItem, ...] = field(default=())


def describe_tree(architecture: Architecture) -> str:
    """Return the tree in words: which tasks share which layers, from the image to the heads."""
    names = architecture.layer_names
    groupings = architecture.branching.groups
    sentences = []
    first = 0
    for last in range(len(groupings)):
        if last + 1 < len(groupings) and groupings[last + 1] == groupings[first]:
            continue
        sentences.append(f"{name_span(names, first, last)}: {describe_grouping(groupings[first])}.")
        first = last + 1
    return " ".join(sentences)


def describe_grouping(grouping: Grouping) -> str:
    """Return who shares with whom in one layer."""
    if len(grouping) == 1:
        return "all tasks together" if len(grouping[0]) > 1 else grouping[0][0]
    if all(len(group) == 1 for group in grouping):
        return "every task on its own"
    return "; ".join(" with ".join(group) if len(group) > 1 else f"{group[0]} alone" for group in grouping)


def name_span(names: tuple[str, ...], first: int, last: int) -> str:
    """Return the name of a layer, or of the first and the last of several."""
    return names[first] if first == last else f"{names[first]} to {names[last]}"


def outline_tree(architecture: Architecture, costs: StudyCosts | None = None) -> OutlineItem:
    """Return a tree as a nested list: the stem, below it its branches down to the heads, with what each costs.

    Args:
        architecture: The tree.
        costs: What its layers cost; None leaves the figures out.
    """
    cost = "" if costs is None else f", {_describe_cost(costs.stem_madds, None, architecture)}"
    branches = grow_branches(architecture.branching)
    return OutlineItem(f"stem{cost}", tuple(_outline_branch(branch, architecture, costs) for branch in branches))


def _outline_branch(branch: Branch, architecture: Architecture, costs: StudyCosts | None) -> OutlineItem:
    """Return a branch and what follows it."""
    who = "all tasks" if branch.tasks == architecture.tasks and len(branch.tasks) > 1 else " + ".join(branch.tasks)
    text = f"{name_span(architecture.layer_names, branch.first, branch.last)}: {who}"
    if costs is not None:
        madds = sum(costs.layer_madds[layer] for layer in branch.layers)
        params = sum(costs.layer_params[layer] for layer in branch.layers) if costs.layer_params else None
        text += f", {_describe_cost(madds, params, architecture)}"
    below = [_outline_branch(child, architecture, costs) for child in branch.children]
    if not below:
        below = [_outline_head(task, architecture, costs) for task in branch.tasks]
    return OutlineItem(text, tuple(below))


def _outline_head(task: str, architecture: Architecture, costs: StudyCosts | None) -> OutlineItem:
    """Return the head of a task."""
    head = architecture.heads[task]
    cost = ""
    if costs is not None and task in costs.decoder_madds:
        cost = f", {_describe_cost(costs.decoder_madds[task], None, architecture)}"
    return OutlineItem(f"head of {task}: {head.kind}, {name_channels(head.channels)}{cost}")


def _describe_cost(madds: int, params: int | None, architecture: Architecture) -> str:
    """Return what a part costs, as counts and as a share of the whole tree."""
    text = f"{format_count(madds)} MAdds, {format_share(madds, architecture.madds)} of the tree"
    return text if params is None else f"{text}; {format_count(params)} parameters"


def format_share(part: float, whole: float) -> str:
    """Return a part as percent of a whole, one digit for what is under ten percent."""
    percent = 100 * part / max(whole, 1)
    if 0 < percent < _LEAST_PERCENT:
        return "< 0.1 %"
    if percent < _WHOLE_FROM_PERCENT:
        return f"{percent:.1f} %"
    # What is not all is never rounded up to all.
    return f"{min(round(percent), 99) if percent < _ALL_PERCENT else round(percent)} %"
