"""A contact sheet shows samples spread over a dataset, their labels, and what the colours mean."""

import io
from pathlib import Path

import pytest
from PIL import Image

from search.data.files.manifest_source import open_manifest
from search.errors import SampleError
from search.pictures.contact_sheet import choose_samples, draw_contact_sheet
from tests.search.data.files.own_dataset import TRAIN, VAL, write_own_dataset


def draw(file: Path, tasks: list[str], sample_ids: tuple[str, ...]) -> Image.Image:
    """Return the sheet of some samples."""
    source = open_manifest(file)
    chosen = [source.info.task(name) for name in tasks]
    return Image.open(io.BytesIO(draw_contact_sheet(source, chosen, sample_ids, file.parent / "cache")))


def test_samples_are_spread_over_all() -> None:
    """Few are all taken, of many some in their order, none twice."""
    assert choose_samples(["a", "b"], 6) == ("a", "b")
    chosen = choose_samples([str(number) for number in range(100)], 6)
    assert chosen == ("0", "16", "33", "50", "66", "83")


def test_every_task_and_sample_has_its_place(tmp_path: Path) -> None:
    """More tasks make the sheet wider and add a legend each; more samples make it higher."""
    file = write_own_dataset(tmp_path)
    small = draw(file, ["semseg", "depth"], ("a",))
    wide = draw(file, ["semseg", "depth", "normals", "edge", "sal", "parts", "scene"], ("a",))
    high = draw(file, ["semseg", "depth", "normals", "edge", "sal", "parts", "scene"], (*TRAIN, *VAL))
    assert small.width < wide.width == high.width
    assert small.height < wide.height < high.height


def test_a_sample_that_is_broken_is_refused(tmp_path: Path) -> None:
    """Whoever draws asks for sound ones."""
    file = write_own_dataset(tmp_path)
    (tmp_path / "images/b.png").write_bytes(b"")
    with pytest.raises(SampleError, match=r"Sample 'b'.*is empty"):
        draw(file, ["semseg", "depth"], ("a", "b"))
