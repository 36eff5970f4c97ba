"""`bmtas evaluate` and `bmtas export` on real but untrained networks: what a folder may hold, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime
import pytest
from safetensors.torch import save

from search.architecture import Architecture
from search.networks import build_network
from search.results import Evaluation, Results
from service.commands.shell import load_pipeline

if TYPE_CHECKING:
    from tests.service.conftest import BuildArchitecture, Outcome, Run

Write = Callable[[Path], Path]


def write_network(folder: Path, architecture: Architecture) -> Path:
    """Write a candidate with random weights, measured on the samples of the smoke preset, and return its folder."""
    folder.mkdir(parents=True)
    (folder / "architecture.json").write_bytes(architecture.to_json_bytes())
    (folder / "weights.safetensors").write_bytes(save(build_network(architecture).state_dict()))
    evaluation = Evaluation(preset="smoke", madds=1, params=1, metrics={}, history=())
    (folder / "evaluation.json").write_bytes(evaluation.to_json_bytes())
    return folder


@pytest.fixture
def candidate(run: Run, build_architecture: BuildArchitecture) -> Path:
    """Return the folder of one candidate, in the working directory of `run`."""
    return write_network(Path("tree"), build_architecture())


@pytest.fixture
def study(run: Run, build_architecture: BuildArchitecture, study_results: Results) -> Path:
    """Return the folder of a study of two candidates, the second one better."""
    for found in study_results.candidates:
        write_network(Path("study") / Path(found.architecture).parent, build_architecture(("left", "right")))
    Path("study/results.json").write_bytes(study_results.to_json_bytes())
    return Path("study")


def export(run: Run, folder: Path, *arguments: str) -> Outcome:
    """Export, which needs no engine."""
    return run("export", str(folder), *arguments)


def test_evaluation_prints_a_metric_per_task(run: Run, candidate: Path) -> None:
    """A candidate gets a row per task; JSON has the same figures by network and task."""
    table = run("evaluate", str(candidate), load_engine=load_pipeline)
    printed = json.loads(run("evaluate", str(candidate), "--json", load_engine=load_pipeline).out)
    assert list(printed) == ["tree"]
    assert list(printed["tree"]) == ["left", "right", "left_group"]
    for measured in printed["tree"].values():
        assert measured["metric"] == "accuracy"
        assert 0 <= measured["value"] <= 100
    assert all(task in table.out for task in printed["tree"])


def test_evaluation_of_a_study_covers_every_candidate(run: Run, study: Path) -> None:
    """A study folder stands for all its candidates."""
    printed = json.loads(run("evaluate", str(study), "--json", load_engine=load_pipeline).out)
    assert list(printed) == ["60pct", "75pct"]


@pytest.mark.parametrize("file_format", ["json", "pt2"])
def test_export_writes_the_file_and_prints_its_hash(run: Run, candidate: Path, file_format: str) -> None:
    """The SHA-256 that is printed is that of the file, beside the largest difference from torch."""
    outcome = export(run, candidate, "--format", file_format, "--out", "out/network")
    assert outcome.code == 0
    assert hashlib.sha256(Path("out/network").read_bytes()).hexdigest() in outcome.out
    assert "Largest difference from torch: " in outcome.out
    assert os.listdir("out") == ["network"]


def test_export_of_some_tasks_keeps_their_branches(run: Run, candidate: Path) -> None:
    """The file has the outputs that were asked for and no others, and says how far from torch they are."""
    outcome = export(run, candidate, "--format", "onnx", "--out", "some.onnx", "--tasks", "left_group,left")
    assert "Largest difference from torch: " in outcome.out
    outputs = onnxruntime.InferenceSession("some.onnx", providers=["CPUExecutionProvider"]).get_outputs()
    assert [output.name for output in outputs] == ["left", "left_group"]


def test_export_of_a_study_takes_the_best_and_says_so(run: Run, study: Path) -> None:
    """The candidate with the best delta_m is taken, and stderr tells how to name another."""
    outcome = export(run, study, "--format", "json", "--out", "best.json")
    assert "taking 75pct" in outcome.err
    assert "study/candidates/60pct" in outcome.err


def test_export_replaces_a_file_only_when_told(run: Run, candidate: Path) -> None:
    """An existing file is refused and stays, until --force replaces it."""
    Path("mine").write_text("precious")
    export(run, candidate, "--format", "json", "--out", "mine").assert_refused("exists already", "--force")
    assert Path("mine").read_text() == "precious"
    assert export(run, candidate, "--format", "json", "--out", "mine", "--force").code == 0
    assert Architecture.from_json_bytes(Path("mine").read_bytes()).backbone == "tiny4"


def test_a_tree_without_weights_is_exported_as_json_only(run: Run, candidate: Path) -> None:
    """After --no-retrain there is a tree to hand out, but no network."""
    (candidate / "weights.safetensors").unlink()
    assert export(run, candidate, "--format", "json", "--out", "tree.json").code == 0
    export(run, candidate, "--format", "onnx", "--out", "x").assert_refused("no weights.safetensors", "bmtas retrain")
    run("evaluate", str(candidate)).assert_refused("no weights.safetensors", "bmtas retrain")
    assert not Path("x").exists()


def break_weights(folder: Path) -> None:
    """Cut the weights in half."""
    content = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(content[: len(content) // 2])


def swap_weights(folder: Path) -> None:
    """Put the weights of nothing there."""
    (folder / "weights.safetensors").write_bytes(save({}))


def break_architecture(folder: Path) -> None:
    """Cut the architecture."""
    (folder / "architecture.json").write_bytes(b'{"format": "bmtas-architecture"')


def break_evaluation(folder: Path) -> None:
    """Put something else where the evaluation was."""
    (folder / "evaluation.json").write_bytes(b"[]")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_weights, ["weights"]),
        (swap_weights, ["weights do not fit"]),
        (break_architecture, ["architecture.json", "not JSON"]),
        (break_evaluation, ["evaluation.json", "corrupt"]),
    ],
)
def test_damaged_networks_get_one_sentence(
    run: Run, candidate: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    """Corrupt files of a network are named, not raised."""
    damage(candidate)
    run("evaluate", str(candidate), "--json", load_engine=load_pipeline).assert_refused(*words)


def test_weights_of_nothing_are_not_exported(run: Run, candidate: Path) -> None:
    """An export of damaged weights is refused and leaves no file."""
    swap_weights(candidate)
    export(run, candidate, "--format", "onnx", "--out", "x.onnx").assert_refused("weights do not fit")
    assert not Path("x.onnx").exists()


def test_unknown_tasks_and_folders_as_targets_are_refused(run: Run, candidate: Path) -> None:
    """Tasks must be those of the network, each once, and the target a file."""
    for tasks in ("depth", "left,left", ""):
        export(run, candidate, "--format", "json", "--out", "x", "--tasks", tasks).assert_refused("distinct tasks")
    export(run, candidate, "--format", "json", "--out", ".").assert_refused("is a folder")
    assert os.listdir() == ["tree"]


def test_folders_that_hold_no_network_are_refused(run: Run, study: Path) -> None:
    """An empty folder, an unfinished run, corrupt results and results that point elsewhere each get a sentence."""
    Path("empty").mkdir()
    Path("begun").mkdir()
    Path("begun/spec.json").write_text("{}")
    run("evaluate", "empty").assert_refused("holds neither")
    run("evaluate", "begun").assert_refused("not finished", "--resume")
    content = (study / "results.json").read_bytes()
    (study / "results.json").write_bytes(content.replace(b"candidates/75pct", b"../candidates"))
    run("evaluate", "study").assert_refused("points to ../candidates")
    (study / "results.json").write_bytes(content[:100])
    run("evaluate", "study").assert_refused("results.json", "not JSON")
