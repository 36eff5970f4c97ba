"""`--dataset` takes a name or the path of a dataset.yaml; the folder of a run knows where its dataset lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models.catalogue import get_backbone_info
from search.architecture import Architecture, HeadShape, LayerGroups, Provenance
from search.errors import BudgetError, RunCancelledError
from search.ports import Surroundings
from search.results import MetricValue, Results
from search.spec import JobSpec, WeightsSpec
from tests.search.data.files.own_dataset import manifest_values, write_own_dataset

if TYPE_CHECKING:
    from tests.service.conftest import Outcome, Run

SEARCH = ("search", "--backbone", "mobilenet_v2", "--budget", "70%", "--preset", "smoke", "--out", "study")


class StoppingEngine:
    """An engine that notes what it was asked and ends every run at once, as a test wants."""

    def __init__(self, ends_by: Exception | None = None) -> None:
        self.ends_by = ends_by or RunCancelledError()
        self.specs: list[JobSpec] = []
        self.arounds: list[Surroundings] = []

    def run_job(self, spec: JobSpec, surroundings: Surroundings) -> Results:
        """Note the job."""
        self.specs.append(spec)
        self.arounds.append(surroundings)
        raise self.ends_by

    def retrain_architecture(
        self,
        architecture: Architecture,
        dataset: str,
        preset: str,
        seed: int,
        surroundings: Surroundings,
        weights: WeightsSpec | None = None,
    ) -> Mapping[str, MetricValue]:
        """Refuse: not asked here."""
        raise AssertionError

    def evaluate_candidate(
        self, architecture: Architecture, weights: bytes, preset: str, surroundings: Surroundings
    ) -> Mapping[str, MetricValue]:
        """Note the dataset."""
        self.arounds.append(surroundings)
        surroundings.datasets.get_trainable(architecture.provenance.dataset)
        return {}


def search(run: Run, engine: StoppingEngine, *arguments: str) -> Outcome:
    """Return what a search leaves behind that is stopped at once."""
    return run(*SEARCH, *arguments, load_engine=lambda: engine)


def test_a_search_takes_a_dataset_by_the_path_of_its_file(run: Run, tmp_path: Path) -> None:
    """The job bears the dataset's name and definition, and the run knows where the files lie."""
    file, engine = write_own_dataset(tmp_path / "robot"), StoppingEngine()
    assert search(run, engine, "--dataset", str(file)).code == 130
    spec, around = engine.specs[0], engine.arounds[0]
    assert (spec.dataset, spec.data.input_size, spec.data.num_train) == ("my-robot", (32, 32), 4)
    assert spec.data.definition == around.datasets.get("my-robot").definition
    assert around.datasets.place("my-robot") == file
    assert json.loads(Path("study/dataset.json").read_text()) == {"name": "my-robot", "file": str(file)}


def test_a_folder_stands_for_the_file_in_it(run: Run, tmp_path: Path) -> None:
    """Paths may be relative, and name the folder that holds a dataset.yaml."""
    write_own_dataset(tmp_path / "work" / "robot")
    engine = StoppingEngine()
    search(run, engine, "--dataset", "robot/")
    assert engine.specs[0].dataset == "my-robot"


def test_resuming_finds_the_file_by_the_name(run: Run, tmp_path: Path) -> None:
    """The folder of the run says where the dataset lies, so that its name is enough."""
    file, engine = write_own_dataset(tmp_path / "robot"), StoppingEngine()
    search(run, engine, "--dataset", str(file))
    search(run, engine, "--dataset", "my-robot", "--resume")
    assert engine.specs[0] == engine.specs[1]
    assert engine.arounds[1].datasets.place("my-robot") == file


def test_resuming_says_that_the_file_is_gone(run: Run, tmp_path: Path) -> None:
    """A dataset that was moved is missed by its path."""
    file, engine = write_own_dataset(tmp_path / "robot"), StoppingEngine()
    search(run, engine, "--dataset", str(file))
    (tmp_path / "robot").rename(tmp_path / "elsewhere")
    search(run, engine, "--dataset", "my-robot", "--resume").assert_refused(str(file), "nothing is there any more")
    moved = str(tmp_path / "elsewhere" / "dataset.yaml")
    assert search(run, engine, "--dataset", moved, "--resume").code == 130


def test_resuming_says_that_the_file_has_changed(run: Run, tmp_path: Path) -> None:
    """Other classes or lists are another job; the sentence holds no hashes."""
    file, engine = write_own_dataset(tmp_path / "robot"), StoppingEngine()
    search(run, engine, "--dataset", str(file))
    (tmp_path / "robot/splits/train.txt").write_text("a\nb\nc\n")
    outcome = search(run, engine, "--dataset", str(file), "--resume")
    outcome.assert_refused("the dataset.yaml or its lists of samples have changed since")


def test_a_refused_run_leaves_nothing(run: Run, tmp_path: Path) -> None:
    """The note of the dataset goes with the folder."""
    file = write_own_dataset(tmp_path / "robot")
    search(run, StoppingEngine(BudgetError("Too little.")), "--dataset", str(file)).assert_refused("Too little.")
    assert not Path("study").exists() or not list(Path("study").glob("*"))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("nowhere/dataset.yaml", "nowhere/dataset.yaml cannot be read"),
        ("nowhere.yaml", "nowhere.yaml cannot be read"),
        ("robot", "Unknown dataset 'robot'"),
        ("nyud", "The files of 'nyud' are not here"),
    ],
)
def test_what_is_no_dataset_gets_a_sentence(run: Run, word: str, sentence: str) -> None:
    """A missing file is missed, an unknown name is unknown."""
    search(run, StoppingEngine(), "--dataset", word).assert_refused(sentence)


def test_a_file_with_the_name_of_a_built_in_dataset_is_refused(run: Run, tmp_path: Path) -> None:
    """Nobody could tell the two apart later."""
    file = write_own_dataset(tmp_path / "robot", name="scenes")
    search(run, StoppingEngine(), "--dataset", str(file)).assert_refused("as a built-in dataset is")


def test_costs_are_counted_for_a_file(run: Run, tmp_path: Path) -> None:
    """Costs need the facts only."""
    file = write_own_dataset(tmp_path / "robot", input_size=[64, 64])
    outcome = run("cost", "--dataset", str(file), "--backbone", "mobilenet_v2", "--tasks", "semseg,scene", "--json")
    document = json.loads(outcome.out)
    assert (document["dataset"], document["size"], document["tasks"]) == (
        "my-robot",
        [64, 64],
        {"semseg": 3, "scene": 2},
    )


def test_datasets_are_listed_with_their_places(run: Run) -> None:
    """Built-in ones, the paper's and people's own stand in one list."""
    rows = {row["name"]: row for row in json.loads(run("datasets", "--json").out)}
    assert (rows["digits"]["trainable"], rows["digits"]["place"]) == (True, None)
    assert (rows["nyud"]["trainable"], rows["nyud"]["place"]) == (False, None)
    assert "not here: costs only" in run("datasets").out


def test_a_study_is_measured_on_the_dataset_it_was_made_on(run: Run, tmp_path: Path) -> None:
    """The folder above a candidate says where the dataset lies."""
    file, engine = write_own_dataset(tmp_path / "robot"), StoppingEngine()
    search(run, engine, "--dataset", str(file))
    _write_candidate(Path("study/candidates/70pct"))
    assert run("evaluate", "study/candidates/70pct", load_engine=lambda: engine).code == 0
    assert engine.arounds[-1].datasets.place("my-robot") == file
    file.unlink()
    outcome = run("evaluate", "study/candidates/70pct", load_engine=lambda: engine)
    outcome.assert_refused("nothing is there any more", "--dataset")


def _write_candidate(folder: Path) -> None:
    """Write a network of two tasks of a dataset into a folder, with weights that nobody reads."""
    tasks = ("semseg", "depth")
    architecture = Architecture(
        tasks=tasks,
        backbone="mobilenet_v2",
        input_size=(32, 32),
        image_channels=3,
        layers=tuple(
            LayerGroups(name=f"layer{index}", groups=(tasks,))
            for index in range(get_backbone_info("mobilenet_v2").num_layers)
        ),
        heads={"semseg": HeadShape(kind="segmentation", channels=3), "depth": HeadShape(kind="depth", channels=1)},
        madds=1,
        params=1,
        budget_madds=None,
        provenance=Provenance(
            dataset=manifest_values()["name"],
            dataset_fingerprint="f00d",
            seed=0,
            objective="exact",
            spec_hash="beef",
            code_version="0.1.0",
            created="2026-01-31T12:00:00+00:00",
        ),
    )
    folder.mkdir(parents=True)
    (folder / "architecture.json").write_bytes(architecture.to_json_bytes())
    (folder / "weights.safetensors").write_bytes(b"weights")


@pytest.mark.parametrize(
    "command", [("submit", "--backbone", "tiny4", "--budget", "60%"), ("submit-retrain", "arch_1")]
)
def test_a_server_is_given_names_only(run: Run, command: tuple[str, ...]) -> None:
    """A path would mean a file of another machine; the sentence says what to do."""
    run(*command, "--dataset", "robot/dataset.yaml").assert_refused("'robot/dataset.yaml' is a path", "BMTAS_DATASETS")
