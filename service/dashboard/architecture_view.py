"""A network at rest for its page: figures against the single-task networks, files, exports, snippet, neighbours. Pure.

`architecture_page` reads the store and shows what is made here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.records.jobs import FileRecord, JobRecord
from db.records.results import ArchitectureRecord, FrontRow
from search.architecture import Architecture
from search.costs.cost_table import compute_costs
from search.data.catalogue import TaskInfo
from search.results import StudyCosts
from service.dashboard.formats import count, figure, signed
from service.pages.tree.words import format_share

_PICTURE = re.compile(r"predictions(?:-([A-Za-z0-9_]{1,60}))?\.png", re.ASCII)
_EVEN_PERCENT = 0.05  # a gain nearer to zero than this is called even
ARROWS = {"good": "▲", "bad": "▼", "even": "="}
MAX_RIVALS = 12


@dataclass(frozen=True)
class Gain:
    """A figure of the network beside that of the single-task network; `tone` is "good", "bad", "even" or ""."""

    name: str
    value: str
    single: str
    gain: str = ""
    tone: str = ""

    @property
    def words(self) -> str:
        """Return the gain with a sign and a mark that need no colour."""
        return f"{ARROWS[self.tone]} {self.gain}" if self.tone else ""


@dataclass(frozen=True)
class TaskRow:
    """The metric of a task, the figures usually told beside it, and below it those of its classes."""

    task: str
    kind: str
    metric: str
    higher_is_better: bool
    gain: Gain
    classes: tuple[Gain, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Station:
    """One copy of a layer in the table of figures."""

    layer: str
    tasks: str
    madds: str
    params: str
    share: str
    so_far: str


def read_architecture(record: ArchitectureRecord) -> Architecture:
    """Return the architecture of a record."""
    return Architecture.model_validate_json(json.dumps(dict(record.document)))


def compute_tree_costs(architecture: Architecture) -> StudyCosts:
    """Return what the parts of a tree cost; its dataset need not be known."""
    tasks = [TaskInfo(name, head.kind, head.channels) for name, head in architecture.heads.items()]
    costs = compute_costs(architecture.backbone, tasks, architecture.input_size, architecture.image_channels)
    return StudyCosts.of(costs)


def list_task_rows(architecture: Architecture, metrics: Mapping[str, Any], single: Mapping[str, Any]) -> list[TaskRow]:
    """Return a row per task that was measured.

    Args:
        architecture: The tree.
        metrics: Per task {metric, value, higher_is_better} and, where they were kept, "details".
        single: The same of the single-task networks; empty where they are not trained.
    """
    rows = []
    for task in architecture.tasks:
        if task not in metrics:
            continue
        own, base = metrics[task], single.get(task, {})
        higher = bool(own.get("higher_is_better", True))
        rows.append(
            TaskRow(
                task=task,
                kind=architecture.heads[task].kind,
                metric=str(own.get("metric", "")),
                higher_is_better=higher,
                gain=compare(task, own.get("value"), base.get("value"), higher_is_better=higher),
                classes=tuple(_list_classes(own, base, higher_is_better=higher)),
                beside=tuple(_list_side_figures(own)),
            )
        )
    return rows


def compare(name: str, value: float | None, single: float | None, *, higher_is_better: bool) -> Gain:
    """Return a figure beside its reference, and the relative gain in percent, more being better."""
    known = _is_finite(value) and _is_finite(single)
    if not known or value is None or not single:
        return Gain(name, figure(value), figure(single))
    gain = 100 * (value - single) / abs(single) * (1 if higher_is_better else -1)
    tone = "even" if abs(gain) < _EVEN_PERCENT else "good" if gain > 0 else "bad"
    return Gain(name, figure(value), figure(single), f"{signed(gain, 1)} %", tone)


def _list_classes(own: Mapping[str, Any], base: Mapping[str, Any], *, higher_is_better: bool) -> Iterator[Gain]:
    """Yield the metric of each class of a task, where they were measured."""
    theirs = {row["name"]: row["value"] for row in (base.get("details") or {}).get("per_class", ())}
    for row in (own.get("details") or {}).get("per_class", ()):
        yield compare(row["name"], row["value"], theirs.get(row["name"]), higher_is_better=higher_is_better)


def _list_side_figures(own: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures that are usually told beside the metric of a task."""
    for row in (own.get("details") or {}).get("figures", ()):
        yield f"{row['name']} {figure(row['value'])} {row.get('unit', '')}".rstrip()


def list_stations(architecture: Architecture, costs: StudyCosts) -> list[Station]:
    """Return every copy of every layer with what it costs, from the stem on."""
    so_far = costs.stem_madds
    stations = []
    for index, layer in enumerate(architecture.layers):
        madds = costs.layer_madds[index]
        for group in layer.groups:
            so_far += madds
            stations.append(
                Station(
                    layer=layer.name,
                    tasks=" + ".join(group),
                    madds=count(madds),
                    params=count(costs.layer_params[index]) if costs.layer_params else "",
                    share=format_share(madds, architecture.madds),
                    so_far=count(so_far, architecture.madds),
                )
            )
    return stations


def list_pictures(files: Sequence[FileRecord]) -> list[tuple[str, str]]:
    """Return (name of the file, task) of the pictures that a trial left; the task is "" for the sheet of all tasks."""
    matches = [_PICTURE.fullmatch(file.name) for file in files]
    return sorted((match[0], match[1] or "") for match in matches if match is not None)


def find_file(files: Sequence[FileRecord], name: str) -> FileRecord | None:
    """Return the file of a name, or None."""
    return next((file for file in files if file.name == name), None)


def list_provenance(record: ArchitectureRecord, architecture: Architecture) -> list[tuple[str, str, bool]]:
    """Return (what, value, whether it is code) of what names this network, to find it or to make it again."""
    origin = architecture.provenance
    return [
        ("dataset", origin.dataset, False),
        ("dataset fingerprint", origin.dataset_fingerprint, True),
        ("backbone", f"{architecture.backbone}, {len(architecture.layers)} layers", False),
        ("seed", str(origin.seed), False),
        ("objective", origin.objective, False),
        ("spec hash", origin.spec_hash, True),
        ("tree fingerprint", record.fingerprint, True),
        ("code version", origin.code_version, False),
        ("owner", record.owner, False),
    ]


def write_snippet(architecture: Architecture, file_name: str) -> str:
    """Return the lines of Python that load the ONNX file and name its outputs in the order of the tasks."""
    shape = (1, architecture.image_channels, *architecture.input_size)
    outputs = [
        f"# {_comment(task)}: {head.kind}, "
        + (f"(N, {head.channels}) scores" if head.kind == "classification" else f"(N, {head.channels}, H, W)")
        for task, head in architecture.heads.items()
    ]
    return "\n".join(
        [
            "import numpy as np",
            "import onnxruntime",
            "",
            f"tasks = {json.dumps(list(architecture.tasks), ensure_ascii=True)}",
            f'session = onnxruntime.InferenceSession("{file_name}", providers=["CPUExecutionProvider"])',
            f"images = np.zeros({shape}, dtype=np.float32)  # N, C, H, W, normalised as in training",
            'outputs = dict(zip(tasks, session.run(tasks, {"image": images})))',
            *outputs,
        ]
    )


def list_rivals(record: ArchitectureRecord, rows: Sequence[FrontRow]) -> list[FrontRow]:
    """Return other networks of the study to compare with: those of the nearest cost, the cheapest first."""
    others = [row for row in rows if row.id != record.id]
    near = sorted(others, key=lambda row: abs(row.madds - record.madds))[:MAX_RIVALS]
    return sorted(near, key=lambda row: (row.madds, row.name))


def describe_export(job: JobRecord, result: Mapping[str, Any] | None, tasks: Sequence[str]) -> dict[str, Any]:
    """Return an export as its row shows it; its "tasks" are "" where it holds all `tasks` of the network."""
    kept = job.spec.get("tasks") or ()
    found = result or {}
    difference = found.get("largest_difference")
    return {
        "id": job.id,
        "format": str(job.spec.get("format", "")),
        "tasks": "" if set(kept) >= set(tasks) else ", ".join(kept),
        "state": job.state.value,
        "message": job.message,
        "progress": job.progress,
        "bytes": found.get("bytes"),
        "sha256": str(found.get("sha256", "")),
        "opset": found.get("opset"),
        "difference": "" if difference is None else f"{difference:.1e}",
    }


def _comment(text: str) -> str:
    """Return a name that stays on its line of a comment."""
    return " ".join(text.split())


def _is_finite(value: float | None) -> bool:
    """Return whether a figure is known."""
    return value is not None and math.isfinite(value)
