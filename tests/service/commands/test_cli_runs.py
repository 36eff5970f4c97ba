"""`bmtas search` and `retrain` with an engine that only pretends: folders, streams, stops and refusals."""

from __future__ import annotations

import base64
import errno
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from search.architecture import Architecture
from search.errors import BudgetError, DeviceError, RunCancelledError
from search.ports import Message, StageFinished, StageStarted, Surroundings
from search.results import MetricValue, Results
from search.spec import JobSpec, WeightsSpec

if TYPE_CHECKING:
    from tests.service.conftest import BuildArchitecture, Outcome, Run

SEARCH = ("search", "--dataset", "digits", "--backbone", "tiny4", "--tasks", "left,right", "--budget", "60%")


class FakeEngine:
    """An engine that writes what a real one would and then does what a test wants.

    Args:
        architecture: The tree of every candidate.
        results: What a study finds; its description is not that of the job.
    """

    def __init__(self, architecture: Architecture, results: Results) -> None:
        self.architecture = architecture
        self.results = results
        self.act: Callable[[Surroundings], None] = lambda around: None
        self.specs: list[JobSpec] = []
        self.arounds: list[Surroundings] = []
        self.weights: WeightsSpec | None = None

    def run_job(self, spec: JobSpec, surroundings: Surroundings) -> Results:
        """Return the results, written as a real engine writes them."""
        self.specs.append(spec)
        self._work(surroundings)
        for candidate in self.results.candidates:
            surroundings.store.write(candidate.architecture, self.architecture.to_json_bytes())
        surroundings.store.write("results.json", self.results.to_json_bytes())
        return self.results

    def retrain_architecture(
        self,
        architecture: Architecture,
        dataset: str,
        preset: str,
        seed: int,
        surroundings: Surroundings,
        weights: WeightsSpec | None = None,
    ) -> Mapping[str, MetricValue]:
        """Return one accuracy per task."""
        self.weights = weights
        self._work(surroundings)
        surroundings.store.write("architecture.json", architecture.to_json_bytes())
        return {
            task: MetricValue(metric="accuracy", value=50.0 + seed, higher_is_better=True)
            for task in architecture.tasks
        }

    def evaluate_candidate(
        self, architecture: Architecture, weights: bytes, preset: str, surroundings: Surroundings
    ) -> Mapping[str, MetricValue]:
        """Refuse: these commands evaluate nothing."""
        raise AssertionError

    def _work(self, surroundings: Surroundings) -> None:
        """Report a stage and act."""
        self.arounds.append(surroundings)
        surroundings.reporter.emit(StageStarted("search 60pct", 0, 10))
        self.act(surroundings)
        surroundings.reporter.emit(StageFinished("search 60pct", {"madds": 370.0}))


@pytest.fixture
def engine(build_architecture: BuildArchitecture, study_results: Results) -> FakeEngine:
    """Return an engine that pretends."""
    return FakeEngine(build_architecture(("left", "right")), study_results)


def names_in(folder: Path) -> list[str]:
    """Return what a folder holds, sorted, without the lock."""
    return sorted(name for name in os.listdir(folder) if name != ".lock")


def search(run: Run, engine: FakeEngine, *arguments: str) -> Outcome:
    """Run a search with the pretending engine."""
    return run(*SEARCH, *arguments, load_engine=lambda: engine)


def test_search_fills_its_folder_and_ends_with_the_table(run: Run, engine: FakeEngine) -> None:
    """Spec, results and report stand in the folder; the table names every network, the front and the report."""
    outcome = search(run, engine, "--out", "deep/study")
    assert outcome.code == 0
    assert names_in(Path("deep/study")) == ["candidates", "report.html", "results.json", "spec.json"]
    assert "<svg" in Path("deep/study/report.html").read_text()
    for words in ("single (2 networks)", "shared", "60pct", "*", "-0.40", "91.25", "delta_m", "deep/study/report.html"):
        assert words in outcome.out
    assert "search 60pct: done" in outcome.err


def test_pictures_of_a_run_stand_in_its_report(run: Run, engine: FakeEngine) -> None:
    """A contact sheet that lies beside a candidate is shown in the report."""
    engine.act = lambda around: around.store.write("candidates/75pct/predictions.png", b"a picture")
    search(run, engine, "--out", "study")
    report = Path("study/report.html").read_text()
    assert base64.b64encode(b"a picture").decode() in report
    assert "75pct: labels and predictions" in report


def test_json_is_alone_on_stdout_and_stderr_is_quiet(run: Run, engine: FakeEngine) -> None:
    """`--json` prints exactly what results.json holds; only sentences may go to stderr."""
    engine.act = lambda around: around.reporter.emit(Message("The budget does not bind."))
    outcome = search(run, engine, "--out", "study", "--json")
    assert outcome.out.encode() == Path("study/results.json").read_bytes()
    assert json.loads(outcome.out)["front"] == ["60pct", "75pct"]
    assert outcome.err == "The budget does not bind.\n"


def test_options_reach_the_job(run: Run, engine: FakeEngine, tmp_path: Path) -> None:
    """Every option lands in the spec or the surroundings; budgets are canonical and named once."""
    search(
        run, engine, "--budget", "0.5G", "--budget", "60.0%", "--seed", "7", "--preset", "smoke",
        "--objective", "sampled", "--no-retrain", "--device", "cpu",
    )  # fmt: skip
    (spec,), (around,) = engine.specs, engine.arounds
    assert (spec.tasks, spec.budgets, spec.seed) == (("left", "right"), ("60%", "500000000"), 7)
    assert (spec.preset, spec.objective, spec.with_retrain) == ("smoke", "sampled", False)
    assert (around.device, around.cache_dir) == ("cpu", tmp_path / "cache")
    assert around.now().tzinfo is not None


def test_the_spec_is_written_first(run: Run, engine: FakeEngine) -> None:
    """When the engine begins, spec.json already holds the canonical job."""
    seen: list[bytes] = []
    engine.act = lambda around: seen.append(around.store.read("spec.json"))
    search(run, engine, "--out", "study")
    assert seen == [engine.specs[0].canonical_json().encode()]


def test_without_out_every_run_gets_a_fresh_folder(run: Run, engine: FakeEngine) -> None:
    """Names tell dataset, backbone and seed, and count up; --resume finds the newest of the same job."""
    for _ in range(2):
        search(run, engine)
    assert "digits-tiny4-seed0-2" in search(run, engine, "--resume").out
    assert names_in(Path("runs")) == ["digits-tiny4-seed0", "digits-tiny4-seed0-2"]


@pytest.mark.parametrize("arguments", [["--resume"], ["--resume", "--out", "nothing"]])
def test_resume_without_a_run_is_refused(run: Run, engine: FakeEngine, arguments: list[str]) -> None:
    """There must be something to go on with, and nothing is made."""
    search(run, engine, *arguments).assert_refused("--resume goes on with a run")
    assert os.listdir() == []


def test_resume_with_another_spec_names_the_difference(run: Run, engine: FakeEngine) -> None:
    """A folder goes on with its own job only; task order is no difference."""
    search(run, engine, "--out", "study")
    search(run, engine, "--out", "study", "--resume", "--seed", "3").assert_refused("seed is 0 there and 3 here")
    again = ("search", "--tasks", "right,left", *SEARCH[1:5], "--budget", "60%", "--out", "study", "--resume")
    assert run(*again, load_engine=lambda: engine).code == 0
    assert len(engine.specs) == 2


def test_a_folder_that_holds_something_is_refused(run: Run, engine: FakeEngine) -> None:
    """Neither a finished study nor foreign files are written over, and the engine is never asked."""
    search(run, engine, "--out", "study")
    search(run, engine, "--out", "study").assert_refused("must be empty", "study", "--resume")
    assert len(engine.specs) == 1


@pytest.mark.parametrize(
    "error",
    [
        BudgetError("The budget 20% is too low. Ask for at least 155600 MAdds."),
        DeviceError("No CUDA device was found."),
        OSError(errno.ENOSPC, "No space left on device", "study/state"),
        PermissionError(errno.EACCES, "Permission denied", "study/state"),
    ],
)
def test_a_refused_run_leaves_nothing(run: Run, engine: FakeEngine, error: Exception) -> None:
    """A run that fails before it saved anything takes its folders away again."""

    def fail(around: Surroundings) -> None:
        """Fail as asked."""
        raise error

    engine.act = fail
    outcome = search(run, engine, "--json", "--out", "deep/study")
    outcome.assert_refused()
    assert os.listdir() == []


def test_a_full_disk_later_keeps_what_was_saved(run: Run, engine: FakeEngine) -> None:
    """After the first saved state a full disk costs nothing: the sentence says to resume, and that works."""

    def fill(around: Surroundings) -> None:
        """Save something, then find the disk full."""
        around.store.write("state", b"saved")
        raise OSError(errno.ENOSPC, "No space left on device", "study/more")

    engine.act = fill
    search(run, engine, "--json", "--out", "study").assert_refused("disk is full", "study/more", "--resume")
    engine.act = lambda around: None
    assert search(run, engine, "--out", "study", "--resume").code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_request_ends_the_run_at_its_next_step(run: Run, engine: FakeEngine, number: signal.Signals) -> None:
    """The first signal sets the flag; the run saves, says how to go on and ends with 130; --resume goes on."""

    def stop(around: Surroundings) -> None:
        """Be told to stop, and obey."""
        assert not around.cancelled()
        os.kill(os.getpid(), number)
        if around.cancelled():
            raise RunCancelledError("stopped")

    engine.act = stop
    outcome = search(run, engine, "--out", "study")
    assert (outcome.code, outcome.out) == (130, "")
    assert "--out study --resume" in outcome.err.splitlines()[-1]
    assert "continue with" in outcome.err.splitlines()[-1]
    engine.act = lambda around: None
    assert search(run, engine, "--out", "study", "--resume").code == 0


def test_a_second_stop_request_ends_the_run_at_once(run: Run, engine: FakeEngine) -> None:
    """A run that does not come to its next step is left by the second signal, with 130 too."""

    def hang(around: Surroundings) -> None:
        """Ignore the first signal."""
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second signal must not come back")

    engine.act = hang
    outcome = search(run, engine, "--out", "study")
    assert outcome.code == 130
    assert "Stopped at once" in outcome.err
    assert names_in(Path("study")) == ["spec.json"]


def test_a_fault_of_ours_keeps_its_traceback(run: Run, engine: FakeEngine) -> None:
    """A programming error is not dressed up as the person's mistake."""

    def break_down(around: Surroundings) -> None:
        """Fail in a way nobody foresaw."""
        raise ZeroDivisionError

    engine.act = break_down
    with pytest.raises(ZeroDivisionError):
        search(run, engine, "--out", "study")


def test_demo_takes_no_foreign_folder(run: Run) -> None:
    """A folder that holds something else is refused before any service is started."""
    Path("foreign").mkdir()
    Path("foreign/notes.txt").write_text("")
    run("demo", "--out", "foreign").assert_refused("must be empty")
    assert os.listdir("foreign") == ["notes.txt"]


def test_the_demonstration_stays_unless_told_otherwise(run: Run) -> None:
    """As its help says; `--once` is the only way to end it by itself, with or without a terminal."""
    words = " ".join(run("demo", "--help").out.split())
    assert "without it the service stays until Ctrl-C" in words
    assert "--stay" not in words


def test_retrain_fills_a_folder_and_prints_metrics(
    run: Run, engine: FakeEngine, build_architecture: BuildArchitecture
) -> None:
    """The architecture stands in a fresh folder, metrics come as table or JSON, --resume needs the same request."""
    Path("tree.json").write_bytes(build_architecture().to_json_bytes())
    request = ("retrain", "--architecture", "tree.json", "--dataset", "digits", "--preset", "smoke", "--seed", "2")
    assert "52.00" in run(*request, load_engine=lambda: engine).out
    assert names_in(Path("runs/retrain-digits-tiny4-seed2")) == ["architecture.json", "spec.json"]
    again = run(*request, "--resume", "--json", load_engine=lambda: engine)
    assert json.loads(again.out)["left"] == {"metric": "accuracy", "value": 52.0, "higher_is_better": True}
    Path("tree.json").write_bytes(build_architecture(("right", "left_group")).to_json_bytes())
    other = run(*request, "--resume", "--out", "runs/retrain-digits-tiny4-seed2", load_engine=lambda: engine)
    other.assert_refused("--resume needs the job", "retrain.")


@pytest.mark.parametrize(
    ("content", "dataset", "words"),
    [
        (b"{", "digits", ["tree.json", "not JSON"]),
        (None, "scenes", ["no task 'left'"]),
        (None, "x", ["Unknown dataset"]),
    ],
)
def test_retrain_refuses_what_does_not_fit(
    run: Run, build_architecture: BuildArchitecture, content: bytes | None, dataset: str, words: list[str]
) -> None:
    """Corrupt architectures and those of other tasks are refused before any work, and no folder is made."""
    Path("tree.json").write_bytes(build_architecture().to_json_bytes() if content is None else content)
    run("retrain", "--architecture", "tree.json", "--dataset", dataset).assert_refused(*words)
    assert os.listdir() == ["tree.json"]
