"""How long a training step waits for its batch: threads ahead of the loop, processes, the plain loop; cached and not.

The samples are rendered scenes with all six labels, augmented; once as the loader of `scenes` keeps them, once as files
of a person's own dataset. A step is MobileNetV2 on this processor, or a device that leaves the processor free for a
while. All run in turns in one process. Run `python benchmarks/loading.py`; it returns 1 where steps wait too long.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from search.data.catalogue import DATASETS, IGNORE_LABEL
from search.data.cores import choose_num_workers, count_cores
from search.data.feeding import Batch, PlannedBatch, WaitClock, feed
from search.data.files.fitting import InputForm
from search.data.files.manifest_source import open_manifest
from search.data.files.samples import FileDataset, SplitRequest, open_files
from search.data.loading import TaskDataset, load_data
from search.data.splits import derive_seed
from search.judging.tasks import build_loss, get_loss_weight
from search.spec import DataSpec

CACHE = Path(os.environ.get("BMTAS_CACHE", Path.home() / ".cache" / "bmtas"))
MOST_WAITED = 0.05
"""Share of its time that a training step may wait for data."""
TASKS = DATASETS["scenes"].tasks
Step = Callable[[Batch], None]

_MANIFEST = """
name: scenes-on-disk
root: .
splits: {train: train.txt, val: val.txt}
image: "image/{id}.jpg"
tasks:
  semseg: {kind: segmentation, path: "semseg/{id}.png", classes: [background, ground, sphere, box, cylinder]}
  parts: {kind: parts, path: "parts/{id}.png", classes: [none, p1, p2, p3, p4, p5, p6]}
  sal: {kind: saliency, path: "sal/{id}.png"}
  normals: {kind: normals, path: "normals/{id}.png"}
  depth: {kind: depth, path: "depth/{id}.npy", scale: 1.0, invalid: 0}
  edge: {kind: edge, path: "edge/{id}.png", positive_weight: 0.95}
input_size: [256, 256]
"""


@dataclass(frozen=True)
class Timing:
    """What one way of feeding gave.

    Attributes:
        step_ms: Milliseconds from step to step.
        waited: Share of them spent waiting for the batch.
        samples_per_second: Through the whole loop.
    """

    step_ms: float
    waited: float
    samples_per_second: float


def plan_batches(dataset: TaskDataset, num_steps: int, batch_size: int) -> list[PlannedBatch]:
    """Return augmented batches that go round the dataset."""
    order = torch.arange(num_steps * batch_size) % len(dataset)
    return [
        PlannedBatch(indices, derive_seed(0, "augmentation", step))
        for step, indices in enumerate(order.split(batch_size))
    ]


@contextmanager
def feed_by_processes(dataset: TaskDataset, plan: list[PlannedBatch], num_workers: int) -> Iterator[Iterator[Batch]]:
    """Give the batches of a plan as `feed` does, by the processes of torch's DataLoader."""
    loader: DataLoader[Any] = DataLoader(
        _Planned(dataset, plan), batch_size=None, num_workers=num_workers, multiprocessing_context="fork"
    )
    iterator = iter(loader)
    try:
        yield iterator
    finally:
        del iterator


class _Planned(torch.utils.data.Dataset[Batch]):
    """A plan as a dataset whose items are whole batches."""

    def __init__(self, dataset: TaskDataset, plan: list[PlannedBatch]) -> None:
        self.dataset, self.plan = dataset, plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, step: int) -> Batch:
        return self.plan[step].load(self.dataset)


def build_training_step(size: int) -> Step:
    """Return a step of a MobileNetV2 whose tasks share its first half, on this processor."""
    torch.manual_seed(0)
    backbone = get_backbone("mobilenet_v2")
    heads = {task.name: HeadSpec(True, task.channels) for task in TASKS}
    shared = len(backbone.layers) // 2
    routing_LT = [[0] * len(TASKS)] * shared + [list(range(len(TASKS)))] * (len(backbone.layers) - shared)
    network = BranchedNetwork(backbone, heads, 3, Branching.from_routing(tuple(heads), routing_LT)).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    losses = {task: build_loss(task) for task in TASKS}

    def step(batch: Batch) -> None:
        """Train on one batch."""
        assert batch["image"].shape[-1] == size
        optimiser.zero_grad(set_to_none=True)
        outputs = network(batch["image"])
        parts = [get_loss_weight(task) * loss(outputs[task.name], batch[task.name]) for task, loss in losses.items()]
        torch.stack(parts).sum().backward()
        optimiser.step()

    return step


def time_feeding(dataset: TaskDataset, step: Step, num_steps: int, batch_size: int, feeding: tuple[str, int]) -> Timing:
    """Return how a loop over a plan went; its first batch, for which nothing could be done ahead, is left out."""
    kind, num_workers = feeding
    clock, plan = WaitClock(), plan_batches(dataset, num_steps + 1, batch_size)
    opened = (
        feed_by_processes(dataset, plan, num_workers)
        if kind == "processes"
        else feed(dataset, plan, num_workers=num_workers, clock=clock)
    )
    with opened as batches:
        step(next(batches))
        clock.read()
        for _ in range(num_steps):
            if kind == "processes":
                with clock.waiting():
                    batch = next(batches)
            else:
                batch = next(batches)
            step(batch)
        waited_seconds, seconds = clock.read()
    return Timing(1000 * seconds / num_steps, waited_seconds / seconds, num_steps * batch_size / seconds)


def write_files(dataset: TaskDataset, num_samples: int, folder: Path) -> Path:
    """Return the dataset.yaml of the first samples written as a person's own files."""
    for name in ("image", *(task.name for task in TASKS)):
        (folder / name).mkdir()
    for index in range(num_samples):
        batch = dataset.batch([index])
        pictures = {"image": (batch["image"][0].permute(1, 2, 0) + 1) * 127.5}
        pictures |= {name: batch[name][0] for name in ("semseg", "parts")}
        pictures |= {name: batch[name][0, 0] for name in ("sal", "edge")}
        normals_HWC = batch["normals"][0].permute(1, 2, 0)
        pictures["normals"] = torch.where(normals_HWC == IGNORE_LABEL, 0.5, (normals_HWC + 1) / 2) * 255
        for name, picture in pictures.items():
            file = folder / name / f"s{index:03}.{'jpg' if name == 'image' else 'png'}"
            Image.fromarray(picture.round().to(torch.uint8).numpy()).save(file)
        depth_HW = batch["depth"][0, 0].numpy()
        np.save(folder / "depth" / f"s{index:03}.npy", np.where(depth_HW == IGNORE_LABEL, 0, depth_HW))
    names = [f"s{index:03}\n" for index in range(num_samples)]
    (folder / "train.txt").write_text("".join(names[:-1]))
    (folder / "val.txt").write_text(names[-1])
    (folder / "dataset.yaml").write_text(_MANIFEST)
    return folder / "dataset.yaml"


def open_dataset(manifest: Path, size: int, cache: Path, cache_bytes: int) -> tuple[FileDataset, float]:
    """Return the training samples of a dataset.yaml and the samples per second of opening it."""
    source = open_manifest(manifest)
    request = SplitRequest("train", source.info.tasks, source.info.num_train, InputForm((size, size)), augmented=True)
    start = time.perf_counter()
    dataset = open_files(source, request, cache_dir=cache, cache_bytes=cache_bytes)
    return dataset, len(dataset) / (time.perf_counter() - start)


def print_row(data: str, consumer: str, feeding: str, timing: Timing) -> None:
    """Print one row of the table."""
    print(
        f"{data:<22}{consumer:<14}{feeding:<14}{timing.step_ms:>9.0f}{100 * timing.waited:>9.1f}"
        f"{timing.samples_per_second:>12.1f}",
        flush=True,
    )


def run(arguments: argparse.Namespace, folder: Path) -> bool:
    """Return whether the loops of `feed` waited too long, after printing the table."""
    size, num_samples = arguments.size, arguments.samples
    spec = DataSpec(input_size=(size, size), num_train=num_samples, num_val=1, augment=True)
    scenes = load_data(DATASETS["scenes"], TASKS, spec, cache_dir=CACHE).train
    manifest = write_files(scenes, num_samples, folder)
    datasets: dict[str, TaskDataset] = {"scenes": scenes}
    openings = {}
    for name, cache_bytes in (("files, cached", 10**10), ("files, not cached", 0)):
        datasets[name], openings[name] = open_dataset(manifest, size, folder / name, cache_bytes)
    again = open_dataset(manifest, size, folder / "files, cached", 10**10)[1]
    workers = choose_num_workers(count_cores(), in_memory=False)
    feedings = (("plain loop", 0), ("threads", workers), ("processes", workers))
    steps: dict[str, tuple[Step, int]] = {
        f"{arguments.device_ms} ms": (lambda batch: time.sleep(arguments.device_ms / 1000), arguments.steps),
        "mobilenet_v2": (build_training_step(size), max(2, arguments.steps // 4)),
    }
    print(f"{'samples':<22}{'step':<14}{'fed by':<14}{'ms/step':>9}{'waited %':>9}{'samples/s':>12}")
    missed = False
    for data, dataset in datasets.items():
        for consumer, (step, num_steps) in steps.items():
            if consumer == "mobilenet_v2" and data != "scenes":
                continue
            for kind, num_workers in feedings:
                timing = time_feeding(dataset, step, num_steps, arguments.batch, (kind, num_workers))
                print_row(data, consumer, f"{kind}, {num_workers}" if num_workers else kind, timing)
                missed |= kind == "threads" and data != "files, not cached" and timing.waited > MOST_WAITED
    print(
        f"Opening files: {openings['files, cached']:.0f} samples/s the first time, {again:.0f} with all of them "
        f"cached, {openings['files, not cached']:.0f} without a cache."
    )
    return missed


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of the images, in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images per batch")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="steps of the device; the network takes a quarter")
    parser.add_argument("--device-ms", type=int, default=100, help="what a step takes where the processor is free")
    parser.add_argument("--threads", type=int, default=0, help="cores to use; 0 for all")
    return parser.parse_args()


def main() -> int:
    """Return 0 if loops wait less than they may, else 1, after printing the table."""
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(
        f"{arguments.batch} augmented scenes of {arguments.size}x{arguments.size} with six labels, {count_cores()} "
        f"core(s), torch {torch.__version__}."
    )
    with tempfile.TemporaryDirectory() as folder:
        missed = run(arguments, Path(folder))
    print(f"Fed by threads, steps may wait {100 * MOST_WAITED:.0f} % of their time{': MISSED' if missed else ''}.")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
