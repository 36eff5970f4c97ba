"""The dynamic programme over (layer, grouping) that finds the most probable tree within a band of costs.

Scores are whole numbers held in float64, costs are whole numbers, so that sums are exact and ties are ties.
Pure NumPy and SciPy; `search.method.discretise` turns logits into scores and chains into trees.
Shapes: L layers, T tasks, K ops, G groupings, P refinement pairs, C distinct (group, its parts), N labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.method.lattice import IntArray, Lattice

FloatArray = NDArray[np.float64]
NUM_BISECTIONS = 30
ROUNDING = 1024.0  # units of score; bounds carry products with a real multiplier, so they may be off by some units


@dataclass(frozen=True)
class Chain:
    """One tree: its groupings by index in the lattice, shape (L,), and its score in whole units."""

    groupings_L: IntArray
    score: float


@dataclass(frozen=True)
class TreeProgramme:
    """Trees over the groupings of one lattice, with what each step from a grouping to a finer one scores and costs.

    Attributes:
        lattice: The groupings; the first is the fully shared one.
        score_LP: Log-probability, in whole units, of the best picks that take a layer from `coarse` to `fine`; -inf
            where a layer has too few ops.
        cost_LG: MAdds of a layer in each grouping.
        starts_G: First pair of each coarse grouping.
    """

    lattice: Lattice
    score_LP: FloatArray
    cost_LG: IntArray
    starts_G: IntArray

    @classmethod
    def build(cls, lattice: Lattice, log_probs_LTK: FloatArray, layer_madds: IntArray) -> TreeProgramme:
        """Return the programme of these log-probabilities (whole units) and costs per copy of a layer."""
        starts_G = np.searchsorted(lattice.coarse_P, np.arange(len(lattice.labels_GT)))
        cost_LG = layer_madds[:, None] * lattice.num_groups_G
        return cls(lattice, _score_pairs(lattice, log_probs_LTK), cost_LG, starts_G)

    def find_chain(self, budget: int, floor: int, max_labels: int | None = None) -> Chain | None:
        """Return the best-scoring chain that costs from `floor` to `budget`; None if none does.

        Of equal scores the cheaper chain wins, then the one that ends in the earlier grouping of the lattice, then the
        one that came through the cheaper and earlier groupings.

        Args:
            budget: Most MAdds.
            floor: Fewest MAdds.
            max_labels: Partial chains to keep per layer, the most promising first; None keeps every chain that can
                still be the best, so that the answer is exact.
        """
        rest = _Rest(-self._potentials(1.0, scored=False), self._potentials(-1.0, scored=False))
        if rest.most_LG[0, 0] < floor or rest.least_LG[0, 0] > budget:
            return None
        bounds, reached = self._bound(budget, floor)
        if max_labels is None:  # a quick narrow search first: a good chain in hand rules most others out
            quick = self._search(rest, bounds, reached, budget, floor, 256)
            reached = quick.score if quick else reached
        return self._search(rest, bounds, reached, budget, floor, max_labels)

    def _potentials(self, price: float, *, scored: bool = True) -> FloatArray:
        """Return the best score minus price times cost of all layers from l on, shape (L + 1, G).

        Without scores, price 1 gives minus the least cost, price -1 the most.
        """
        num_layers = len(self.score_LP)
        best_LG = np.zeros((num_layers + 1, len(self.starts_G)))
        for layer in range(num_layers - 1, -1, -1):
            gain_G = best_LG[layer + 1] - price * self.cost_LG[layer]
            step_P = self.score_LP[layer] if scored else np.where(np.isfinite(self.score_LP[layer]), 0.0, -np.inf)
            best_LG[layer] = np.maximum.reduceat(step_P + gain_G[self.lattice.fine_P], self.starts_G)
        return best_LG

    def _follow(self, price: float, best_LG: FloatArray) -> tuple[int, float]:
        """Return cost and score of the chain that is best at this price."""
        state, cost, score = 0, 0, 0.0
        ends_G = np.append(self.starts_G[1:], len(self.lattice.fine_P))
        for layer in range(len(self.score_LP)):
            pairs = np.arange(self.starts_G[state], ends_G[state])
            fine = self.lattice.fine_P[pairs]
            step = self.score_LP[layer, pairs]
            best = int(np.argmax(step + best_LG[layer + 1, fine] - price * self.cost_LG[layer, fine]))
            state = int(fine[best])
            cost += int(self.cost_LG[layer, state])
            score += float(step[best])
        return cost, score

    def _bound(self, budget: int, floor: int) -> tuple[list[_Bound], float]:
        """Return Lagrangian bounds, the tightest that bisection over the price finds, and the best score met so far.

        A chain of cost c <= budget scores at most best(score - price * cost) + price * budget for every price >= 0; for
        a floor the price is negative.
        """
        reached = -np.inf

        def visit(price: float) -> tuple[FloatArray, int]:
            """Return the potentials at a price and the cost of their best chain, and note its score if it fits."""
            nonlocal reached
            best_LG = self._potentials(price)
            cost, score = self._follow(price, best_LG)
            if floor <= cost <= budget:
                reached = max(reached, score)
            return best_LG, cost

        free_LG, cost = visit(0.0)
        bounds = [_Bound(0.0, 0, free_LG)]
        if floor <= cost <= budget:
            return bounds, reached
        sign, target = (1.0, budget) if cost > budget else (-1.0, floor)
        low, high = 0.0, max(1.0, -float(free_LG[0, 0])) / max(1, abs(cost - target))
        for _ in range(NUM_BISECTIONS):  # raise the price until the chain moves to the other side of the target
            high_LG, cost = visit(sign * high)
            if sign * (cost - target) <= 0:
                break
            low, high = high, 4 * high
        low_LG = free_LG
        for _ in range(NUM_BISECTIONS):
            middle = (low + high) / 2
            best_LG, cost = visit(sign * middle)
            if sign * (cost - target) > 0:
                low, low_LG = middle, best_LG
            else:
                high, high_LG = middle, best_LG
        return [*bounds, _Bound(sign * low, target, low_LG), _Bound(sign * high, target, high_LG)], reached

    def _expand(self, state_N: IntArray) -> tuple[IntArray, IntArray]:
        """Return, for every step that a label can take, the label and the pair of groupings."""
        degree_N = np.diff(np.append(self.starts_G, len(self.lattice.fine_P)))[state_N]
        parent_X = np.repeat(np.arange(len(state_N)), degree_N)
        step_X = np.arange(len(parent_X)) - np.repeat(np.cumsum(degree_N) - degree_N, degree_N)
        return parent_X, self.starts_G[state_N][parent_X] + step_X

    def _search(
        self, rest: _Rest, bounds: list[_Bound], reached: float, budget: int, floor: int, max_labels: int | None
    ) -> Chain | None:
        """Return the best chain by labels (grouping, cost, score), dropping those that cannot win."""
        state_N, cost_N, score_N = np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1)
        history: list[tuple[IntArray, IntArray]] = []
        for layer in range(len(self.score_LP)):
            parent_N, pair_N = self._expand(state_N)
            state_N = self.lattice.fine_P[pair_N]
            cost_N = cost_N[parent_N] + self.cost_LG[layer, state_N]
            score_N = score_N[parent_N] + self.score_LP[layer, pair_N]
            least_N = cost_N + rest.least_LG[layer + 1, state_N]
            most_N = cost_N + rest.most_LG[layer + 1, state_N]
            hope_N = np.min([bound.of(layer + 1, state_N, cost_N, score_N) for bound in bounds], axis=0)
            fits_N = np.isfinite(score_N) & (least_N <= budget) & (most_N >= floor) & (hope_N >= reached - ROUNDING)
            kept = np.flatnonzero(fits_N)
            kept = kept[_undominated(state_N[kept], cost_N[kept], score_N[kept], least_N[kept] >= floor)]
            if max_labels is not None and len(kept) > max_labels:
                promising = np.argsort(-hope_N[kept], kind="stable")[:max_labels]
                kept = kept[np.sort(promising)]
            state_N, cost_N, score_N = state_N[kept], cost_N[kept], score_N[kept]
            history.append((state_N, parent_N[kept]))
        if not len(state_N):
            return None
        best = int(np.lexsort((state_N, cost_N, -score_N))[0])
        return Chain(_trace(history, best), float(score_N[best]))


def _trace(history: list[tuple[IntArray, IntArray]], last: int) -> IntArray:
    """Return the groupings, shape (L,), that led to a label of the last layer; history holds groupings and parents."""
    chain_L = np.zeros(len(history), dtype=np.int64)
    for layer in range(len(history) - 1, -1, -1):
        states_N, parents_N = history[layer]
        chain_L[layer] = states_N[last]
        last = int(parents_N[last])
    return chain_L


@dataclass(frozen=True)
class _Rest:
    """Least and most cost of the layers from l on, given the grouping of the layer before, both (L + 1, G)."""

    least_LG: FloatArray
    most_LG: FloatArray


@dataclass(frozen=True)
class _Bound:
    """One price per unit of cost, the cost to aim at, and the best score minus price times cost from layer l on."""

    price: float
    target: int
    best_LG: FloatArray

    def of(self, layer: int, state_N: IntArray, cost_N: IntArray, score_N: FloatArray) -> FloatArray:
        """Return what the chains of these labels can score at most."""
        bound_N: FloatArray = score_N + self.best_LG[layer, state_N] + self.price * (self.target - cost_N)
        return bound_N


def _undominated(state_N: IntArray, cost_N: IntArray, score_N: FloatArray, free_N: NDArray[np.bool_]) -> IntArray:
    """Return the labels to keep, sorted by grouping and cost: no label of the same grouping is cheaper and as probable.

    A label that may still end below the floor (not `free_N`) rules out only labels of its own cost.
    """
    order = np.lexsort((-score_N, cost_N, state_N))
    state, cost, free = state_N[order], cost_N[order], free_N[order]
    rank = np.unique(score_N[order], return_inverse=True)[1].reshape(-1)
    base = state * (len(order) + 1)  # above all ranks of the groupings before it
    best_before = np.maximum.accumulate(np.where(free, base + rank + 1, base))
    keep = np.ones(len(order), dtype=np.bool_)
    repeated = (state[1:] == state[:-1]) & (cost[1:] == cost[:-1])
    keep[1:] = ~repeated & (best_before[:-1] < (base + rank + 1)[1:])
    return np.asarray(order[keep], dtype=np.int64)


def _score_pairs(lattice: Lattice, log_probs_LTK: FloatArray) -> FloatArray:
    """Return the score of every layer and pair: the groups of `coarse` choose independently, so their scores add."""
    num_layers, num_tasks, _ = log_probs_LTK.shape
    coarse_PT = lattice.labels_GT[lattice.coarse_P]
    first_GT = (lattice.labels_GT[:, :, None] == lattice.labels_GT[:, None, :]).argmax(axis=2)
    fine_PT = first_GT[lattice.fine_P]
    # A group and its parts as one number: digit t in mixed radix is 1 + the first task of t's part, 0 outside.
    radix_T = np.cumprod([1, *range(2, num_tasks + 1)])
    code_PT = np.zeros_like(coarse_PT)
    rows = np.arange(len(coarse_PT))
    for task in range(num_tasks):
        code_PT[rows, coarse_PT[:, task]] += (fine_PT[:, task] + 1) * radix_T[task]
    code_C, index_X = np.unique(code_PT, return_inverse=True)
    index_PT = index_X.reshape(code_PT.shape)
    digit_CT = code_C[:, None] // radix_T % np.arange(2, num_tasks + 2)
    score_LC = _score_groups(digit_CT, log_probs_LTK)
    score_LP = np.zeros((num_layers, len(coarse_PT)))
    for group in range(num_tasks):
        score_LP += score_LC[:, index_PT[:, group]]
    return score_LP


def _score_groups(digit_CT: IntArray, log_probs_LTK: FloatArray) -> FloatArray:
    """Return the best log-probability with which each group's parts pick distinct ops, shape (L, C).

    `digit_CT` names a task's part by its first task plus 1, and 0 for tasks outside; a row of zeros scores 0.
    """
    num_layers, num_tasks, num_ops = log_probs_LTK.shape
    is_part_CT = digit_CT == np.arange(1, num_tasks + 1)
    num_parts_C = is_part_CT.sum(axis=1)
    score_LC = np.zeros((num_layers, len(digit_CT)))
    for num_parts in range(1, num_tasks + 1):
        chosen = np.flatnonzero(num_parts_C == num_parts)
        if num_parts > num_ops:
            score_LC[:, chosen] = -np.inf
        elif len(chosen):
            part_CI = np.nonzero(is_part_CT[chosen])[1].reshape(len(chosen), num_parts) + 1
            member_CIT = (digit_CT[chosen][:, None, :] == part_CI[:, :, None]).astype(np.float64)
            score_LC[:, chosen] = _assign(np.einsum("cit,ltk->lcik", member_CIT, log_probs_LTK, optimize=True))
    return score_LC


def _assign(gain_LCIK: FloatArray) -> FloatArray:
    """Return the maximum-weight assignment of parts I to distinct ops K, shape (L, C)."""
    score_LC: FloatArray = gain_LCIK.max(axis=-1).sum(axis=-1)
    favourite_LCI = np.sort(gain_LCIK.argmax(axis=-1), axis=-1)
    # Where all parts favour different ops, that is the assignment.
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - a third of a second, needed when a search ends

    clash_LC = (favourite_LCI[..., 1:] == favourite_LCI[..., :-1]).any(axis=-1)
    for layer, row in np.argwhere(clash_LC):
        gain_IK = gain_LCIK[layer, row]
        score_LC[layer, row] = gain_IK[linear_sum_assignment(gain_IK, maximize=True)].sum()
    return score_LC
