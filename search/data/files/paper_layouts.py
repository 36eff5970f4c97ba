"""The folders of the paper's two datasets: their lists, which layout lies there, and the facts that follow.

`pascal_context` and `nyud` read the samples. No numpy and no images, since whoever names a dataset asks here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from search.data.catalogue import DATASETS, DatasetInfo, TaskInfo
from search.data.files.sample_lists import read_sample_list
from search.data.reading.places import resolve_inside
from search.errors import DatasetError

PASCAL_CONTEXT, NYUD = "pascal_context", "nyud"
PAPER_FOLDERS = {PASCAL_CONTEXT: "PASCAL_MT", NYUD: "NYUD_MT"}
"""Folder of each of them below the datasets folder."""

PAPER_CONTENTS = {
    PASCAL_CONTEXT: (
        "JPEGImages/ID.jpg, ImageSets/Context/train.txt and val.txt (one ID a line), semseg/VOC12/ID.png or "
        "semseg/pascal-context/ID.png, human_parts/ID.mat, normals_distill/ID.png, sal_distill/ID.png and "
        "pascal-context/trainval/ID.mat"
    ),
    NYUD: (
        "images/ID.jpg, gt_sets/train.txt and val.txt (one ID a line), and either segmentation/ID.mat, normals/ID.jpg, "
        "depth/ID.mat and edge/ID.png, or segmentation/ID.png, normals/ID.npy, depth/ID.npy and edge/ID.npy"
    ),
}
"""What each folder must hold, for messages."""

NyudLayout = Literal["A", "B"]
NYUD_FILES: Mapping[NyudLayout, Mapping[str, str]] = {
    "A": {
        "semseg": "segmentation/{id}.mat",
        "normals": "normals/{id}.jpg",
        "edge": "edge/{id}.png",
        "depth": "depth/{id}.mat",
    },
    "B": {
        "semseg": "segmentation/{id}.png",
        "normals": "normals/{id}.npy",
        "edge": "edge/{id}.npy",
        "depth": "depth/{id}.npy",
    },
}
"""Labels of each task in the two public layouts of NYUD-v2."""

_LISTS = {PASCAL_CONTEXT: "ImageSets/Context/{split}.txt", NYUD: "gt_sets/{split}.txt"}


def read_paper_lists(name: str, root: Path) -> dict[str, tuple[str, ...]]:
    """Return the samples of "train" and "val" of one of the paper's datasets.

    Raises:
        DatasetError: A list is missing or not usable, or a sample stands in both.
    """
    lists = {split: read_sample_list(root, _LISTS[name].format(split=split)) for split in ("train", "val")}
    both = sorted(set(lists["train"]) & set(lists["val"]))
    if both:
        raise DatasetError(
            f"A sample belongs to one split, but {len(both)} stand in both lists of '{name}' in {root}, such as "
            f"{both[0]!r}. Unpack the dataset anew."
        )
    return lists


def find_nyud_layout(root: Path, sample_id: str) -> NyudLayout:
    """Return which of the two public layouts of NYUD-v2 lies in a folder, judged by the files of one sample.

    Raises:
        DatasetError: Neither, or some of both.
    """
    found: dict[NyudLayout, list[str]] = {"A": [], "B": []}
    for layout, patterns in NYUD_FILES.items():
        for pattern in patterns.values():
            relative = pattern.format(id=sample_id)
            if resolve_inside(root, relative).is_file():
                found[layout].append(relative)
    recognised = [layout for layout, seen in found.items() if seen]
    if len(recognised) == 1:
        return recognised[0]
    seen = ", ".join(found["A"] + found["B"]) or "none of them"
    raise DatasetError(
        f"A folder of NYUD-v2 holds {PAPER_CONTENTS[NYUD]}. For the first sample, {root} holds {seen}. "
        f"Unpack one of the two archives anew."
    )


def describe_paper_dataset(name: str, root: Path) -> DatasetInfo:
    """Return the facts of one of the paper's datasets as it lies in a folder.

    Where it differs from the catalogue, by other lists or by NYUD-v2's layout B, which has no class for the
    background, its `definition` says so.

    Raises:
        DatasetError: Its lists are not usable, or no layout is recognised.
    """
    info, lists = DATASETS[name], read_paper_lists(name, root)
    layout = find_nyud_layout(root, lists["train"][0]) if name == NYUD else "A"
    num_train, num_val = len(lists["train"]), len(lists["val"])
    if layout == "A" and (num_train, num_val) == (info.num_train, info.num_val):
        return info
    said = json.dumps([name, layout, lists], sort_keys=True)
    return replace(
        info,
        tasks=tuple(_without_background(task) for task in info.tasks) if layout == "B" else info.tasks,
        num_train=num_train,
        num_val=num_val,
        definition=hashlib.sha256(said.encode()).hexdigest(),
    )


def _without_background(task: TaskInfo) -> TaskInfo:
    """Return a task whose first class is not counted any more, others as they are."""
    if task.kind != "segmentation":
        return task
    return replace(task, channels=task.channels - 1, class_names=task.class_names[1:])
