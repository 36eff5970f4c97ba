"""Seconds and peak memory of one training step of a branched network: plain, and by the ways meant for GPUs.

Each way runs in a process of its own, from the same weights on the same batch. Run `python benchmarks/training_step.py
[--device cuda] [--threads 2]`; it exits with 1 if a way that moves nothing but rounding has another first loss.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from search_step import draw_label, peak_bytes
from torch import Tensor

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from search.compute import Compute
from search.data.catalogue import DATASETS
from search.networks import choose_device
from search.ports import Event, MemoryStore, StageProgress, never_cancelled
from search.spec import OptimiserSpec, TrainSpec
from search.training.retrain import Retraining

BF16 = torch.bfloat16
WAYS = {  # name -> (format, channels last, compiler, micro batches, largest relative gap of the first loss)
    "plain": (None, False, None, 1, 0.0),
    "channels last": (None, True, None, 1, 1e-3),
    "2 micro batches": (None, False, None, 2, None),  # batch norm sees other images
    "4 micro batches": (None, False, None, 4, None),
    "bfloat16": (BF16, False, None, 1, 0.05),
    "bfloat16, channels last": (BF16, True, None, 1, 0.05),
    "compiled": (None, False, "inductor", 1, 1e-3),
}
SGD = OptimiserSpec(method="sgd", learning_rate=5e-3)


class OneBatch:
    """A data set whose only batch is always the same."""

    in_memory = True

    def __init__(self, batch: dict[str, Tensor]) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return len(self._batch["image"])

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the batch."""
        return dict(self._batch)


class Stopwatch:
    """Notes when steps end and what the first one's losses are."""

    def __init__(self, *, own_time: bool) -> None:
        self._now = time.process_time if own_time else time.perf_counter
        self.ends = [self._now()]
        self.first: dict[str, float] = {}

    def emit(self, event: Event) -> None:
        """Take an event of a training whose epochs have one step."""
        if isinstance(event, StageProgress) and event.values:
            self.first = self.first or dict(event.values)
        elif isinstance(event, StageProgress):
            self.ends.append(self._now())


def measure_way(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of the first and of later steps, the MiB that training takes, and the first loss."""
    autocast, channels_last, compiler, accumulate, _ = WAYS[name]
    compute = Compute(choose_device(arguments.device), autocast, channels_last, compiler)
    torch.manual_seed(0)
    tasks, backbone = DATASETS["scenes"].tasks, get_backbone(arguments.backbone)
    heads = {task.name: HeadSpec(True, task.channels) for task in tasks}
    half, indices = len(backbone.layers) // 2, list(range(len(tasks)))
    routing_LT = [[0] * len(tasks)] * half + [indices] * (len(backbone.layers) - half)
    network = BranchedNetwork(backbone, heads, 3, Branching.from_routing(tuple(heads), routing_LT))
    shape = (arguments.batch, arguments.size, arguments.size)
    image = torch.randn(arguments.batch, 3, arguments.size, arguments.size)
    dataset = OneBatch({"image": image, **{task.name: draw_label(task, shape) for task in tasks}})
    spec = TrainSpec(epochs=arguments.steps + 1, batch_size=arguments.batch, accumulate=accumulate, weights=SGD)
    training = Retraining(compute.place(network), tasks, dataset, spec, 0, compute=compute)
    before, watch = peak_bytes(arguments.device), Stopwatch(own_time=_counts_own_time(arguments))
    training.run(
        store=MemoryStore(),
        state_name="s",
        stage="s",
        reporter=watch,
        cancelled=never_cancelled,
        seconds_between_saves=float("inf"),
    )
    seconds = [end - begin for begin, end in zip(watch.ends[:-1], watch.ends[1:], strict=True)]
    return {
        "first": seconds[0],
        "later": statistics.median(seconds[1:]),
        "mebibytes": (peak_bytes(arguments.device) - before) / 2**20,
        "loss": sum(value for figure, value in watch.first.items() if figure.startswith("loss ")),
    }


def _counts_own_time(arguments: argparse.Namespace) -> bool:
    """Return whether a process's own seconds are taken: with one CPU thread, to leave other programs out."""
    return (arguments.device, arguments.threads) == ("cpu", 1)


def measure_apart(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Return what `measure_way` says in a process of its own."""
    words = ("size", "batch", "backbone", "device", "threads", "steps")
    command = [sys.executable, __file__, *(f"--{word}={getattr(arguments, word)}" for word in words), "--way", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="side of the images, in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images per step")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4, help="steps after the first; the table shows their median")
    parser.add_argument(
        "--ways",
        nargs="+",
        default=[name for name in WAYS if name != "compiled"],
        choices=list(WAYS),
        help="all but compiled without it, which can take many minutes",
    )
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Return 0 if all ways have the plain way's first loss as far as they should, else 1, after printing the table."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.way:
        print(json.dumps(measure_way(arguments.way, arguments)))
        return 0
    clock = "CPU" if _counts_own_time(arguments) else "Wall"
    print(
        f"{arguments.backbone}, all tasks of scenes, second half split, {arguments.batch} images of "
        f"{arguments.size}x{arguments.size}, {arguments.device}, {arguments.threads} thread(s), torch "
        f"{torch.__version__}.\n{clock} seconds of the first step and of later ones (median of {arguments.steps}), and "
        "MiB that training adds to the peak of a fresh process."
    )
    print(f"{'way':<25}{'first':>9}{'later':>9}{'plain/way':>11}{'MiB':>8}{'loss':>10}")
    plain, missed = measure_apart("plain", arguments), False
    for name in arguments.ways:
        found, bound = plain if name == "plain" else measure_apart(name, arguments), WAYS[name][-1]
        gap = abs(found["loss"] - plain["loss"]) / plain["loss"]
        misses = bound is not None and gap > bound
        missed |= misses
        print(
            f"{name:<25}{found['first']:>9.2f}{found['later']:>9.3f}{plain['later'] / found['later']:>11.2f}"
            f"{found['mebibytes']:>8.0f}{found['loss']:>10.4f}{'  MISSED' if misses else ''}",
            flush=True,
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
