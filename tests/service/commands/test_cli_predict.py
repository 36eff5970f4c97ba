"""`bmtas predict` as a person meets it: pictures beside photographs, and photographs that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save

from models.branching import Branching
from search.architecture import Architecture, Provenance, heads_of, layers_of
from search.data.catalogue import DATASETS
from search.networks import build_network

if TYPE_CHECKING:
    from tests.service.conftest import BuildArchitecture, Run


def write_network(folder: Path, architecture: Architecture) -> Path:
    """Write a candidate with random weights and return its folder."""
    folder.mkdir()
    (folder / "architecture.json").write_bytes(architecture.to_json_bytes())
    (folder / "weights.safetensors").write_bytes(save(build_network(architecture).state_dict()))
    return folder


def describe(dataset: str = "scenes") -> Architecture:
    """Return a small tree over three dense tasks of a dataset."""
    names = ("semseg", "depth", "edge")
    tasks = [DATASETS["scenes"].task(name) for name in names]
    return Architecture(
        tasks=names,
        backbone="tiny4",
        input_size=(64, 64),
        image_channels=3,
        layers=layers_of(Branching.shared(names, 5), [f"blocks.{index}" for index in range(5)]),
        heads=heads_of(tasks),
        madds=1,
        params=1,
        budget_madds=None,
        provenance=Provenance(
            dataset=dataset,
            dataset_fingerprint="f00d",
            seed=0,
            objective="exact",
            spec_hash="beef",
            code_version="0.1.0",
            created="2026-01-31T12:00:00+00:00",
        ),
    )


@pytest.fixture
def network(run: Run) -> Path:
    """Return the folder of a network, and put photographs beside it."""
    random = np.random.default_rng(0)
    Path("trip").mkdir()
    for name, size in (("one.jpg", (50, 70)), ("two.png", (300, 20))):
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(Path("trip") / name)
    return write_network(Path("tree"), describe())


def list_trip() -> list[str]:
    """Return what lies beside the photographs."""
    return sorted(path.name for path in Path("trip").iterdir())


def test_pictures_lie_beside_their_photographs(run: Run, network: Path) -> None:
    """A picture per task in the photograph's size, and a line per task that says what is seen."""
    outcome = run("predict", "tree", "trip/one.jpg")
    assert (outcome.code, outcome.err) == (0, "")
    assert list_trip() == ["one-depth.png", "one-edge.png", "one-semseg.png", "one.jpg", "two.png"]
    assert np.asarray(Image.open("trip/one-semseg.png")).shape[0] > 50
    for words in ("trip/one.jpg (50x70)", "semseg: ", " m -> trip/one-depth.png", "% of the pixels"):
        assert words in outcome.out


def test_json_and_numbers_for_programs(run: Run, network: Path) -> None:
    """--json is alone on stdout and names every file; --raw writes the numbers in the photograph's size."""
    outcome = run("predict", "tree", "trip/one.jpg", "trip/two.png", "--raw", "--json", "--out", "deep/out")
    rows = json.loads(outcome.out)["images"]
    assert [(row["image"], row["size"]) for row in rows] == [("trip/one.jpg", [50, 70]), ("trip/two.png", [300, 20])]
    task = rows[1]["tasks"]["semseg"]
    assert sum(task["figures"].values()) == pytest.approx(1)
    assert np.asarray(Image.open(task["raw"])).shape == (300, 20)
    depth_HW = np.load(rows[0]["tasks"]["depth"]["raw"], allow_pickle=False)
    assert (depth_HW.shape, depth_HW.dtype) == ((50, 70), np.float32)
    assert list_trip() == ["one.jpg", "two.png"]


def test_unusable_photographs_are_named_and_the_others_done(run: Run, network: Path) -> None:
    """One line per photograph that is left out, exit code 2 at the end, pictures of the rest."""
    whole = Path("trip/one.jpg").read_bytes()
    Path("trip/cut.jpg").write_bytes(whole[: len(whole) // 2])
    Path("trip/empty.png").touch()
    Path("trip/notes.txt").write_text("no photograph")
    Path("trip/folder.png").mkdir()
    bad = [f"trip/{name}" for name in ("cut.jpg", "empty.png", "notes.txt", "folder.png", "missing.jpg")]
    outcome = run("predict", "tree", *bad, "trip/two.png", "--out", "out")
    assert outcome.code == 2
    assert outcome.err.count("Left out: ") == 5
    assert all(name.removeprefix("trip/") in outcome.err for name in bad)
    assert outcome.err.endswith("bmtas: 5 of 6 photographs could not be used; see above.\n")
    assert sorted(path.name for path in Path("out").iterdir()) == ["two-depth.png", "two-edge.png", "two-semseg.png"]


def test_files_are_replaced_only_when_told(run: Run, network: Path) -> None:
    """What exists is named and stays; with --force it is replaced."""
    Path("trip/one-depth.png").write_text("precious")
    run("predict", "tree", "trip/one.jpg").assert_refused("trip/one-depth.png exists already", "--force")
    assert Path("trip/one-depth.png").read_text() == "precious"
    assert run("predict", "tree", "trip/one.jpg", "--force").code == 0
    assert np.asarray(Image.open("trip/one-depth.png")).shape[1] >= 70


def test_two_photographs_of_one_name_need_two_folders(run: Run, network: Path) -> None:
    """The sentence names both; the same photograph twice is one."""
    Path("trip/one.png").write_bytes(Path("trip/two.png").read_bytes())
    run("predict", "tree", "trip/one.jpg", "trip/one.png").assert_refused("trip/one.jpg and trip/one.png would both")
    assert run("predict", "tree", "trip/two.png", "trip/two.png").out.count("trip/two.png (") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "trip/one.jpg"), "there is none at nowhere"),
        (("trip", "trip/one.jpg"), "holds neither"),
        (("tree",), "Missing argument 'IMAGE...'"),
        (("tree", "trip/one.jpg", "--out", "trip/two.png"), "--out names a folder, but trip/two.png is a file"),
        (("tree", "trip/one.jpg", "--dataset", "nothing"), "Unknown dataset 'nothing'"),
        (("tree", "trip/one.jpg", "--dataset", "digits"), "has no task 'semseg'"),
        (("tree", "trip/one.jpg", "--device", "abacus"), "abacus"),
    ],
)
def test_rubbish_is_refused_in_one_sentence(run: Run, network: Path, arguments: tuple[str, ...], words: str) -> None:
    """Nothing is written."""
    run("predict", *arguments).assert_refused(words)
    assert list_trip() == ["one.jpg", "two.png"]


def test_networks_of_unknown_datasets_give_numbers_for_names(run: Run, network: Path) -> None:
    """A note on stderr tells what is not known; naming a dataset that fits brings the names back."""
    write_network(Path("other"), describe("my-robot"))
    outcome = run("predict", "other", "trip/one.jpg", "--json")
    assert "Dataset 'my-robot' is not known here" in outcome.err
    assert set(json.loads(outcome.out)["images"][0]["tasks"]["semseg"]["figures"]) <= set("01234")
    named = run("predict", "other", "trip/one.jpg", "--force", "--dataset", "scenes")
    assert (named.code, named.err) == (0, "")


def test_labels_come_as_text(run: Run, build_architecture: BuildArchitecture) -> None:
    """A network of labels on grey digits takes a colour photograph of any size and writes its answers as words."""
    write_network(Path("tree"), build_architecture())
    Image.fromarray(np.full((30, 40, 3), 200, dtype=np.uint8)).save("seven.png")
    assert run("predict", "tree", "seven.png").code == 0
    rows = [line.split("\t") for line in Path("seven-left.txt").read_text().splitlines()]
    assert len(rows) == 10
    assert sum(float(share) for _, share in rows) == pytest.approx(1, abs=1e-3)
