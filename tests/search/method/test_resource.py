"""The resource objective against brute force, closed forms, Monte Carlo and the figures of the paper.

Shapes: L layers, T tasks, K ops.
"""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.branching import Branching
from search.errors import SettingError
from search.method.resource import expected_branches
from search.spec import Objective

# MobileNetV2 with R-ASPP at 512x512: 1e5 MAdds per layer.
MOBILENET = (509, 1484, 1319, 793, 566, 566, 390, 534, 534, 534, 660, 1179, 1179, 1556, 3224, 3224, 4796, 756)


def random_logits(num_layers: int, num_tasks: int, num_ops: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    """Return normal logits (L, T, K) in float64."""
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(num_layers, num_tasks, num_ops, generator=generator, dtype=torch.float64)


def enumerated_branches(logits_LTK: Tensor) -> Tensor:
    """Return the expectation over every routing, each built as a tree."""
    num_layers, num_tasks, num_ops = logits_LTK.shape
    probs = logits_LTK.softmax(-1).tolist()
    rows = list(itertools.product(range(num_ops), repeat=num_tasks))
    total = torch.zeros(num_layers, dtype=torch.float64)
    for routing in itertools.product(rows, repeat=num_layers):
        weight = math.prod(probs[m][t][op] for m, row in enumerate(routing) for t, op in enumerate(row))
        tree = Branching.from_routing([str(task) for task in range(num_tasks)], routing)
        total += weight * torch.tensor(tree.num_branches, dtype=torch.float64)
    return total


def met_branches(logits_LTK: Tensor, *, as_paper: bool = False) -> Tensor:
    """Return the expectation by the distribution over groupings, layer by layer, every pick met with its ancestor.

    As the paper has it, a pick counts only where it refines its ancestor; all else is fully split.
    """
    _, num_tasks, num_ops = logits_LTK.shape
    reached = {(0,) * num_tasks: 1.0}
    expected = []
    for probs in logits_LTK.softmax(-1).tolist():
        following: dict[tuple[int, ...], float] = {}
        picks = itertools.product(range(num_ops), repeat=num_tasks)
        for pick, (before, weight) in itertools.product(picks, reached.items()):
            pairs = list(zip(before, pick, strict=True))
            met = tuple(pairs.index(pair) for pair in pairs)
            if as_paper and len(set(met)) != len(set(pick)):
                met = tuple(range(num_tasks))
            following[met] = following.get(met, 0.0) + weight * math.prod(probs[t][op] for t, op in enumerate(pick))
        reached = following
        expected.append(sum(weight * len(set(met)) for met, weight in reached.items()))
    return torch.tensor(expected, dtype=torch.float64)


@pytest.mark.parametrize(
    ("num_layers", "num_tasks", "num_ops"), [(3, 2, 2), (3, 2, 3), (2, 3, 3), (3, 3, 2), (1, 4, 4)]
)
def test_exact_equals_enumeration(num_layers: int, num_tasks: int, num_ops: int) -> None:
    """The exact objective is the expectation over all routings of the tree that is built."""
    logits_LTK = random_logits(num_layers, num_tasks, num_ops)
    torch.testing.assert_close(expected_branches(logits_LTK), enumerated_branches(logits_LTK), atol=1e-12, rtol=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000), st.sampled_from([0.1, 1.0, 8.0]))
def test_exact_equals_meet_recursion(num_layers: int, num_tasks: int, num_ops: int, seed: int, spread: float) -> None:
    """The closed form equals the distribution over groupings carried from layer to layer."""
    logits_LTK = random_logits(num_layers, num_tasks, num_ops, seed, spread)
    torch.testing.assert_close(expected_branches(logits_LTK), met_branches(logits_LTK), atol=1e-11, rtol=0)


@pytest.mark.parametrize("num_tasks", [2, 3, 4])
def test_paper_equals_its_recursion(num_tasks: int) -> None:
    """The paper's objective equals Eq. 5-6 over all picks, and is never below the exact one."""
    logits_LTK = random_logits(4, num_tasks, num_tasks)
    paper_L = expected_branches(logits_LTK, "paper")
    torch.testing.assert_close(paper_L, met_branches(logits_LTK, as_paper=True), atol=1e-11, rtol=0)
    assert (paper_L >= expected_branches(logits_LTK) - 1e-12).all()


def test_exact_equals_monte_carlo_at_depth() -> None:
    """Five tasks and 18 layers: the mean over drawn routings is within five standard errors."""
    logits_LTK = random_logits(18, 5, 5)
    generator = torch.Generator().manual_seed(1)
    picks_LTN = torch.multinomial(logits_LTK.softmax(-1).flatten(0, 1), 40000, True, generator=generator)
    path_TN = torch.zeros(5, 40000, dtype=torch.int64)
    for layer, picks_TN in enumerate(picks_LTN.view(18, 5, -1)):
        path_TN = path_TN * 5 + picks_TN
        ordered_TN = path_TN.sort(dim=0).values
        branches_N = 1.0 + (ordered_TN[1:] != ordered_TN[:-1]).sum(dim=0)
        error = branches_N.std() / math.sqrt(40000)
        # What happens less often than once in 40000 draws may not have been seen.
        assert abs(branches_N.mean() - expected_branches(logits_LTK)[layer]) < 5 * error + 1e-4


@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0])
def test_exact_is_accurate_at_sixteen_tasks(spread: float) -> None:
    """Alternating signs over 65536 subsets cost less than 1e-9: tasks with equal logits have a closed form per path."""
    logits_LK = random_logits(8, 1, 2, spread=spread)
    path_X = torch.ones(1, dtype=torch.float64)
    for layer, branches in enumerate(expected_branches(logits_LK.expand(8, 16, 2))):
        path_X = torch.outer(path_X, logits_LK[layer, 0].softmax(-1)).flatten()
        closed_form = -torch.expm1(16 * torch.log1p(-path_X)).sum()
        assert abs(branches - closed_form) < 1e-9


@pytest.mark.parametrize("objective", ["exact", "paper"])
@pytest.mark.parametrize(("num_tasks", "num_ops"), [(1, 2), (2, 3), (4, 4), (5, 2)])
def test_gradient_is_right(objective: Objective, num_tasks: int, num_ops: int) -> None:
    """The gradient equals finite differences, with more and with fewer ops than tasks."""
    logits_LTK = random_logits(3, num_tasks, num_ops, spread=1.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: expected_branches(x, objective), (logits_LTK,))


def test_ops_switched_off_have_no_gradient() -> None:
    """A logit of minus infinity is probability zero: the value is that without the op, and no NaN appears."""
    logits_LTK = random_logits(3, 4, 3)
    off_LTK = torch.cat([logits_LTK, torch.full((3, 4, 1), -torch.inf, dtype=torch.float64)], dim=-1).requires_grad_()
    branches_L = expected_branches(off_LTK)
    branches_L.sum().backward()
    torch.testing.assert_close(branches_L.detach(), expected_branches(logits_LTK), atol=1e-12, rtol=0)
    assert off_LTK.grad is not None
    assert (off_LTK.grad[..., -1] == 0).all()
    assert off_LTK.grad.isfinite().all()


@pytest.mark.parametrize("objective", ["exact", "paper", "sampled"])
def test_decided_logits_give_the_built_tree(objective: Objective) -> None:
    """With one-hot rows every objective counts whole branches: 1 where all agree, T once all differ."""
    shared_LTK = torch.zeros(3, 4, 4)
    shared_LTK[:, :, 1] = 2000
    split_LTK = 2000 * torch.eye(4).expand(3, 4, 4)
    assert expected_branches(shared_LTK, objective).tolist() == pytest.approx([1, 1, 1])
    assert expected_branches(split_LTK, objective).tolist() == pytest.approx([4, 4, 4])


def test_paper_over_estimates_the_deterministic_example() -> None:
    """Layer 1 {01}{2}, layer 2 all on op 0: the paper's recursion says 5 blocks, the tree has 4."""
    logits_LTK = 2000 * torch.nn.functional.one_hot(torch.tensor([[0, 0, 1], [0, 0, 0]]), 3).double()
    assert expected_branches(logits_LTK, "paper").sum().item() == pytest.approx(5)
    assert expected_branches(logits_LTK, "exact").sum().item() == pytest.approx(4)


def test_figures_at_zero_logits() -> None:
    """Five tasks: 28.24 against 27.88 branches in six layers; 99.1 % against 98.7 % of a fully split MobileNetV2."""
    zeros_LTK = torch.zeros(6, 5, 5)
    assert expected_branches(zeros_LTK, "paper").sum().item() == pytest.approx(28.24, abs=0.005)
    assert expected_branches(zeros_LTK, "exact").sum().item() == pytest.approx(27.88, abs=0.005)
    zeros_LTK = torch.zeros(18, 5, 5)
    madds_L = torch.tensor(MOBILENET, dtype=torch.float64)
    share = [(expected_branches(zeros_LTK, name) @ madds_L / (5 * madds_L.sum())).item() for name in ("paper", "exact")]
    assert share == pytest.approx([0.991, 0.987], abs=0.001)


def test_symmetry_leaves_no_gradient_at_zero_logits() -> None:
    """Zero logits are a saddle of the cost: only the tasks' losses can leave it."""
    zeros_LTK = torch.zeros(18, 5, 5, requires_grad=True)
    expected_branches(zeros_LTK).sum().backward()
    assert zeros_LTK.grad is not None
    assert zeros_LTK.grad.abs().max() < 1e-12


@pytest.mark.parametrize(("num_tasks", "num_ops"), [(2, 2), (5, 4), (8, 8)])
def test_sampled_is_unbiased(num_tasks: int, num_ops: int) -> None:
    """Value and gradient of the sampled objective have the exact ones as their mean, within five standard errors."""
    logits_LTK = random_logits(6, num_tasks, num_ops, spread=1.5).requires_grad_()
    generator = torch.Generator().manual_seed(2)
    weights_L = torch.arange(1, 7, dtype=torch.float64)

    def run(objective: Objective) -> Tensor:
        """Return value and gradient of a weighted sum in one vector."""
        total = expected_branches(logits_LTK, objective, num_samples=16, generator=generator) @ weights_L
        return torch.cat([total[None], torch.autograd.grad(total, logits_LTK)[0].flatten()]).detach()

    draws_NX = torch.stack([run("sampled") for _ in range(300)])
    errors_X = draws_NX.std(dim=0) / math.sqrt(300)
    assert ((draws_NX.mean(dim=0) - run("exact")).abs() < 5 * errors_X + 1e-9).all()


def test_sampled_repeats_with_its_seed() -> None:
    """The same generator state gives the same estimate, to the bit."""
    logits_LTK = random_logits(5, 20, 20)
    first, second = (
        expected_branches(logits_LTK, "sampled", generator=torch.Generator().manual_seed(7)) for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("objective", ["exact", "paper", "sampled"])
def test_computes_in_float64_whatever_the_logits(
    objective: Objective, dtype: torch.dtype, device: torch.device
) -> None:
    """The result is float64 on the logits' device, the gradient has the logits' own dtype."""
    logits_LTK = torch.ones(3, 4, 4, dtype=dtype, device=device, requires_grad=True)
    branches_L = expected_branches(logits_LTK, objective)
    branches_L.sum().backward()
    assert (branches_L.dtype, branches_L.shape, branches_L.device.type) == (torch.float64, (3,), device.type)
    assert logits_LTK.grad is not None
    assert logits_LTK.grad.dtype == dtype


@pytest.mark.parametrize(("objective", "num_tasks"), [("exact", 17), ("paper", 9)])
def test_refuses_too_many_tasks(objective: Objective, num_tasks: int) -> None:
    """A method whose tables would not fit says so and names the one that takes many tasks."""
    with pytest.raises(SettingError, match=rf"at most {num_tasks - 1} tasks, got {num_tasks}.*'sampled'"):
        expected_branches(torch.zeros(2, num_tasks, 2), objective)


def test_refuses_bad_settings() -> None:
    """No sample and an unknown method are refused with a sentence."""
    logits_LTK = torch.zeros(2, 3, 3)
    with pytest.raises(SettingError, match="at least 1, got 0"):
        expected_branches(logits_LTK, "sampled", num_samples=0)
    with pytest.raises(SettingError, match="one of exact, paper and sampled, got 'best'"):
        expected_branches(logits_LTK, "best")  # type: ignore[arg-type]
