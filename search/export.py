"""A trained network as a file for others: its tree as JSON, or the whole network as ONNX or pt2.

Every file is read back and compared with torch before it is handed out; the shell writes the bytes. It follows
retraining. Shapes: B batch, C H W image.
"""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search.architecture import Architecture, layers_of
from search.errors import ExportError

Format = Literal["json", "onnx", "pt2"]
FORMATS: tuple[Format, ...] = ("json", "onnx", "pt2")
INPUT_NAME = "image"
BATCH_SIZES = (1, 3)
MAX_RELATIVE_DIFFERENCE = 1e-4
_EXAMPLE_BATCH_SIZE = 2  # torch.export would take a batch of one for a constant
_Run = Callable[[Tensor], dict[str, Tensor]]


class _Restrictable(Protocol):
    """What an export asks of a network beyond being a module."""

    def restricted_to(self, tasks: Sequence[str]) -> nn.Module:
        """Return the network of fewer tasks."""
        ...


@dataclass(frozen=True)
class ExportResult:
    """One exported file, checked.

    Attributes:
        content: The bytes of the file.
        format: Its format.
        tasks: Its outputs, in order.
        max_abs_difference: Largest difference from torch over all outputs, in the outputs' own units.
        max_relative_difference: The same as a share of the largest magnitude of the output concerned.
        sha256: Hash of the bytes, in hexadecimal.
        opset: Version of ONNX's operators that a reader must know; None for other formats.
    """

    content: bytes
    format: Format
    tasks: tuple[str, ...]
    max_abs_difference: float
    max_relative_difference: float
    sha256: str
    opset: int | None = None


def export_network(
    network: nn.Module, architecture: Architecture, *, fmt: Format, tasks: Sequence[str] | None = None
) -> ExportResult:
    """Return a network as the bytes of a file that gave torch's outputs when it was read back.

    Args:
        network: The trained network in eval mode on the CPU; maps an image (B, C, H, W) to a tensor per task, and
            `network.restricted_to(tasks)` cuts it down.
        architecture: Its architecture.
        fmt: "json" (the tree alone, no weights), "onnx" or "pt2"; the last two take any batch size, and images of the
            architecture's input size.
        tasks: Export only the branches that these tasks need; None for all.

    Raises:
        ExportError: An unknown format or task, an exporter that fails, or outputs that differ from torch's by more
            than 1e-4 of their magnitude.
    """
    assert not network.training, "a network is exported in eval mode"
    if fmt not in FORMATS:
        raise ExportError(f"Unknown export format '{fmt}'. Choose one of: {', '.join(FORMATS)}.")
    kept = _resolve_tasks(architecture, tasks)
    if kept != architecture.tasks:
        network = cast(_Restrictable, network).restricted_to(kept)
        architecture = restrict_architecture(architecture, kept, network)
    ordered = _OrderedOutputs(network, kept).eval()
    with torch.no_grad():
        content, run = _WRITERS[fmt](ordered, architecture)
        absolute, relative = _measure_difference(ordered, run, architecture)
    if not relative <= MAX_RELATIVE_DIFFERENCE:
        raise ExportError(
            f"An exported network must give torch's outputs to {MAX_RELATIVE_DIFFERENCE:g} of their magnitude, got a "
            f"difference of {relative:.2g} in {fmt}. Export another format, and report this network as a fault."
        )
    opset = _read_opset(content) if fmt == "onnx" else None
    return ExportResult(content, fmt, kept, absolute, relative, hashlib.sha256(content).hexdigest(), opset)


def restrict_architecture(architecture: Architecture, tasks: Sequence[str], network: nn.Module) -> Architecture:
    """Return the architecture of the part of a tree that `tasks` need.

    Args:
        architecture: The whole tree.
        tasks: Tasks to keep.
        network: The network already cut down to them; its cost is counted.
    """
    branching = architecture.branching.restricted_to(tasks)
    return architecture.model_copy(
        update={
            "tasks": branching.tasks,
            "layers": layers_of(branching, architecture.layer_names),
            "heads": {task: architecture.heads[task] for task in branching.tasks},
            "madds": _count_madds(network, architecture),
            "params": sum(parameter.numel() for parameter in network.parameters()),
            "budget_madds": None,  # a budget of the whole tree says nothing about a part of it
        }
    )


class _OrderedOutputs(nn.Module):
    """A network whose outputs stand in a given order of tasks."""

    def __init__(self, network: nn.Module, tasks: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.tasks = tasks

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return every task's output, in order; the argument's name becomes the input's name in the file."""
        outputs = self.network(image)
        return {task: outputs[task] for task in self.tasks}


def _write_json(ordered: _OrderedOutputs, architecture: Architecture) -> tuple[bytes, _Run]:
    """Return the tree as JSON; as it holds no weights, what runs is the network itself."""
    content = architecture.to_json_bytes()
    if Architecture.from_json_bytes(content) != architecture:
        raise ExportError("The architecture does not survive being written as JSON. Report this as a fault.")
    return content, ordered


def _write_onnx(ordered: _OrderedOutputs, architecture: Architecture) -> tuple[bytes, _Run]:
    """Return the network as ONNX, and ONNX Runtime on the CPU to run it."""
    if INPUT_NAME in ordered.tasks:
        raise ExportError(f"The input is called '{INPUT_NAME}' in ONNX, so no task may be. Export pt2, or rename it.")
    with _quiet(), _explain("ONNX"):
        program = torch.onnx.export(
            ordered,
            (_example(architecture),),
            input_names=[INPUT_NAME],
            output_names=list(ordered.tasks),
            dynamic_shapes={INPUT_NAME: {0: torch.export.Dim("batch", min=1)}},
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(image_BCHW: Tensor) -> dict[str, Tensor]:
        """Return ONNX Runtime's outputs by their names in the file."""
        names = [output.name for output in session.get_outputs()]
        arrays = session.run(names, {INPUT_NAME: image_BCHW.numpy()})
        return {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}

    return content, run


def _write_pt2(ordered: _OrderedOutputs, architecture: Architecture) -> tuple[bytes, _Run]:
    """Return the network as a torch.export archive, and the program that torch reads back from it."""
    with _quiet(), _explain("pt2"):
        program = torch.export.export(
            ordered,
            (_example(architecture),),
            dynamic_shapes={INPUT_NAME: {0: torch.export.Dim("batch", min=1)}},
        )
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        # Loading a foreign archive can run code; these bytes were written two lines above.
        loaded = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    return buffer.getvalue(), cast(_Run, loaded)


_WRITERS: dict[Format, Callable[[_OrderedOutputs, Architecture], tuple[bytes, _Run]]] = {
    "json": _write_json,
    "onnx": _write_onnx,
    "pt2": _write_pt2,
}


def _read_opset(content: bytes) -> int:
    """Return the version of the standard operators that an ONNX file was written for."""
    imported = onnx.load_model_from_string(content).opset_import
    return int(next(entry.version for entry in imported if not entry.domain))


def _measure_difference(reference: nn.Module, run: _Run, architecture: Architecture) -> tuple[float, float]:
    """Return the largest absolute and relative difference of two networks over random images of several batch sizes."""
    generator = torch.Generator().manual_seed(0)
    absolute = relative = 0.0
    for batch_size in BATCH_SIZES:
        image_BCHW = _example(architecture, batch_size, generator)
        expected: Mapping[str, Tensor] = reference(image_BCHW)
        got = run(image_BCHW)
        if list(got) != list(expected):
            raise ExportError(
                f"The exported outputs must be {list(expected)}, got {list(got)}. Report this as a fault."
            )
        for task, output in expected.items():
            if got[task].shape != output.shape:
                raise ExportError(
                    f"Output '{task}' must have shape {tuple(output.shape)} for a batch of {batch_size}, got "
                    f"{tuple(got[task].shape)}. Report this network as a fault."
                )
            difference = (got[task].double() - output.double()).abs().max().item()
            scale = output.double().abs().max().item()
            absolute = max(absolute, difference)
            relative = max(relative, difference / scale if scale > 0 else difference)
            if not difference < float("inf"):  # NaN compares false with everything, also in max()
                raise ExportError(f"Output '{task}' is not finite. Retrain the network before exporting it.")
    return absolute, relative


def _count_madds(network: nn.Module, architecture: Architecture) -> int:
    """Return the multiply-adds of one image through convolutions and linear layers."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(_example(architecture, 1))
    return int(counter.get_total_flops()) // 2  # torch counts a multiply-add twice


def _example(
    architecture: Architecture, batch_size: int = _EXAMPLE_BATCH_SIZE, generator: torch.Generator | None = None
) -> Tensor:
    """Return random images (B, C, H, W) of the architecture's input size."""
    return torch.randn(batch_size, architecture.image_channels, *architecture.input_size, generator=generator)


def _resolve_tasks(architecture: Architecture, tasks: Sequence[str] | None) -> tuple[str, ...]:
    """Return the tasks to export in the architecture's order."""
    if tasks is None:
        return architecture.tasks
    repeated = sorted({task for task in tasks if list(tasks).count(task) > 1})
    unknown = [task for task in tasks if task not in architecture.tasks]
    if not tasks or repeated or unknown:
        raise ExportError(
            f"Tasks to export must be distinct tasks of the network ({', '.join(architecture.tasks)}), got "
            f"{', '.join(tasks) or 'none'}."
        )
    return tuple(task for task in architecture.tasks if task in tasks)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence deprecations inside torch and onnxscript, torch's log, and the graphs it prints when an export fails."""
    disabled_before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            for category in (DeprecationWarning, FutureWarning):
                warnings.filterwarnings("ignore", category=category)
            yield
    finally:
        logging.disable(disabled_before)


@contextmanager
def _explain(name: str) -> Iterator[None]:
    """Turn an exporter's failure into a sentence."""
    try:
        yield
    except (RuntimeError, TypeError, NotImplementedError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(
            f"The network cannot be written as {name}: {first_line[:300]}. Export another format."
        ) from error
