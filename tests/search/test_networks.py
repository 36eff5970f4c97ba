"""Networks from their documents: weights come back bit for bit, what does not fit is refused, devices are chosen."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from models.branching import Branching
from search.architecture import Architecture, Provenance, heads_of, layers_of
from search.compute import Compute
from search.data.catalogue import DATASETS
from search.errors import ArchitectureFileError, DeviceError
from search.networks import build_network, choose_compute, choose_device, load_network
from search.ports import MemoryReporter, MemoryStore, Surroundings, never_cancelled


def describe(*tasks: str) -> Architecture:
    """Return the document of a fully shared tiny4 over tasks of digits."""
    tree = Branching.shared(tasks, 5)
    return Architecture(
        tasks=tree.tasks,
        backbone="tiny4",
        input_size=(24, 24),
        image_channels=1,
        layers=layers_of(tree, [f"block{index}" for index in range(1, 6)]),
        heads=heads_of([DATASETS["digits"].task(task) for task in tree.tasks]),
        madds=1,
        params=1,
        budget_madds=None,
        provenance=Provenance(
            dataset="digits",
            dataset_fingerprint="f00d",
            seed=0,
            objective="exact",
            spec_hash="beef",
            code_version="0.1.0",
            created="2026-01-31T12:00:00+00:00",
        ),
    )


def test_a_network_comes_back_with_its_weights() -> None:
    """What was built, saved and loaded is the same network, in evaluation mode."""
    architecture = describe("left", "right")
    built = build_network(architecture)
    loaded = load_network(architecture, save(built.state_dict()))
    assert not loaded.training
    assert loaded.state_dict().keys() == built.state_dict().keys()
    assert all(torch.equal(tensor, built.state_dict()[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("spoil", [lambda weights: weights[:-9], lambda weights: b"", lambda weights: b"{}" * 40])
def test_weights_that_do_not_fit_are_refused(spoil: Callable[[bytes], bytes]) -> None:
    """Corrupt weights end in one sentence that says which file is meant."""
    architecture = describe("left", "right")
    weights = save(build_network(architecture).state_dict())
    with pytest.raises(ArchitectureFileError, match=r"The weights do not fit .* Use the weights\.safetensors"):
        load_network(architecture, spoil(weights))


def test_weights_of_another_tree_are_refused() -> None:
    """The weights of the fully shared network are not those of one task's."""
    weights = save(build_network(describe("left", "right")).state_dict())
    with pytest.raises(ArchitectureFileError, match="The weights do not fit"):
        load_network(describe("left"), weights)


def test_the_cpu_is_chosen_by_name() -> None:
    """The device "cpu" is the CPU on every machine."""
    assert choose_device("cpu").type == "cpu"


def test_a_missing_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for CUDA where torch sees none is refused, and "auto" takes the CPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(DeviceError, match=r"No CUDA device was found.*Use --device cpu"):
        choose_device("cuda")


def around(**words: object) -> Surroundings:
    """Return surroundings in which a run asks to compute in some way."""
    ports = {"store": MemoryStore(), "reporter": MemoryReporter(), "cancelled": never_cancelled, "device": "cpu"}
    return Surroundings(**{**ports, "cache_dir": Path(), "now": lambda: datetime.now(UTC), **words})  # type: ignore[arg-type]


def test_a_cpu_computes_plainly_unless_asked() -> None:
    """Without a word it is float32 in torch's own layout by one process; all else is for the asking."""
    assert choose_compute(around()) == Compute(torch.device("cpu"))
    asked = choose_compute(around(precision="bf16", compiled=True))
    assert (asked.autocast, asked.compiler, asked.channels_last) == (torch.bfloat16, "inductor", False)


def test_gpus_that_are_not_there_are_refused() -> None:
    """The sentence says how many this run has."""
    with pytest.raises(DeviceError, match=r"2 GPUs were asked for, but this run has 0\. Ask for fewer with --gpus"):
        choose_compute(around(gpus=2))


@pytest.mark.gpu
def test_a_gpu_takes_bfloat16_where_it_has_it() -> None:
    """Precision auto takes it with channels last, fp32 is float32 in full."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    chosen = choose_compute(around(device="auto"))
    assert (chosen.autocast == torch.bfloat16, chosen.channels_last) == (has_it, has_it)
    assert choose_compute(around(device="cuda", precision="fp32")) == Compute(torch.device("cuda"))
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"  # type: ignore[attr-defined]  # its stub is behind
