"""Branching: which tasks share which encoder layer, as a chain of ever finer set partitions.

Each layer splits the tasks into groups; a group is one copy of that layer's block. Tasks that part never meet again, so
every chain is a tree. The search chooses a chain, `models.branched` builds it. Pure: no torch, no I/O.
Source: Bruggemann et al., BMVC 2020, Sec. 3.1 (search space). Shapes: L layers, T tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import comb
from operator import index as as_index

from models.errors import BranchingError

Group = tuple[str, ...]
Grouping = tuple[Group, ...]


@dataclass(frozen=True)
class Branching:
    """One tree over tasks: for every encoder layer, the groups of tasks that share its block.

    Groups stand in the order of their first task in `tasks`. Two branchings are equal when they group alike, whatever
    the order in which their tasks were named.

    Args:
        tasks: T distinct task names, at least one.
        groups: L groupings of `tasks`, each refining the one before it.

    Raises:
        BranchingError: A layer is no partition of the tasks, or joins tasks that an earlier layer parted.
    """

    tasks: tuple[str, ...] = field(compare=False)
    groups: tuple[Grouping, ...] = field(compare=False)
    _identity: tuple[frozenset[frozenset[str]], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        _check_tasks(self.tasks)
        if not self.groups:
            raise BranchingError("A branching needs at least one layer, got none.")
        previous: Grouping = (self.tasks,)
        canonical = []
        for index, layer in enumerate(self.groups):
            grouping = _canonical(layer, self.tasks)
            _check_partition(grouping, self.tasks, index)
            _check_refines(grouping, previous, index)
            canonical.append(grouping)
            previous = grouping
        object.__setattr__(self, "groups", tuple(canonical))
        identity = tuple(frozenset(frozenset(group) for group in layer) for layer in canonical)
        object.__setattr__(self, "_identity", identity)

    @classmethod
    def shared(cls, tasks: Sequence[str], num_layers: int) -> Branching:
        """Return the branching in which all tasks share every layer."""
        return cls(tuple(tasks), ((tuple(tasks),),) * num_layers)

    @classmethod
    def split(cls, tasks: Sequence[str], num_layers: int) -> Branching:
        """Return the branching in which every task has its own copy of every layer."""
        return cls(tuple(tasks), (tuple((task,) for task in tasks),) * num_layers)

    @classmethod
    def from_routing(cls, tasks: Sequence[str], routing_LT: Sequence[Sequence[int]]) -> Branching:
        """Return the tree that a routing builds: tasks share layer l when their picks coincide in all layers 1..l.

        Args:
            tasks: T task names.
            routing_LT: For every layer, the index of the op that each task picks.

        Raises:
            BranchingError: A row of the routing has not T entries, or an entry is no op index.
        """
        layers = []
        prefixes: tuple[tuple[int, ...], ...] = ((),) * len(tasks)
        for index, row in enumerate(routing_LT):
            if len(row) != len(tasks):
                raise BranchingError(
                    f"Layer {index} of the routing must name one op for each of {len(tasks)} tasks, got {len(row)}."
                )
            prefixes = tuple((*prefix, _op_index(op, index)) for prefix, op in zip(prefixes, row, strict=True))
            members: dict[tuple[int, ...], list[str]] = {}
            for task, prefix in zip(tasks, prefixes, strict=True):
                members.setdefault(prefix, []).append(task)
            layers.append(tuple(tuple(group) for group in members.values()))
        return cls(tuple(tasks), tuple(layers))

    @property
    def num_layers(self) -> int:
        """Return L, the number of encoder layers."""
        return len(self.groups)

    @property
    def num_branches(self) -> tuple[int, ...]:
        """Return how many copies of its block each layer holds, shape (L,); it never falls with depth."""
        return tuple(len(layer) for layer in self.groups)

    @property
    def routing_LT(self) -> tuple[tuple[int, ...], ...]:
        """Return a routing that builds this tree: per layer and task, the index of the task's group."""
        return tuple(
            tuple(next(i for i, group in enumerate(layer) if task in group) for task in self.tasks)
            for layer in self.groups
        )

    def restricted_to(self, tasks: Sequence[str]) -> Branching:
        """Return the part of the tree that `tasks` need, in the order they are named here."""
        unknown = [task for task in tasks if task not in self.tasks]
        if unknown:
            raise BranchingError(f"Tasks {unknown} are not in this branching; it holds {list(self.tasks)}.")
        kept = tuple(
            tuple(rest for group in layer if (rest := tuple(task for task in group if task in tasks)))
            for layer in self.groups
        )
        return Branching(tuple(tasks), kept)

    def refines(self, other: Branching) -> bool:
        """Return whether every layer of this tree is as fine as, or finer than, the same layer of `other`.

        Trees over other tasks, or of another depth, do not compare: neither refines the other.
        """
        comparable = set(self.tasks) == set(other.tasks) and self.num_layers == other.num_layers
        return comparable and all(
            all(any(group <= wider for wider in coarse) for group in fine)
            for fine, coarse in zip(self._identity, other._identity, strict=True)
        )

    def to_json(self) -> dict[str, list[str] | list[list[list[str]]]]:
        """Return the tree as JSON values: `tasks` and, per layer, `groups`."""
        return {"tasks": list(self.tasks), "groups": [[list(group) for group in layer] for layer in self.groups]}

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Branching:
        """Return the tree that `to_json` wrote.

        Raises:
            BranchingError: The document is not of that form, or not a tree.
        """
        if not isinstance(document, Mapping):
            raise BranchingError(f"A branching must be a JSON object, got {type(document).__name__}.")
        tasks, groups = document.get("tasks"), document.get("groups")
        if not isinstance(tasks, list) or not isinstance(groups, list):
            raise BranchingError(
                f"A branching needs the lists 'tasks' and 'groups', got the keys {[str(key) for key in document]} "
                f"with {type(tasks).__name__} and {type(groups).__name__}."
            )
        layers = tuple(tuple(_names(group, "a group") for group in _list(layer, "a layer")) for layer in groups)
        return cls(_names(tasks, "'tasks'"), layers)


def count_branchings(num_tasks: int, num_layers: int) -> int:
    """Return how many distinct trees there are: refining chains of length L in the lattice of set partitions.

    The blocks of a partition refine independently, so the number of chains below one block of n tasks is an exponential
    self-composition: f_l(n) = sum over partitions of n of prod f_{l-1}(block size), f_0 = 1.

    Raises:
        BranchingError: Fewer than one task or layer.
    """
    if num_tasks < 1 or num_layers < 1:
        raise BranchingError(f"A branching needs at least 1 task and 1 layer, got {num_tasks} and {num_layers}.")

    @cache
    def chains(size: int, layers: int) -> int:
        """Return the number of chains of this many layers below one group of `size` tasks."""
        if size == 0 or layers == 0:
            return 1
        # The group that holds the first task takes `rest` of the other size - 1 tasks along.
        return sum(
            comb(size - 1, rest) * chains(rest + 1, layers - 1) * chains(size - 1 - rest, layers)
            for rest in range(size)
        )

    for layers in range(num_layers):  # fills the table bottom-up, so that deep chains do not recurse deeply
        for size in range(num_tasks + 1):
            chains(size, layers)
    return chains(num_tasks, num_layers)


def enumerate_partitions(items: Group) -> Iterator[Grouping]:
    """Yield every partition of `items` once, the one-group partition first; there are Bell(len(items)) of them."""
    if not items:
        yield ()
        return
    first, rest = items[0], items[1:]
    for chosen in range(1 << len(rest) if rest else 1):
        companions = tuple(item for bit, item in enumerate(rest) if not chosen >> bit & 1)
        others = tuple(item for bit, item in enumerate(rest) if chosen >> bit & 1)
        for tail in enumerate_partitions(others):
            yield ((first, *companions), *tail)


def enumerate_refinements(grouping: Grouping) -> Iterator[Grouping]:
    """Yield every grouping that refines `grouping`, itself first."""
    if not grouping:
        yield ()
        return
    for head in enumerate_partitions(grouping[0]):
        for tail in enumerate_refinements(grouping[1:]):
            yield (*head, *tail)


def enumerate_branchings(tasks: Sequence[str], num_layers: int) -> Iterator[Branching]:
    """Return an iterator over every tree over `tasks`, fully shared first; `count_branchings` tells how many.

    Raises:
        BranchingError: No task, a task named twice, or no layer.
    """
    _check_tasks(tuple(tasks))
    if num_layers < 1:
        raise BranchingError(f"A branching needs at least 1 layer, got {num_layers}.")
    return (Branching(tuple(tasks), chain) for chain in _enumerate_chains((tuple(tasks),), num_layers))


def _enumerate_chains(above: Grouping, num_layers: int) -> Iterator[tuple[Grouping, ...]]:
    """Yield every chain of L ever finer groupings below one."""
    if num_layers == 0:
        yield ()
        return
    for finer in enumerate_refinements(above):
        for rest in _enumerate_chains(finer, num_layers - 1):
            yield (finer, *rest)


def _op_index(op: object, layer: int) -> int:
    """Return an op as a plain whole number."""
    try:
        picked = as_index(op)  # type: ignore[arg-type]
    except TypeError:
        picked = -1
    if picked < 0:
        raise BranchingError(f"Layer {layer} of the routing must name ops by index, 0 or more, got {op!r}.")
    return picked


def _list(value: object, what: str) -> list[object]:
    """Return a JSON list; a text is none, though it can be read letter by letter."""
    if not isinstance(value, list):
        raise BranchingError(f"In a branching, {what} must be a list, got {value!r}.")
    return value


def _names(value: object, what: str) -> tuple[str, ...]:
    """Return a JSON list of task names."""
    names = _list(value, what)
    if not all(isinstance(name, str) for name in names):
        raise BranchingError(f"In a branching, {what} must hold task names as texts, got {names!r}.")
    return tuple(str(name) for name in names)


def _check_tasks(tasks: tuple[str, ...]) -> None:
    """Refuse an empty or repeating task list."""
    if not tasks:
        raise BranchingError("A branching needs at least one task, got none.")
    if len(set(tasks)) != len(tasks):
        raise BranchingError(f"Task names must be distinct, got {list(tasks)}. Name each task once.")


def _canonical(layer: Sequence[Sequence[str]], tasks: tuple[str, ...]) -> Grouping:
    """Return the grouping with tasks and groups in the order of `tasks`; unknown names stay last for the check."""
    order = {task: position for position, task in enumerate(tasks)}
    groups = (tuple(sorted(group, key=lambda task: order.get(task, len(order)))) for group in layer)
    return tuple(sorted(groups, key=lambda group: order.get(group[0], len(order)) if group else -1))


def _check_partition(grouping: Grouping, tasks: tuple[str, ...], index: int) -> None:
    """Refuse a layer that does not hold every task exactly once in non-empty groups."""
    held = [task for group in grouping for task in group]
    if sorted(held) != sorted(tasks) or not all(grouping):
        raise BranchingError(
            f"Layer {index} must hold each of the tasks {list(tasks)} exactly once, got the groups "
            f"{[list(group) for group in grouping]}."
        )


def _check_refines(grouping: Grouping, previous: Grouping, index: int) -> None:
    """Refuse a layer that joins tasks which the layer before it had parted."""
    for group in grouping:
        if not any(set(group) <= set(wider) for wider in previous):
            raise BranchingError(
                f"Layer {index} joins the tasks {list(group)}, which an earlier layer parted. "
                "Tasks that part must stay apart in all later layers."
            )
