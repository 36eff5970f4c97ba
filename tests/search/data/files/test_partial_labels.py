"""Labels that are missing for some samples, from the files on disk to the batches that a network sees."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from search.data.files.fitting import InputForm
from search.data.files.manifest_source import open_manifest
from search.data.files.samples import FileDataset, SplitRequest, open_files
from search.spec import Fit
from tests.search.data.files.own_dataset import TRAIN, write_own_dataset

FILES = ("semseg/{}.png", "parts/{}.npy", "depth/{}.npy", "normals/{}.png", "edges/{}.png", "sal/{}.png")
TASKS = ("semseg", "parts", "depth", "normals", "edge", "sal", "scene")
ABSENT_AS_WRITTEN = {("b", "semseg"), ("c", "scene"), ("d", "scene")}

absences = st.frozensets(st.tuples(st.sampled_from(TRAIN), st.sampled_from(TASKS)))
forms = st.builds(
    InputForm,
    st.sampled_from([(16, 16), (24, 40)]),
    st.sampled_from(["resize", "pad"]),
    st.sampled_from([1.0, 0.5]),
)


@contextmanager
def open_without(absent: Iterable[tuple[str, str]], form: InputForm) -> Iterator[FileDataset]:
    """Give the training samples of a small dataset from which some labels were taken away."""
    with tempfile.TemporaryDirectory() as folder:
        root, gone = Path(folder), set(absent) | ABSENT_AS_WRITTEN
        manifest = write_own_dataset(root)
        for sample, task in gone:
            if task != "scene":
                (root / FILES[TASKS.index(task)].format(sample)).unlink(missing_ok=True)
        cells = "".join(f"{sample},{'' if (sample, 'scene') in gone else 'out'}\n" for sample in TRAIN)
        (root / "labels.csv").write_text(f"id,scene\n{cells}")
        source = open_manifest(manifest)
        request = SplitRequest("train", source.info.tasks, len(TRAIN), form, augmented=True)
        yield open_files(source, request, cache_dir=root / "cache")


def read(dataset: FileDataset, seed: int | None) -> dict[str, Tensor]:
    """Return all samples in one batch, augmented by a seed."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return dataset.batch(range(len(dataset)), generator)


@settings(max_examples=8, deadline=None)
@given(absent=absences, form=forms, seed=st.none() | st.integers(0, 99))
def test_a_missing_label_is_ignored_and_changes_no_other(
    absent: frozenset[tuple[str, str]], form: InputForm, seed: int | None
) -> None:
    """Missing files and empty cells give 255 in every pixel or for the class; made anew, cached, and augmented."""
    with open_without((), form) as whole, open_without(absent, form) as partial:
        wanted, found, again = read(whole, seed), read(partial, seed), read(partial, seed)
    for sample, task in absent | ABSENT_AS_WRITTEN:
        wanted[task][TRAIN.index(sample)] = 255
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name
        assert torch.equal(again[name], value), name


def test_what_is_there_is_learned_from() -> None:
    """In the batch of the small dataset every task has some labels, and where one is missing nothing is 255 besides."""
    with open_without((), InputForm((20, 30))) as dataset:
        batch = read(dataset, None)
    assert batch["scene"].tolist() == [1, 1, 255, 255]
    known = {task: [(label != 255).any().item() for label in batch[task]] for task in TASKS}
    assert known["semseg"] == [True, False, True, True]
    assert all(known[task] == [True] * 4 for task in ("parts", "depth", "normals", "edge", "sal"))


def test_a_label_that_comes_later_is_read() -> None:
    """A sample finished without it is finished anew, whatever the fit."""
    fit: Fit = "pad"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = open_manifest(write_own_dataset(root))
        request = SplitRequest("train", source.info.tasks, len(TRAIN), InputForm((20, 30), fit))
        before = open_files(source, request, cache_dir=root / "cache")
        (root / "semseg/b.png").write_bytes((root / "semseg/a.png").read_bytes())
        after = open_files(source, request, cache_dir=root / "cache")
        assert (before.batch([1])["semseg"] == 255).all()
        assert torch.equal(after.batch([1])["semseg"], after.batch([0])["semseg"])
        assert before.digest != after.digest
