"""What a relaxed branching is expected to cost: branches per layer and MAdds, differentiable in the logits.

Three methods: `exact` (closed form over task subsets), `paper` (the published recursion), `sampled` (for many tasks).
Source: Bruggemann et al., BMVC 2020, Eq. 5-6; exact and sampled are this project's. Shapes: L layers, T tasks, K ops,
G groupings, P refinement pairs, N samples, A and B subsets of the first and the second half of the tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import factorial

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from search.errors import SettingError
from search.method.lattice import build_lattice
from search.spec import Objective

MAX_EXACT_TASKS = 16  # 2^T subsets per layer: 16 tasks and 18 layers are tables of 9 MB
MAX_PAPER_TASKS = 8  # Bell(8) = 4140 groupings, 168 thousand refinement pairs
DEFAULT_SAMPLES = 32
LOG_ZERO = -1e4  # stands for the logarithm of an op that is switched off; its exponential is exactly 0


def expected_branches(
    arch_logits_LTK: Tensor,
    objective: Objective = "exact",
    *,
    num_samples: int = DEFAULT_SAMPLES,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the expected number of branches of every layer when each task draws its op from its own softmax.

    `exact` is the expectation of the tree that is built (groups part for good when their picks differ); rounding stays
    below 1e-9 at 16 tasks. `paper` over-estimates it, because Eq. 6 counts every pick that is not itself finer than its
    ancestor as fully split. `sampled` has the exact value and gradient as its mean, at a cost of N T^2 L.

    Args:
        arch_logits_LTK: Architecture logits, any float dtype; K need not equal T.
        objective: Method.
        num_samples: Draws of the whole routing, read by `sampled` only.
        generator: Source of these draws, read by `sampled` only; None takes torch's own.

    Returns:
        Shape (L,), float64, between 1 and T, differentiable once.

    Raises:
        SettingError: Too many tasks for the method, no sample, or an unknown method.
    """
    num_tasks = arch_logits_LTK.shape[1]
    if objective == "sampled":
        if num_samples < 1:
            raise SettingError(f"num_samples must be at least 1, got {num_samples}. Draw at least one routing.")
        return _sampled_branches(arch_logits_LTK, num_samples, generator)
    if objective == "exact":
        _refuse_many_tasks(objective, num_tasks, MAX_EXACT_TASKS)
        return _exact_branches(arch_logits_LTK)
    if objective == "paper":
        _refuse_many_tasks(objective, num_tasks, MAX_PAPER_TASKS)
        return _paper_branches(torch.softmax(arch_logits_LTK, dim=-1, dtype=torch.float64))
    raise SettingError(f"The objective must be one of exact, paper and sampled, got {objective!r}.")


def _refuse_many_tasks(objective: str, num_tasks: int, most: int) -> None:
    """Refuse a method whose tables would not fit."""
    if num_tasks > most:
        raise SettingError(
            f"The objective '{objective}' takes at most {most} tasks, got {num_tasks}. Use the objective 'sampled'."
        )


def _exact_branches(arch_logits_LTK: Tensor) -> Tensor:
    """Return E[branches of l] = sum over task sets S of (-1)^(|S|+1) prod_{m<=l} sum_k prod_{t in S} P_m[t,k]."""
    branches_L: Tensor = _ExactBranches.apply(arch_logits_LTK)  # type: ignore[no-untyped-call]
    return branches_L


class _ExactBranches(torch.autograd.Function):
    """Inclusion-exclusion over the sets of tasks that follow one path, with an analytic gradient.

    A set S is a pair (A, B) of subsets of the first and the second half of the tasks, so that the probability that all
    of S pick the same op is a matrix product over ops of two tables of only 2^(T/2) rows. Nothing is divided by: an op
    with probability zero is ordinary. Few and large tensor calls, for at five tasks the calls are what takes the time.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, arch_logits_LTK: Tensor) -> Tensor:
        """Return the expected branches (L,) of logits (L, T, K)."""
        log_probs_LTK = torch.log_softmax(arch_logits_LTK, dim=-1, dtype=torch.float64).clamp_min_(LOG_ZERO)
        tables = _subset_tables(arch_logits_LTK.shape[1], log_probs_LTK.device)
        products_LCK = torch.matmul(tables.members_CT, log_probs_LTK).exp_()
        left_LAK, right_LBK = products_LCK[:, : tables.sizes[0]], products_LCK[:, tables.sizes[0] :]
        agree_LX = torch.bmm(left_LAK, right_LBK.transpose(1, 2)).flatten(1)
        together_LX = torch.cumprod(agree_LX, dim=0)
        ctx.save_for_backward(log_probs_LTK, products_LCK, agree_LX, together_LX)
        ctx.logits_dtype = arch_logits_LTK.dtype  # type: ignore[attr-defined]
        return torch.mv(together_LX, tables.sign_X)

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, grad_L: Tensor) -> Tensor:
        """Return the gradient of the logits (L, T, K) from that of the expected branches."""
        log_probs_LTK, products_LCK, agree_LX, together_LX = ctx.saved_tensors  # type: ignore[attr-defined]
        tables = _subset_tables(log_probs_LTK.shape[1], log_probs_LTK.device)
        left_LAK, right_LBK = products_LCK[:, : tables.sizes[0]], products_LCK[:, tables.sizes[0] :]
        # d branches_l / d agree_m summed over l >= m: all that comes before m, times a running sum from behind.
        grad_LX = torch.outer(grad_L, tables.sign_X)
        rows, agree = grad_LX.unbind(0), agree_LX.unbind(0)
        for layer in range(len(rows) - 1, 0, -1):
            rows[layer - 1].addcmul_(agree[layer], rows[layer])
        grad_LX[1:] *= together_LX[:-1]
        grad_LAB = grad_LX.view(-1, *tables.sizes)
        grad_LCK = torch.cat([torch.bmm(grad_LAB, right_LBK), torch.bmm(grad_LAB.transpose(1, 2), left_LAK)], dim=1)
        grad_LTK = torch.matmul(tables.members_CT.T, grad_LCK.mul_(products_LCK))
        grad_LTK.sub_(log_probs_LTK.exp() * grad_LTK.sum(dim=-1, keepdim=True))
        return grad_LTK.to(ctx.logits_dtype)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _SubsetTables:
    """The subsets of T tasks in two halves, C = A + B rows; X = A * B.

    Attributes:
        sizes: Numbers of subsets of the first and of the second half.
        members_CT: 1 where the task belongs to the subset; the subsets of the first half above those of the second.
        sign_X: (-1)^(|S|+1) for every S = (A, B), 0 for the empty one.
    """

    sizes: tuple[int, int]
    members_CT: Tensor
    sign_X: Tensor


@lru_cache(maxsize=64)
def _subset_tables(num_tasks: int, device: torch.device) -> _SubsetTables:
    """Return the tables of T tasks, built once per device."""
    half = num_tasks // 2
    sizes = (1 << half, 1 << (num_tasks - half))
    left_AT = _subset_members(half)
    right_BT = _subset_members(num_tasks - half)
    members_CT = torch.zeros(sum(sizes), num_tasks, dtype=torch.float64)
    members_CT[: sizes[0], :half] = left_AT
    members_CT[sizes[0] :, half:] = right_BT
    sign_X = -torch.outer(1 - 2 * (left_AT.sum(dim=1) % 2), 1 - 2 * (right_BT.sum(dim=1) % 2)).flatten()
    sign_X[0] = 0
    return _SubsetTables(sizes, members_CT.to(device), sign_X.to(device))


def _subset_members(num_tasks: int) -> Tensor:
    """Return the membership of every subset, shape (2^T, T); bit t of the row number stands for task t."""
    bits_XT = torch.arange(1 << num_tasks)[:, None] >> torch.arange(num_tasks) & 1
    return bits_XT.to(torch.float64)


@dataclass(frozen=True)
class _PaperTables:
    """The groupings of T tasks as index tensors, for Eq. 5-6.

    Attributes:
        masks_GT: Groups of each grouping as bit masks, padded with 0.
        num_groups_G: |kappa|.
        coarse_P: Ancestor of each pair.
        fine_P: Descendant of each pair.
        moebius_P: Moebius function of each pair in the partition lattice.
    """

    masks_GT: Tensor
    num_groups_G: Tensor
    coarse_P: Tensor
    fine_P: Tensor
    moebius_P: Tensor


@lru_cache(maxsize=16)
def _paper_tables(num_tasks: int, device: torch.device) -> _PaperTables:
    """Return the tables of T tasks, built once."""
    lattice = build_lattice(num_tasks)
    coarse_PT = lattice.labels_GT[lattice.coarse_P]
    fine_PT = lattice.labels_GT[lattice.fine_P]
    counts_PT = np.zeros_like(coarse_PT)  # how many fine groups lie inside each coarse group
    rows = np.arange(len(coarse_PT))
    highest_P = np.full(len(coarse_PT), -1)
    for task in range(num_tasks):
        counts_PT[rows, coarse_PT[:, task]] += fine_PT[:, task] > highest_P
        highest_P = np.maximum(highest_P, fine_PT[:, task])
    weights = np.array([1.0] + [(-1.0) ** (n - 1) * factorial(n - 1) for n in range(1, num_tasks + 1)])
    return _PaperTables(
        torch.as_tensor(lattice.masks_GT, device=device),
        torch.as_tensor(lattice.num_groups_G, device=device, dtype=torch.float64),
        torch.as_tensor(lattice.coarse_P, device=device),
        torch.as_tensor(lattice.fine_P, device=device),
        torch.as_tensor(weights[counts_PT].prod(axis=1), device=device),
    )


def _paper_branches(probs_LTK: Tensor) -> Tensor:
    """Return the paper's estimate (Eq. 5-6): p(kappa_l) = p_cond(kappa_l) * sum of p over coarser or equal ancestors.

    p_cond, the probability that the picks of one layer group the tasks exactly as kappa, comes from Moebius inversion
    of "equal at least within kappa"; the paper sums over K^T picks. What is left to 1 goes to the fully split grouping.
    """
    num_layers, num_tasks, _ = probs_LTK.shape
    tables = _paper_tables(num_tasks, probs_LTK.device)
    agree_LS = _agreement(probs_LTK)
    within_LG = torch.ones_like(agree_LS[:, tables.masks_GT[:, 0]])
    for group in range(num_tasks):
        within_LG = within_LG * agree_LS[:, tables.masks_GT[:, group]]
    picked_LG = torch.zeros_like(within_LG).index_add(
        1, tables.fine_P, within_LG[:, tables.coarse_P] * tables.moebius_P
    )
    reached_G = torch.zeros_like(tables.num_groups_G)
    reached_G[0] = 1
    branches = []
    for layer in range(num_layers):
        allowed_G = torch.zeros_like(reached_G).index_add(0, tables.fine_P, reached_G[tables.coarse_P])
        known_G = (picked_LG[layer] * allowed_G)[:-1]
        reached_G = torch.cat([known_G, 1 - known_G.sum(dim=0, keepdim=True)])
        branches.append(reached_G @ tables.num_groups_G)
    return torch.stack(branches)


def _agreement(probs_LTK: Tensor) -> Tensor:
    """Return the probability that all of a set of tasks pick one op, shape (L, 2^T); 1 for the empty set."""
    products_LSK = torch.ones_like(probs_LTK[:, :1])
    for task in range(probs_LTK.shape[1]):
        products_LSK = torch.cat([products_LSK, products_LSK * probs_LTK[:, task : task + 1]], dim=1)
    agree_LS = products_LSK.sum(dim=-1)
    return torch.cat([torch.ones_like(agree_LS[:, :1]), agree_LS[:, 1:]], dim=1)


def _sampled_branches(arch_logits_LTK: Tensor, num_samples: int, generator: torch.Generator | None) -> Tensor:
    """Return an unbiased estimate whose gradient is unbiased too.

    The expectation is linear in each task's own distribution. Given the routings of the others, task t adds the branch
    1 - sum over their distinct prefixes pi of prod_{m<=l} P_m[t, pi_m]. The value averages over t the others' branches
    plus this; the gradient sums this over t, for each t is the only one who moves its own term.
    """
    num_layers, num_tasks, _ = arch_logits_LTK.shape
    log_probs_LTK = torch.log_softmax(arch_logits_LTK, dim=-1, dtype=torch.float64)
    picks_LTN = _draw_routings(log_probs_LTK.detach(), num_samples, generator)
    picks_LNU = picks_LTN.transpose(1, 2).contiguous()
    same_LNUV = torch.cummin((picks_LNU[..., None] == picks_LNU[:, :, None]).to(torch.uint8), dim=0).values
    earlier_LNU = torch.tril(same_LNUV, diagonal=-1).sum(dim=-1)  # tasks before u on the prefix of u
    # Without task t, u is the first on its prefix when nobody else before it is; entry [t, u].
    others_LNTU = earlier_LNU[:, :, None] - torch.triu(same_LNUV, diagonal=1)
    first_LNTU = (others_LNTU == 0) & ~torch.eye(num_tasks, dtype=torch.bool, device=picks_LNU.device)
    index_LTX = picks_LNU.reshape(num_layers, 1, -1).expand(-1, num_tasks, -1)
    follow_LTX = torch.gather(log_probs_LTK, 2, index_LTX).cumsum(dim=0).exp()
    follow_LTNU = follow_LTX.view(num_layers, num_tasks, num_samples, num_tasks)
    joins_LTN = (follow_LTNU * first_LNTU.transpose(1, 2)).sum(dim=-1)
    own_L = (1 - joins_LTN).sum(dim=1).mean(dim=1)
    others_L = first_LNTU.sum(dim=-1).to(torch.float64).mean(dim=(1, 2))
    value_L = others_L + own_L.detach() / num_tasks
    return value_L + own_L - own_L.detach()


def _draw_routings(log_probs_LTK: Tensor, num_samples: int, generator: torch.Generator | None) -> Tensor:
    """Return drawn ops, shape (L, T, N), on the logits' device; drawn where the generator lives."""
    num_layers, num_tasks, num_ops = log_probs_LTK.shape
    probs_XK = log_probs_LTK.exp().reshape(-1, num_ops)
    if generator is not None:
        probs_XK = probs_XK.to(generator.device)
    picks_XN = torch.multinomial(probs_XK, num_samples, replacement=True, generator=generator)
    return picks_XN.view(num_layers, num_tasks, num_samples).to(log_probs_LTK.device)
