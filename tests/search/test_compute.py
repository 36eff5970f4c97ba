"""How a machine computes changes seconds and last digits, not what is learned: on the CPU and, where it is, on a GPU.

Every case runs both loops; the tolerances are those of the format: 2^-8 per number in bfloat16, 2^-24 in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from search.compute import Compute
from search.networks import choose_device
from search.ports import MemoryReporter, MemoryStore, StageProgress, never_cancelled
from search.spec import OptimiserSpec, SearchSpec, TrainSpec

if TYPE_CHECKING:
    from search.method.bilevel import BilevelSearch
    from search.training.retrain import Retraining
    from tests.search.conftest import Lab

# Adam moves by the sign of tiny gradients, which rounding decides; plain steps stay close.
SGD = OptimiserSpec(method="sgd", learning_rate=5e-3, momentum=0.9, weight_decay=1e-3)
TRAIN = TrainSpec(epochs=1, batch_size=6, weights=SGD)
SEARCH = SearchSpec(epochs=2, warmup_epochs=1, batch_size=6, weights=SGD, arch_learning_rate=1e-3)


@pytest.fixture
def plain(device: torch.device) -> Compute:
    """Return float32 in torch's own layout on the device under test, with the settings of a run."""
    return Compute(choose_device(device.type))


def train(lab: Lab, compute: Compute, spec: TrainSpec = TRAIN) -> tuple[Retraining, Mapping[str, float]]:
    """Return a training after its end, and the row of its only epoch."""
    training = lab.training(spec, dataset=lab.dataset(silent=(0.3, 5)), compute=compute)
    history = lab.run(training)
    assert history is not None
    return training, history[0]


def search(lab: Lab, compute: Compute, spec: SearchSpec = SEARCH) -> BilevelSearch:
    """Return a search after its end."""
    found = lab.search(spec, dataset=lab.dataset(silent=(0.3, 5)), compute=compute)
    assert lab.run(found) is not None
    return found


def losses_of(row: Mapping[str, object]) -> dict[str, float]:
    """Return the losses of a row of history."""
    return {name: value for name, value in row.items() if "loss" in name and isinstance(value, float)}


def states_of(loop: Retraining | BilevelSearch) -> dict[str, Tensor]:
    """Return weights and batch statistics in float64 on the CPU."""
    return {name: value.double().cpu() for name, value in loop.loop.network.state_dict().items()}


def test_bfloat16_learns_what_float32_learns(dense_lab: Lab, plain: Compute) -> None:
    """Convolutions run in bfloat16, losses and weights stay float32, and losses agree to a few percent."""
    formats: set[torch.dtype] = set()
    short = replace(plain, autocast=torch.bfloat16)
    training = dense_lab.training(TRAIN, dataset=dense_lab.dataset(silent=(0.3, 5)), compute=short)
    for part in training.loop.network.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda module, inputs, output: formats.add(output.dtype))
    history = dense_lab.run(training)
    assert formats == {torch.bfloat16}
    assert {each.dtype for each in training.loop.network.parameters()} == {torch.float32}
    assert history is not None
    assert losses_of(history[0]) == pytest.approx(losses_of(train(dense_lab, plain)[1]), rel=0.05)


def test_bfloat16_searches_what_float32_searches(dense_lab: Lab, plain: Compute) -> None:
    """Both passes run, slopes of the mixes stay finite float32, and losses agree to a few percent."""
    short, full = search(dense_lab, replace(plain, autocast=torch.bfloat16)), search(dense_lab, plain)
    assert short.loop.arch_logits_LTK.dtype == torch.float32
    assert short.loop.arch_logits_LTK.isfinite().all()
    for row, twin in zip(short.loop.history, full.loop.history, strict=True):
        assert losses_of(row) == pytest.approx(losses_of(twin), rel=0.05)


def test_channels_last_is_a_layout_only(dense_lab: Lab, plain: Compute) -> None:
    """Weights and images lie otherwise and the numbers stay, up to the order of sums."""
    last = replace(plain, channels_last=True)
    (one, row), (other, twin) = train(dense_lab, last), train(dense_lab, plain)
    weights = [each for each in one.loop.network.parameters() if each.dim() == 4 and each.shape[1] > 1]
    assert any(each.is_contiguous(memory_format=torch.channels_last) for each in weights)
    assert losses_of(row) == pytest.approx(losses_of(twin), rel=1e-4)
    torch.testing.assert_close(states_of(one), states_of(other), rtol=1e-3, atol=1e-4)
    found, same = search(dense_lab, last), search(dense_lab, plain)
    for at_last, at_first in zip(found.loop.history, same.loop.history, strict=True):
        assert losses_of(at_last) == pytest.approx(losses_of(at_first), rel=1e-3)


def test_layout_and_format_survive_a_stop(lab: Lab, plain: Compute) -> None:
    """A state that was saved by a channels-last bfloat16 training is taken up bit for bit."""
    compute = replace(plain, autocast=torch.bfloat16, channels_last=True)
    straight, history = lab.run_interrupted(lambda: lab.training(compute=compute), [])
    resumed, same = lab.run_interrupted(lambda: lab.training(compute=compute), [2, 3])
    assert history == same
    torch.testing.assert_close(states_of(straight), states_of(resumed), rtol=0, atol=0)


def test_micro_batches_add_up_on_every_device(dense_lab: Lab, plain: Compute) -> None:
    """With batch norms that stand still, two micro batches learn what the batch does, labels missing."""
    found = []
    for accumulate in (1, 2):
        spec = TRAIN.model_copy(update={"accumulate": accumulate})
        training = dense_lab.training(spec, dataset=dense_lab.dataset(silent=(0.3, 5)), compute=plain)
        for part in training.loop.network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        dense_lab.run(training)
        found.append(states_of(training))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


# Inductor remarks that TensorFloat-32 is off, which is what the project wants.
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")
def test_compiled_networks_learn_the_same(lab: Lab, plain: Compute) -> None:
    """Compilation fuses kernels and nothing else; on the CPU a backend is taken that needs no C++ compiler."""
    compiler = "inductor" if plain.device.type == "cuda" else "aot_eager"
    one, row = train(lab, replace(plain, compiler=compiler))
    other, twin = train(lab, plain)
    assert losses_of(row) == pytest.approx(losses_of(twin), rel=1e-3)
    assert one.loop.network.state_dict().keys() == other.loop.network.state_dict().keys()


def test_a_run_is_repeatable_on_its_device(lab: Lab, plain: Compute) -> None:
    """The same seed gives the same weights and logits, bit for bit; on a GPU only where nothing is upsampled.

    CUDA adds up the gradient of bilinear upsampling in whatever order its threads come.
    """
    for compute in (plain, replace(plain, autocast=torch.bfloat16, channels_last=True)):
        weights = [states_of(train(lab, compute)[0]) for _ in range(2)]
        torch.testing.assert_close(*weights, rtol=0, atol=0)
        logits = [search(lab, compute).loop.arch_logits_LTK.detach() for _ in range(2)]
        assert torch.equal(*logits)


def test_what_is_unusual_is_described() -> None:
    """Evaluations keep in which format, layout and company a network was trained; the plain way needs no word."""
    compute = Compute(torch.device("cuda"), torch.bfloat16, channels_last=True, compiler="inductor", num_processes=2)
    assert compute.describe() == "bfloat16, channels last, compiled, 2 processes"
    assert Compute(torch.device("cpu")).describe() is None


def test_batches_are_pinned_where_a_gpu_fetches_them(lab: Lab, plain: Compute) -> None:
    """On a GPU the loop is fed from page-locked memory, by threads or not, and learns what it does without."""
    assert plain.pins == (plain.device.type == "cuda")
    rows = []
    for in_memory in (True, False):
        dataset = lab.dataset(silent=(0.3, 5), in_memory=in_memory)
        reporter, training = MemoryReporter(), lab.training(TRAIN, dataset=dataset, compute=plain)
        ports = {"store": MemoryStore(), "reporter": reporter, "cancelled": never_cancelled}
        (row,) = training.run(state_name="s", stage="s", **ports) or []  # type: ignore[arg-type]
        rows.append({name: value for name, value in row.items() if name != "waiting"})
        values = [event.values for event in reporter.events if isinstance(event, StageProgress)]
        waited = [row["waiting"] for row in values if "waiting" in row]
        assert len(waited) == (0 if in_memory else 1)
        assert all(0 <= share <= 1 and math.isfinite(share) for share in waited)
    assert rows[0] == rows[1]
