"""A small dataset of a person's own, written into a folder: every kind of task, labels missing here and there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (20, 30)
"""(H, W) of all images."""
TRAIN = ("a", "b", "c", "d")
VAL = ("e", "f")
CLASSES = ("road", "person", "car")


def manifest_values(**changes: Any) -> dict[str, Any]:
    """Return what stands in the dataset.yaml, with changes at its top level; None takes a key out."""
    values: dict[str, Any] = {
        "name": "my-robot",
        "root": ".",
        "splits": {"train": "splits/train.txt", "val": "splits/val.txt"},
        "image": "images/{id}.png",
        "tasks": {
            "semseg": {"kind": "segmentation", "path": "semseg/{id}.png", "classes": CLASSES, "ignore": 255},
            "parts": {"kind": "parts", "path": "parts/{id}.npy", "classes": ["none", "arm"], "ignore": 9},
            "depth": {"kind": "depth", "path": "depth/{id}.npy", "scale": 0.001, "invalid": 0},
            "normals": {"kind": "normals", "path": "normals/{id}.png"},
            "edge": {"kind": "edge", "path": "edges/{id}.png", "positive_weight": 0.9},
            "sal": {"kind": "saliency", "path": "sal/{id}.png"},
            "scene": {"kind": "classification", "table": "labels.csv", "column": "scene", "classes": ["in", "out"]},
        },
        "input_size": [32, 32],
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def write_own_dataset(folder: Path, **changes: Any) -> Path:
    """Return the dataset.yaml of a dataset in a folder.

    Sample "b" has no semseg, "e" no depth, "c" an empty cell and "d" no row in the table.
    """
    for name in ("splits", "images", "semseg", "parts", "depth", "normals", "edges", "sal"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "splits/train.txt").write_text("".join(f"{sample}\n" for sample in TRAIN))
    (folder / "splits/val.txt").write_text("\n".join(VAL))
    (folder / "labels.csv").write_text("id,scene,other\na,in,1\nb,out,2\nc,,3\ne, out ,4\nf,in,5\n")
    for number, sample in enumerate((*TRAIN, *VAL)):
        _write_sample(folder, sample, number)
    (folder / "semseg/b.png").unlink()
    (folder / "depth/e.npy").unlink()
    file = folder / "dataset.yaml"
    file.write_text(json.dumps(manifest_values(**changes)))  # JSON is YAML
    return file


def _write_sample(folder: Path, sample: str, number: int) -> None:
    """Write the files of one sample, whose values follow from its number."""
    generator = np.random.default_rng(number)
    Image.fromarray(generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(folder / f"images/{sample}.png")
    semseg_HW = np.full(SIZE, number % 3, dtype=np.uint8)
    semseg_HW[0] = 255
    Image.fromarray(semseg_HW).save(folder / f"semseg/{sample}.png")
    parts_HW = np.ones(SIZE, dtype=np.int64)
    parts_HW[:, 0] = 9
    np.save(folder / f"parts/{sample}.npy", parts_HW)
    depth_HW = np.full(SIZE, 1500, dtype=np.uint16)
    depth_HW[1] = 0
    np.save(folder / f"depth/{sample}.npy", depth_HW)
    normals_HWC = np.full((*SIZE, 3), (128, 128, 255), dtype=np.uint8)
    normals_HWC[2] = 0
    Image.fromarray(normals_HWC).save(folder / f"normals/{sample}.png")
    edge_HW = np.zeros(SIZE, dtype=np.uint8)
    edge_HW[:, 5] = 255
    Image.fromarray(edge_HW).save(folder / f"edges/{sample}.png")
    Image.fromarray((edge_HW > 0).astype(np.uint8)).save(folder / f"sal/{sample}.png")
