"""Networks taught by one process and by two: the same numbers, stops without a trace, no hang and no orphan."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from models.branched import BranchedNetwork
from models.branching import Branching
from search.architecture import Architecture, Provenance, heads_of, layers_of
from search.compute import Compute
from search.data.catalogue import DATASETS
from search.data.digits import DigitsDataset
from search.errors import CrewLostError, SettingError
from search.networks import build_network, choose_device
from search.ports import Event, MemoryReporter, MemoryStore, Message, StageProgress, Surroundings, never_cancelled
from search.spec import OptimiserSpec, TrainSpec
from search.training.lesson import Lesson, teach
from search.training.retrain import History
from search.training.run_state import seed_everything
from service.working.process_sessions import is_alive

NAMES = ("left", "right", "left_group")
TREE = Branching(NAMES, ((NAMES,),) * 2 + ((("left", "left_group"), ("right",)),) * 3)
# Slow steps: at a rate of 0.05, rounding alone grows to 1e-3 within a dozen steps, between any two ways of summing.
SLOW = OptimiserSpec(method="sgd", learning_rate=2e-3, weight_decay=1e-2)
RECIPE = TrainSpec(epochs=2, batch_size=13, weights=SLOW)
ON_CPU = Compute(torch.device("cpu"))
PATIENCE_S = 60


def architecture() -> Architecture:
    """Return the document of the tree."""
    info = DATASETS["digits"]
    made = Provenance(
        dataset="digits",
        dataset_fingerprint="f00d",
        seed=0,
        objective="exact",
        spec_hash="beef",
        code_version="0.1.0",
        created="2026-01-31T12:00:00+00:00",
    )
    return Architecture(
        tasks=NAMES,
        backbone="tiny4",
        input_size=(24, 24),
        image_channels=1,
        layers=layers_of(TREE, [f"block{index}" for index in range(1, 6)]),
        heads=heads_of([info.task(name) for name in NAMES]),
        madds=1,
        params=1,
        budget_madds=None,
        provenance=made,
    )


def lesson(recipe: TrainSpec = RECIPE) -> Lesson:
    """Return a lesson on handwriting whose tasks have labels of some samples only, one of them of three in all."""
    dataset = DigitsDataset("train", 52, list(NAMES))
    dataset._labels["left"][::3] = 255
    dataset._labels["left_group"][3:] = 255
    tasks = tuple(DATASETS["digits"].task(name) for name in NAMES)
    return Lesson(architecture(), tasks, dataset, recipe, 0, "train", "training.state")


def surroundings(
    store: MemoryStore | None = None,
    reporter: MemoryReporter | None = None,
    cancelled: Callable[[], bool] = never_cancelled,
) -> Surroundings:
    """Return surroundings in memory that save after every step."""
    return Surroundings(
        store=store or MemoryStore(),
        reporter=reporter or MemoryReporter(),
        cancelled=cancelled,
        device="cpu",
        cache_dir=Path(),
        now=lambda: datetime.now(UTC),
        seconds_between_saves=0.0,
    )


def learn(
    around: Surroundings, num_processes: int, recipe: TrainSpec = RECIPE, compute: Compute = ON_CPU
) -> tuple[BranchedNetwork, History | None]:
    """Return the network after a lesson, on the CPU, and its history."""
    seed_everything(0, "initial weights")
    network = build_network(architecture())
    history = teach(network, lesson(recipe), replace(compute, num_processes=num_processes), around)
    return network.to("cpu"), history


def assert_close(one: tuple[BranchedNetwork, History | None], other: tuple[BranchedNetwork, History | None]) -> None:
    """Check that two networks agree in weights, batch statistics and losses to 1e-5."""
    (network, history), (twin, same) = one, other
    torch.testing.assert_close(dict(network.state_dict()), dict(twin.state_dict()), rtol=1e-5, atol=1e-5)
    assert history is not None
    assert same is not None
    assert [row.keys() for row in history] == [row.keys() for row in same]
    assert all(row == pytest.approx(pair, rel=1e-5, abs=1e-5) for row, pair in zip(history, same, strict=True))


@pytest.fixture(scope="module")
def together() -> tuple[tuple[BranchedNetwork, History | None], MemoryReporter]:
    """Return what two processes learn without a stop, and what they report."""
    reporter = MemoryReporter()
    return learn(surroundings(reporter=reporter), 2), reporter


def test_two_processes_learn_what_one_does(
    together: tuple[tuple[BranchedNetwork, History | None], MemoryReporter],
) -> None:
    """Losses, weights and batch statistics agree to 1e-5 after 8 steps, labels missing in shares and in batches."""
    found, reporter = together
    alone = MemoryReporter()
    assert_close(found, learn(surroundings(reporter=alone), 1))
    assert reporter.events[0] == alone.events[0]
    assert len(reporter.events) == len(alone.events)
    assert [event for event in reporter.events if isinstance(event, Message)] == [
        event for event in alone.events if isinstance(event, Message)
    ]


def test_two_processes_agree_on_micro_batches() -> None:
    """Gradients of micro batches stay with each process until the last one, and then add up as in one process."""
    recipe = RECIPE.model_copy(update={"accumulate": 3, "epochs": 1})
    assert_close(learn(surroundings(), 2, recipe), learn(surroundings(), 1, recipe))


def test_two_processes_survive_a_stop(
    together: tuple[tuple[BranchedNetwork, History | None], MemoryReporter],
) -> None:
    """Resumed by fresh processes they end bit for bit where they would have; one process goes on from it as well."""
    store, calls = MemoryStore(), iter([False] * 3 + [True])
    assert learn(surroundings(store, cancelled=lambda: next(calls)), 2)[1] is None
    assert list(store.contents) == ["training.state"]
    elsewhere = MemoryStore()
    elsewhere.contents |= store.contents
    assert_close(together[0], learn(surroundings(elsewhere), 1))
    (network, history), (resumed, same) = together[0], learn(surroundings(store), 2)
    assert history == same
    assert all(map(torch.equal, network.state_dict().values(), resumed.state_dict().values()))


class Killer(MemoryReporter):
    """Kills one of the processes when it hears of the second step."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def emit(self, event: Event) -> None:
        """Keep an event, and do what the class says."""
        super().emit(event)
        if isinstance(event, StageProgress) and event.step == 2:
            (victim,) = [each for each in multiprocessing.active_children() if each.name == f"rank-{self.rank}"]
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.soak), 1])
def test_a_killed_process_ends_the_run_with_a_sentence(rank: int) -> None:
    """Whichever is killed, the other one does not wait for it for ever, and the state of the last save stays."""
    store, recipe = MemoryStore(), RECIPE.model_copy(update={"epochs": 500})
    sentence = rf"2 processes train needs all of them, but process {rank + 1} was ended by signal 9.*--resume"
    with pytest.raises(CrewLostError, match=sentence):
        learn(surroundings(store, Killer(rank)), 2, recipe)
    assert multiprocessing.active_children() == []
    assert list(store.contents) == ["training.state"]


def test_more_processes_than_images_are_refused() -> None:
    """A share must hold an image; the sentence names how many GPUs would do."""
    recipe = RECIPE.model_copy(update={"accumulate": 6})
    with pytest.raises(SettingError, match=r"2 images at a time are too few for 3 GPUs\. Ask for 2 or fewer"):
        learn(surroundings(), 3, recipe)


ORPHANAGE = """
import multiprocessing, sys
sys.path.insert(0, {folder!r})
import test_lesson as scene

class Namer(scene.MemoryReporter):
    def emit(self, event):
        if isinstance(event, scene.StageProgress) and event.step == 1:
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)

if __name__ == "__main__":
    recipe = scene.RECIPE.model_copy(update={{"epochs": 100000}})
    scene.learn(scene.surroundings(reporter=Namer()), 2, recipe)
"""


def test_a_killed_parent_leaves_no_orphans(tmp_path: Path) -> None:
    """When the process that looks after them is killed, the others end by themselves."""
    script = tmp_path / "orphanage.py"
    script.write_text(ORPHANAGE.format(folder=str(Path(__file__).parent)))
    variables = os.environ | {"TMPDIR": str(tmp_path)}  # what a killed process leaves goes with the test
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=variables) as parent:
        assert parent.stdout is not None
        children = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 2
    deadline = time.monotonic() + PATIENCE_S
    while any(map(is_alive, children)):
        assert time.monotonic() < deadline, children
        time.sleep(0.1)


@pytest.mark.gpu
@pytest.mark.parametrize("short", [False, True], ids=["fp32", "bf16"])
def test_two_gpus_learn_what_one_does(short: bool) -> None:
    """NCCL and torch's SyncBatchNorm give one GPU's numbers: to 1e-4 in float32, a few percent of a loss in bfloat16.

    Not to 1e-5: half a batch may go to another convolution kernel, which adds up in another order.
    """
    if torch.cuda.device_count() < 2:
        pytest.skip(f"needs a second CUDA device, this machine has {torch.cuda.device_count()}")
    compute = Compute(choose_device("cuda"), autocast=torch.bfloat16 if short else None, channels_last=short)
    (network, history), (twin, same) = (learn(surroundings(), num, compute=compute) for num in (2, 1))
    assert history is not None
    assert same is not None
    bound = 5e-2 if short else 1e-4
    assert all(row == pytest.approx(pair, rel=bound) for row, pair in zip(history, same, strict=True))
    if not short:
        torch.testing.assert_close(dict(network.state_dict()), dict(twin.state_dict()), rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_two_gpus_survive_a_stop_and_a_kill() -> None:
    """What two GPUs saved they take up again; a killed process ends the run, though NCCL would wait for minutes."""
    if torch.cuda.device_count() < 2:
        pytest.skip(f"needs a second CUDA device, this machine has {torch.cuda.device_count()}")
    compute, store, calls = Compute(choose_device("cuda")), MemoryStore(), iter([False] * 3 + [True])
    network, history = learn(surroundings(), 2, compute=compute)
    assert learn(surroundings(store, cancelled=lambda: next(calls)), 2, compute=compute)[1] is None
    resumed, same = learn(surroundings(store), 2, compute=compute)
    assert history is not None
    assert same is not None
    assert all(row == pytest.approx(pair, rel=1e-5) for row, pair in zip(history, same, strict=True))
    torch.testing.assert_close(dict(network.state_dict()), dict(resumed.state_dict()), rtol=1e-4, atol=1e-5)
    with pytest.raises(CrewLostError, match="process 2 was ended by signal 9"):
        learn(surroundings(reporter=Killer(1)), 2, RECIPE.model_copy(update={"epochs": 500}), compute)
    assert multiprocessing.active_children() == []
