"""`bmtas weights` and --weights as a person meets them: listed, found, and refused in one sentence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from search.results import MetricValue, Results
from search.spec import JobSpec, WeightsSpec
from service.cli import main
from service.commands.shell import Engine, Shell
from service.settings import Settings

if TYPE_CHECKING:
    from search.architecture import Architecture
    from search.ports import Surroundings
    from tests.service.conftest import BuildArchitecture, Run

SEARCH = ("search", "--dataset", "digits", "--backbone", "tiny4", "--tasks", "left,right", "--budget", "60%")
CONTENT = b"weights"
OWN = WeightsSpec(file="own.pth", sha256=hashlib.sha256(CONTENT).hexdigest())


class NotingEngine:
    """Notes what it is asked and where the weights lie, and finds what it was given.

    Args:
        results: What a study finds.
        tree: The architecture of its candidates.
    """

    def __init__(self, results: Results, tree: Architecture) -> None:
        self.results, self.tree = results, tree
        self.asked: list[tuple[WeightsSpec | None, Path | None]] = []

    def run_job(self, spec: JobSpec, surroundings: Surroundings) -> Results:
        """Note the weights of a job."""
        self._note(spec.weights, surroundings)
        for candidate in self.results.candidates:
            surroundings.store.write(candidate.architecture, self.tree.to_json_bytes())
        return self.results

    def retrain_architecture(
        self,
        architecture: Architecture,
        dataset: str,
        preset: str,
        seed: int,
        surroundings: Surroundings,
        weights: WeightsSpec | None = None,
    ) -> dict[str, MetricValue]:
        """Note the weights of a retraining."""
        self._note(weights, surroundings)
        return {task: MetricValue(metric="accuracy", value=50.0, higher_is_better=True) for task in architecture.tasks}

    def evaluate_candidate(
        self, architecture: Architecture, weights: bytes, preset: str, surroundings: Surroundings
    ) -> dict[str, MetricValue]:
        """Refuse: these commands evaluate nothing."""
        raise AssertionError

    def _note(self, weights: WeightsSpec | None, surroundings: Surroundings) -> None:
        """Note a file and where it was found."""
        self.asked.append((weights, None if weights is None else surroundings.weights.locate(weights)))


@pytest.fixture
def engine(build_architecture: BuildArchitecture, study_results: Results) -> NotingEngine:
    """Return an engine that only notes."""
    return NotingEngine(study_results, build_architecture(("left", "right")))


def test_a_search_gets_the_file_that_was_named(run: Run, engine: NotingEngine) -> None:
    """Name and hash go into the job and its spec.json, the path only to the machine; without words there is none."""
    Path("own.pth").write_bytes(CONTENT)
    assert run(*SEARCH, "--weights", "./own.pth", "--out", "a", load_engine=lambda: engine).code == 0
    assert run(*SEARCH, "--out", "b", load_engine=lambda: engine).code == 0
    assert engine.asked == [(OWN, Path("own.pth")), (None, None)]
    assert json.loads(Path("a/spec.json").read_text())["weights"] == OWN.model_dump()
    assert "weights" not in json.loads(Path("b/spec.json").read_text())


def test_a_resume_with_another_file_is_refused(run: Run, engine: NotingEngine) -> None:
    """The sentence says that the hash differs, and nothing runs."""
    Path("own.pth").write_bytes(CONTENT)
    run(*SEARCH, "--weights", "own.pth", "--out", "a", load_engine=lambda: engine)
    Path("own.pth").write_bytes(b"other weights")
    outcome = run(*SEARCH, "--weights", "own.pth", "--out", "a", "--resume", load_engine=lambda: engine)
    outcome.assert_refused("weights.sha256", OWN.sha256[:12])
    run(*SEARCH, "--out", "a", "--resume").assert_refused("weights is", "absent")


def test_a_retraining_gets_the_file_too(run: Run, engine: NotingEngine) -> None:
    """The file is part of what the folder of a retraining belongs to."""
    Path("own.pth").write_bytes(CONTENT)
    Path("tree.json").write_bytes(engine.tree.to_json_bytes())
    command = ("retrain", "--architecture", "tree.json", "--dataset", "digits", "--weights", "own.pth", "--out", "a")
    assert run(*command, load_engine=lambda: engine).code == 0
    assert engine.asked == [(OWN, Path("own.pth"))]
    assert json.loads(Path("a/spec.json").read_text())["weights"] == OWN.model_dump()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("imagenet", "not for 'tiny4'"),
        ("none.pth", "there is no 'none.pth'"),
        (".", "'.' is none"),
        ("", "'' is none"),
        ("notes.md", "ends in .pth, .pt, .safetensors"),
        ("../../etc/passwd", "there is no"),
    ],
)
def test_rubbish_is_refused_before_anything_is_loaded(run: Run, words: str, sentence: str) -> None:
    """A sentence, exit code 2, no folder and no torch."""
    Path("notes.md").write_text("no weights")
    run(*SEARCH, "--weights", words, "--out", "a").assert_refused(sentence)
    assert not Path("a").exists()


def test_an_unknown_backbone_is_named_first(run: Run) -> None:
    """Weights for a backbone that does not exist are no matter of weights."""
    run(*SEARCH[:4], "resnet9000", *SEARCH[5:], "--weights", "imagenet").assert_refused("Unknown backbone")


def refuse() -> Engine:
    """Fail: listing needs no engine."""
    raise AssertionError


def test_the_folder_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files with their size, for programs their hash, and torchvision's file for every backbone that has none."""
    shell = Shell(Settings(tmp_path / "cache", weights_dir=tmp_path), refuse)
    assert main(["weights"], shell) == 0
    assert "holds no .pth" in capsys.readouterr().out
    (tmp_path / "own.pth").write_bytes(CONTENT)
    assert main(["weights"], shell) == 0
    shown = capsys.readouterr().out
    assert "own.pth" in shown
    assert "mobilenet_v2-b0353104.pth for mobilenet_v2" in " ".join(shown.split())
    (tmp_path / "resnet18-f37072fd.pth").write_bytes(CONTENT)
    assert main(["weights"], shell) == 0
    assert "not what torchvision published" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "resnet18-f37072fd.pth").unlink()
    assert main(["weights", "--json"], shell) == 0
    (row,) = json.loads(capsys.readouterr().out)["files"]
    assert row == {"name": "own.pth", "num_bytes": 7, "backbone": None, "sha256": OWN.sha256}
