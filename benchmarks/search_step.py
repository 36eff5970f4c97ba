"""Seconds and peak memory of the search's two updates, against a plain twin and against the ideal.

The twin (`plain_twin.py`) does the paper's work literally; the ideal trains one branched network whose second half is
split. All run in turns in one process, from the same weights. Run `python benchmarks/search_step.py [--threads 2]`; it
exits with 1 if the losses of default and twin from the same state differ by more than 1e-4.
Shapes: B batch, L layers, T tasks, K ops per layer.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from plain_twin import PlainSupergraph, update_logits_plainly, update_weights_plainly
from torch import Tensor, nn

from models.backbones import get_backbone
from models.blocks import set_dropout
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from models.supergraph import Supergraph, find_active_ops
from search.data.catalogue import DATASETS, TaskInfo
from search.judging.losses import Loss
from search.judging.tasks import build_loss
from search.method.relaxation import identity_mix, sample_mix, thin_mix

LARGEST_GAP = 1e-4
THIN_BELOW = 0.2  # as in search.method.bilevel
ROWS = (  # (row of the table, temperature, thinned); the presets smoke and quick thin, the preset paper does not
    ("warm-up", 0.0, False),
    ("start, soft", 5.0, False),
    ("middle, thin", 0.707, True),
    ("end, thin", 0.1, True),
)
VARIANTS = ("default", "plain", "ideal")


@dataclass
class Setting:
    """One number of tasks: networks, optimisers and a batch.

    Attributes:
        network: The supergraph as the search uses it.
        plain: Its twin.
        ideal: A branched network: the first half of the layers shared, the rest split.
        batch: Images and labels.
        losses: Loss per task.
        initial: The weights from which every update starts.
        logits_LTK: All zero, the undecided search.
        weight_decay: Of the weights; the twin's idle ops have zero gradients, not none, so it alone lets them decay.
    """

    network: Supergraph
    plain: PlainSupergraph
    ideal: BranchedNetwork
    batch: dict[str, Tensor]
    losses: dict[str, Loss]
    initial: dict[str, Tensor]
    logits_LTK: Tensor
    weight_decay: float
    optimisers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)

    def restore(self) -> None:
        """Bring all networks and optimisers back to where every update starts."""
        self.network.load_state_dict(self.initial)
        self.plain.load_state_dict(self.initial)
        for name, network in (("default", self.network), ("plain", self.plain), ("ideal", self.ideal)):
            network.zero_grad(set_to_none=True)
            self.optimisers[name] = torch.optim.SGD(
                network.parameters(), lr=0.005, momentum=0.9, weight_decay=self.weight_decay
            )
        with torch.no_grad():
            self.logits_LTK.zero_()
        self.optimisers["logits"] = torch.optim.Adam([self.logits_LTK], lr=0.01, weight_decay=5e-5)

    def draw_mix(self, temperature: float, thinned: bool) -> Tensor:
        """Return the same mix_LTK at every call, with its graph down to the logits; temperature 0 is the warm-up."""
        num_layers, num_tasks, _ = self.logits_LTK.shape
        if temperature == 0:
            return torch.stack([identity_mix(num_layers, num_tasks, task) for task in range(num_tasks)], dim=1)
        generator = torch.Generator().manual_seed(1)
        mix_LTK = sample_mix(self.logits_LTK, temperature, generator)
        return thin_mix(mix_LTK, THIN_BELOW, generator) if thinned else mix_LTK


def draw_label(task: TaskInfo, shape_BHW: tuple[int, int, int]) -> Tensor:
    """Return random labels in the form of a task's kind."""
    batch, height, width = shape_BHW
    if task.kind in ("segmentation", "parts"):
        return torch.randint(task.channels, shape_BHW)
    noise = torch.randn(batch, task.channels, height, width)
    if task.kind == "normals":
        return nn.functional.normalize(noise, dim=1)
    return noise.abs() if task.kind == "depth" else (noise > 1).float()


def build_setting(num_tasks: int, arguments: argparse.Namespace, *, double: bool = False) -> Setting:
    """Return networks with equal weights and a batch for the first tasks of `scenes`; small and exact if double."""
    size, batch_size, dtype = arguments.size, arguments.batch, torch.float64 if double else torch.float32
    if double:
        size, batch_size = min(size, 32), 4
    torch.manual_seed(0)
    backbone, tasks = get_backbone(arguments.backbone), DATASETS["scenes"].tasks[:num_tasks]
    heads = {task.name: HeadSpec(True, task.channels) for task in tasks}
    shared = len(backbone.layers) // 2
    routing_LT = [[0] * num_tasks] * shared + [list(range(num_tasks))] * (len(backbone.layers) - shared)
    networks = (
        Supergraph(backbone, heads, 3),
        PlainSupergraph(backbone, heads, 3),
        BranchedNetwork(backbone, heads, 3, Branching.from_routing(tuple(heads), routing_LT)),
    )
    for network in networks:
        set_dropout(network.to(arguments.device, dtype).train(), 0.0)
    shape = (batch_size, size, size)
    labels = {task.name: draw_label(task, shape) for task in tasks}
    batch = {"image": torch.randn(batch_size, 3, size, size, dtype=dtype), **labels}
    setting = Setting(
        *networks,
        batch={name: tensor.to(arguments.device) for name, tensor in batch.items()},
        losses={task.name: build_loss(task) for task in tasks},
        initial=copy.deepcopy(networks[0].state_dict()),
        logits_LTK=torch.zeros(len(backbone.layers), num_tasks, num_tasks, requires_grad=True),
        weight_decay=0.0 if double else 1e-4,
    )
    setting.restore()
    return setting


def update_weights(setting: Setting, mix_LTK: Tensor) -> list[float]:
    """Return the losses of one weight update as `search.method.bilevel` makes it."""
    seen, optimiser = [], setting.optimisers["default"]
    image_BCHW = setting.batch["image"]
    for position, (task, loss_of) in enumerate(setting.losses.items()):
        mix_LK = mix_LTK[:, position].detach()
        optimiser.zero_grad(set_to_none=True)
        output = setting.network(image_BCHW, task, mix_LK.to(image_BCHW.device), find_active_ops(mix_LK))
        loss = loss_of(output, setting.batch[task])
        loss.backward()
        optimiser.step()
        seen.append(float(loss.detach()))
    return seen


def update_logits(setting: Setting, mix_LTK: Tensor) -> list[float]:
    """Return the losses of one architecture update as `search.method.bilevel` makes it, but for the resource term."""
    seen, image_BCHW = [], setting.batch["image"]
    with torch.no_grad():
        stem_BCHW = setting.network.stem(image_BCHW)
    slopes_LTK = torch.zeros_like(mix_LTK)
    for position, (task, loss_of) in enumerate(setting.losses.items()):
        mix_LK = mix_LTK[:, position].detach().to(image_BCHW.device).requires_grad_()
        active = find_active_ops(mix_LTK[:, position])
        output = setting.network.forward_from_stem(stem_BCHW, task, mix_LK, active, image_BCHW.shape[-2:])
        loss = loss_of(output, setting.batch[task])
        slopes_LTK[:, position] = torch.autograd.grad(loss, mix_LK)[0].cpu()
        seen.append(float(loss.detach()))
    setting.optimisers["logits"].zero_grad()
    mix_LTK.backward(slopes_LTK)
    setting.optimisers["logits"].step()
    return seen


def update_ideal(setting: Setting) -> list[float]:
    """Return the losses of one training step of the branched network on all tasks at once."""
    optimiser = setting.optimisers["ideal"]
    optimiser.zero_grad(set_to_none=True)
    outputs = setting.ideal(setting.batch["image"])
    losses = [loss_of(outputs[task], setting.batch[task]) for task, loss_of in setting.losses.items()]
    torch.stack(losses).sum().backward()
    optimiser.step()
    return [float(loss.detach()) for loss in losses]


def run_update(setting: Setting, variant: str, update: str, mix_LTK: Tensor) -> list[float]:
    """Return the losses of one update of one variant."""
    if variant == "ideal":
        return update_ideal(setting)
    if variant == "default":
        return (update_weights if update == "weights" else update_logits)(setting, mix_LTK)
    optimisers, mix_LTK = setting.optimisers, mix_LTK.to(setting.batch["image"].device)
    if update == "weights":
        return update_weights_plainly(
            setting.plain, optimisers["plain"], setting.batch, setting.losses, mix_LTK.detach()
        )
    return update_logits_plainly(setting.plain, optimisers["logits"], setting.batch, setting.losses, mix_LTK)


def name_clock(arguments: argparse.Namespace) -> str:
    """Return which seconds are taken: with one CPU thread the process's own, to leave other programs out."""
    return "CPU" if (arguments.device, arguments.threads) == ("cpu", 1) else "Wall"


def measure(run: Callable[[], list[float]], arguments: argparse.Namespace) -> tuple[float, list[float]]:
    """Return the seconds of an update and its losses."""
    clock = time.process_time if name_clock(arguments) == "CPU" else time.perf_counter
    start = clock()
    losses = run()
    if arguments.device != "cpu":
        torch.cuda.synchronize()
    return clock() - start, losses


def find_gap(seen: Sequence[float], wanted: Sequence[float]) -> float:
    """Return the largest relative difference of two lists of losses."""
    return max(abs(a - b) / max(abs(b), 1e-12) for a, b in zip(seen, wanted, strict=True))


def measure_setting(num_tasks: int, arguments: argparse.Namespace) -> tuple[dict[tuple[str, str], list[float]], float]:
    """Return the seconds of every (row, update) in turns, and the largest gap between default and twin.

    The twin's work does not depend on the mix, so it is timed once per turn, on the soft one. The gap is that of losses
    from equal weights: of all tasks in an architecture update, of the first in a weight update.
    """
    setting, gap = build_setting(num_tasks, arguments), 0.0
    seconds: dict[tuple[str, str], list[float]] = {}

    def time_one(row: str, variant: str, update: str, mix_LTK: Tensor) -> list[float]:
        """Return the losses of an update after noting its seconds."""
        spent, losses = measure(lambda: run_update(setting, variant, update, mix_LTK), arguments)
        seconds.setdefault((row, update), []).append(spent)
        return losses

    for variant in VARIANTS:  # the first call of a kernel is slow
        run_update(setting, variant, "weights", setting.draw_mix(0.0, False))
    for _ in range(arguments.rounds):
        for update in ("weights", "logits"):
            for row, temperature, thinned in ROWS:
                if (row, update) == ("warm-up", "logits"):
                    continue
                setting.restore()
                losses = time_one(row, "default", update, setting.draw_mix(temperature, thinned))
                if row == "start, soft":
                    setting.restore()
                    plain = time_one("plain", "plain", update, setting.draw_mix(temperature, thinned))
                    compared = 1 if update == "weights" else num_tasks
                    gap = max(gap, find_gap(losses[:compared], plain[:compared]))
        setting.restore()
        time_one("ideal", "ideal", "weights", setting.logits_LTK)
    return seconds, gap


def measure_double_gap(num_tasks: int, arguments: argparse.Namespace) -> float:
    """Return the largest gap in float64: from equal weights at every mix, and over a whole update at the soft one.

    In float32 a rounding error of 1e-7 before the first task's step may be 1e-3 after the fourth's, for any two ways of
    summing; here it has no room to grow, so a gap would be a mistake. At thinned mixes whole updates differ by design:
    the twin moves idle ops by momentum and weight decay.
    """
    setting, gap = build_setting(num_tasks, arguments, double=True), 0.0
    for row, temperature, thinned in ROWS:
        for update in ("logits", "weights") if row == "start, soft" else ("logits",):
            losses = []
            for variant in ("default", "plain"):
                setting.restore()
                mix_LTK = setting.draw_mix(temperature, thinned)
                losses.append(run_update(setting, variant, update, mix_LTK.detach().requires_grad_()))
            gap = max(gap, find_gap(*losses))
    return gap


def peak_bytes(device: str) -> int:
    """Return the largest memory that this process has held so far: resident on a CPU, allocated on a GPU."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    # Not getrusage: a child inherits its parent's peak there.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def print_memory(arguments: argparse.Namespace) -> None:
    """Print the bytes that one update adds to the peak of a process that holds its network and a batch already."""
    num_tasks, variant, update = arguments.memory
    setting = build_setting(int(num_tasks), arguments)
    before = peak_bytes(arguments.device)
    run_update(setting, variant, update, setting.draw_mix(5.0, False))
    print(peak_bytes(arguments.device) - before)


def measure_memory(num_tasks: int, variant: str, update: str, arguments: argparse.Namespace) -> float:
    """Return the MiB that an update takes, measured in a process of its own."""
    options = [f"--{name}={getattr(arguments, name)}" for name in ("size", "batch", "backbone", "device", "threads")]
    command = [sys.executable, __file__, *options, "--memory", str(num_tasks), variant, update]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 2**20


def print_setting(num_tasks: int, arguments: argparse.Namespace) -> float:
    """Return the largest gap after printing the rows of one number of tasks."""
    memory = {
        (variant, update): measure_memory(num_tasks, variant, update, arguments)
        for variant in VARIANTS
        for update in ("weights", "logits")
        if (variant, update) != ("ideal", "logits")
    }
    seconds, gap = measure_setting(num_tasks, arguments)
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    ideal = medians["ideal", "weights"]
    for (row, update), default in medians.items():
        if row in VARIANTS:
            continue
        plain = medians["plain", update]
        mebibytes = (memory["default", update], memory["plain", update], memory["ideal", "weights"])
        cells = [f"{value:.0f}" for value in mebibytes] if row == "start, soft" else [""] * 3
        print(
            f"{num_tasks:>2}  {update:<8}{row:<13}{default:>9.3f}{plain:>9.3f}{ideal:>9.3f}"
            f"{plain / default:>15.2f}{default / ideal:>15.1f}{cells[0]:>9}{cells[1]:>7}{cells[2]:>7}",
            flush=True,
        )
    return gap


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 4, 5], help="numbers of tasks, 2 to 6")
    parser.add_argument("--size", type=int, default=128, help="side of the images, in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images per batch")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2, help="turns; the table shows medians")
    parser.add_argument(
        "--check-all", action="store_true", help="compare the losses at every mix, not the soft one only"
    )
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Return 0 if default and twin agree, else 1, after printing the table."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        print_memory(arguments)
        return 0
    start = time.perf_counter()
    print(
        f"{arguments.backbone}, {arguments.batch} images of {arguments.size}x{arguments.size}, {arguments.device}, "
        f"{arguments.threads} thread(s), torch {torch.__version__}, medians of {arguments.rounds} turns.\n"
        f"{name_clock(arguments)} seconds per update (one batch, all tasks), and MiB that an update adds to the peak "
        "of a fresh process (resident; on a GPU, allocated)."
    )
    print(
        f"{'T':>2}  {'update':<8}{'mix':<13}{'default':>9}{'plain':>9}{'ideal':>9}{'plain/default':>15}"
        f"{'default/ideal':>15}{'MiB':>9}{'plain':>7}{'ideal':>7}"
    )
    gap = max(print_setting(num_tasks, arguments) for num_tasks in arguments.tasks)
    double_gap = measure_double_gap(2, arguments)
    missed = max(gap, double_gap) > LARGEST_GAP
    print(
        f"Losses of default and twin differ by {gap:.1e} at most from the same state, by {double_gap:.1e} in float64 "
        f"(whole updates, two tasks); the limit is {LARGEST_GAP:g}{', MISSED' if missed else ''}.\n"
        f"{time.perf_counter() - start:.0f} seconds in all."
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
