"""Small trees in the layouts of the paper's datasets, every value of them known."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

SIZE = (20, 30)
"""(H, W) of every image."""
CONTEXT_CLASSES = {"sky": 360, "person": 284, "aeroplane": 2, "tvmonitor": 427, "none": 0}
TILT = np.array([160, 90, 210], np.uint8)
"""A normal in eight bits."""


def save_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write a JPEG, PNG or .npy file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".jpg":
        Image.fromarray(array).save(path, quality=100, subsampling=0)
    else:
        Image.fromarray(array).save(path)


def save_variable(path: Path, name: str, value: object) -> None:
    """Write a MATLAB file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {name: value}, do_compression=True)


def save_lists(folder: Path, train: tuple[str, ...], val: tuple[str, ...]) -> None:
    """Write the lists of both splits."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in train))
    (folder / "val.txt").write_text("".join(f"{name}\n" for name in val))


def paint_image(seed: int) -> NDArray[np.uint8]:
    """Return an image without any structure."""
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def halves(left: int, right: int, dtype: str = "uint8") -> NDArray[Any]:
    """Return one value in columns 0 to 14 and another in columns 15 to 29."""
    values_HW = np.full(SIZE, left, dtype=dtype)
    values_HW[:, 15:] = right
    return values_HW


def make_struct(**fields: object) -> NDArray[np.void]:
    """Return a struct of one element, as MATLAB has it."""
    struct = np.empty((1, 1), dtype=[(name, object) for name in fields])
    for name, value in fields.items():
        struct[name][0, 0] = value
    return struct


def make_person(category: int, parts: dict[str, NDArray[np.generic]]) -> NDArray[np.void]:
    """Return an annotated object, its parts a struct array."""
    pieces = [make_struct(part_name=name, mask=mask) for name, mask in parts.items()]
    listed = np.concatenate(pieces, axis=1) if pieces else np.zeros((0, 0))
    return make_struct(**{"class": "x"}, class_ind=float(category), mask=halves(1, 1), parts=listed)


def make_parts() -> NDArray[np.void]:
    """Return an annotation: a dog with a head, a person with head and left foot, a person without parts."""
    head_HW, foot_HW, dog_HW = (np.zeros(SIZE, np.uint8) for _ in range(3))
    head_HW[0:4, 0:5], foot_HW[10:12, 20:24], dog_HW[15:18, 0:3] = 1, 1, 1
    things = [
        make_person(12, {"head": dog_HW}),
        make_person(15, {"hair": head_HW, "lfoot": foot_HW}),
        make_person(15, {}),
    ]
    return make_struct(imname="x", objects=np.concatenate(things, axis=1))


def write_pascal(root: Path, train: tuple[str, ...] = ("2008_000001", "b"), val: tuple[str, ...] = ("v",)) -> None:
    """Write a folder PASCAL_MT; the first training sample has people, the others have none."""
    save_lists(root / "ImageSets" / "Context", train, val)
    for number, name in enumerate((*train, *val)):
        save_array(root / "JPEGImages" / f"{name}.jpg", paint_image(number))
        folder = "VOC12" if number == 0 else "pascal-context"
        classes_HW = halves(15, 255)
        save_array(root / "semseg" / folder / f"{name}.png", classes_HW)
        nobody = make_struct(imname="x", objects=make_person(12, {}))
        save_variable(root / "human_parts" / f"{name}.mat", "anno", make_parts() if number == 0 else nobody)
        normals_HW3 = np.broadcast_to(TILT, (*SIZE, 3)).copy()
        normals_HW3[5, :] = 127
        save_array(root / "normals_distill" / f"{name}.png", normals_HW3)
        save_array(root / "sal_distill" / f"{name}.png", halves(127, 128))
        labels = halves(CONTEXT_CLASSES["sky"], CONTEXT_CLASSES["person"], "uint16")
        save_variable(root / "pascal-context" / "trainval" / f"{name}.mat", "LabelMap", labels)


def write_nyud(root: Path, layout: str, train: tuple[str, ...] = ("1", "2"), val: tuple[str, ...] = ("3",)) -> None:
    """Write a folder NYUD_MT in layout "A" or "B", the same labels in both."""
    save_lists(root / "gt_sets", train, val)
    for number, name in enumerate((*train, *val)):
        save_array(root / "images" / f"{name}.jpg", paint_image(number))
        classes_HW, depth_HW = halves(0, 40), halves(0, 6, "float64") / 4
        edge_HW = np.zeros(SIZE, np.uint8)
        edge_HW[:, 14] = 1
        if layout == "A":
            save_variable(root / "segmentation" / f"{name}.mat", "segmentation", classes_HW)
            save_variable(root / "depth" / f"{name}.mat", "depth", depth_HW)
            save_array(root / "normals" / f"{name}.jpg", np.broadcast_to(TILT, (*SIZE, 3)).copy())
            save_array(root / "edge" / f"{name}.png", edge_HW * np.uint8(255))
        else:
            save_array(root / "segmentation" / f"{name}.png", classes_HW)
            save_array(root / "depth" / f"{name}.npy", depth_HW.astype(np.float32))
            unit = TILT / 255 * 2 - 1
            save_array(root / "normals" / f"{name}.npy", np.broadcast_to(unit / np.linalg.norm(unit), (*SIZE, 3)))
            save_array(root / "edge" / f"{name}.npy", edge_HW.astype(np.float32))
