"""What the check of a dataset made of files found: faults in groups, statistics of labels; kept by their fingerprint.

A document, written where samples are read and shown where they are not: no numpy, no PIL.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from search.data.catalogue import TaskKind
from search.strict_json import read_strict_json

FINDINGS_FOLDER = "dataset-checks"
NUM_NAMED = 5
"""Samples that a group of faults names."""
Count = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    """Base of all parts: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FaultGroup(_Frozen):
    """Faults of one kind.

    Attributes:
        part: "image", the name of a task, or "dataset" for what no single sample is to blame for.
        example: The sentence on the first of them.
        num_samples: How many samples have such a fault.
        samples: The first of these.
    """

    part: str
    example: str
    num_samples: Count
    samples: tuple[str, ...]


class ClassCount(_Frozen):
    """How much of the labels a class takes: of labelled pixels, or of labelled samples where the class is a sample's.

    Attributes:
        name: Of the class.
        share: Share of all that is labelled, in [0, 1].
        num_samples: Samples in which it occurs.
    """

    name: str
    share: float
    num_samples: Count


class DepthRange(_Frozen):
    """Metres of a depth task: the smallest, the largest, and quantiles by their percentage."""

    smallest: float
    largest: float
    quantiles: Mapping[str, float]


class TaskFindings(_Frozen):
    """What the labels of one task are.

    Attributes:
        kind: Of the task.
        num_labelled: Samples with a label, by split.
        num_missing: Samples without one, by split; those with a broken one are neither.
        labelled_share: Share of the pixels of labelled samples that is not ignored; None for classes of samples.
        classes: Per class how much it takes, where the kind has classes.
        positive_share: Share of labelled pixels that is positive, for edges and saliency.
        metres: For depth, None where nothing is labelled.
    """

    kind: TaskKind
    num_labelled: Mapping[str, Count]
    num_missing: Mapping[str, Count]
    labelled_share: float | None = None
    classes: tuple[ClassCount, ...] = ()
    positive_share: float | None = None
    metres: DepthRange | None = None


class Findings(_Frozen):
    """What the check found.

    Attributes:
        dataset: Its name.
        definition: What it is defined as, hashed; None for one of the paper's.
        fingerprint: SHA-256 over the content of all its files.
        num_samples: Samples by split.
        num_faulty: Samples with any fault.
        faults: Those that forbid a training.
        remarks: What may be meant so, and may be a mistake.
        sizes: Images of each (H, W), the most frequent first; the rest is summed up under "other".
        tasks: By name.
    """

    format: Literal["bmtas-dataset-check"] = "bmtas-dataset-check"
    version: Literal[1] = 1
    dataset: str
    definition: str | None
    fingerprint: str
    num_samples: Mapping[str, Count]
    num_faulty: Count
    faults: tuple[FaultGroup, ...]
    remarks: tuple[str, ...]
    sizes: Mapping[str, Count]
    tasks: Mapping[str, TaskFindings]

    def to_json_bytes(self) -> bytes:
        """Return the findings as JSON."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def save_findings(findings: Findings, cache_dir: Path) -> None:
    """Keep findings below a cache folder, where `find_findings` looks.

    Raises:
        OSError: The folder cannot be written.
    """
    path = cache_dir / FINDINGS_FOLDER / _name(findings.dataset, findings.fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(findings.to_json_bytes())
    partial.replace(path)


def find_findings(cache_dir: Path, dataset: str, fingerprint: str) -> Findings | None:
    """Return what was found when the files of a dataset had this content; None where they were not checked."""
    found = _read(cache_dir / FINDINGS_FOLDER / _name(dataset, fingerprint))
    return found if found is not None and found.fingerprint == fingerprint else None


def _name(dataset: str, digest: str) -> str:
    """Return the name of the file of findings."""
    return f"{dataset}-{digest[:32]}.json"


def _read(path: Path) -> Findings | None:
    """Return findings from a file; None where there are none, or what another version wrote."""
    try:
        return read_strict_json(Findings, path.read_bytes())
    except (OSError, ValueError):
        return None
