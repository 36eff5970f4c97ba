"""A whole job: interrupted anywhere it ends as if it never was, and what cannot be done is refused before any file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from search.architecture import Architecture
from search.errors import (
    ArchitectureFileError,
    BudgetError,
    DeviceError,
    ResumeError,
    RunCancelledError,
    SearchError,
    SettingError,
    StateFileError,
)
from search.pipeline import evaluate_candidate, retrain_architecture, run_job
from search.ports import Event, MemoryStore, Message, StageFinished, Surroundings
from search.presets import build_spec
from search.results import Evaluation, Results
from search.spec import JobSpec
from search.training.run_state import find_state

Contents = dict[str, bytes]
CANDIDATE = "candidates/70pct/"


def small_job(**words: Any) -> JobSpec:
    """Return a job of a second: forty images, a handful of steps."""
    chosen: dict[str, Any] = {"tasks": ("left", "right", "left_group"), "budgets": ["70%"], "preset": "smoke"}
    spec = build_spec(**({"dataset": "digits", "backbone": "tiny4"} | chosen | words))
    return spec.model_copy(
        update={
            "data": spec.data.model_copy(update={"num_train": 40, "num_val": 20}),
            "search": spec.search.model_copy(update={"epochs": 3, "warmup_epochs": 1, "batch_size": 8}),
            "retrain": spec.retrain.model_copy(update={"epochs": 2, "batch_size": 20}),
        }
    )


class Killed(BaseException):
    """The process died here: nothing was asked, nothing saved."""


class FragileStore(MemoryStore):
    """A store on which the process dies just before it changes anything for the n-th time.

    Args:
        contents: What it holds, shared with whoever gave it.
        kill_at: That n, from 0; None for never.
    """

    def __init__(self, contents: Contents, kill_at: int | None = None) -> None:
        super().__init__()
        self.contents, self.kill_at, self.num_changes = contents, kill_at, 0

    def write(self, name: str, content: bytes) -> None:
        """Store content under a name, or die."""
        self._count()
        super().write(name, content)

    def delete(self, name: str) -> None:
        """Forget a name, or die."""
        self._count()
        super().delete(name)

    def _count(self) -> None:
        if self.num_changes == self.kill_at:
            raise Killed
        self.num_changes += 1


@dataclass
class World:
    """Everything around one attempt; it is over, by a request or by force, after so many events."""

    cache_dir: Path
    store: FragileStore = field(default_factory=lambda: FragileStore({}))
    stop_after: int | None = None
    kill_after: int | None = None
    hour: int = 0
    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        """Note an event, or die."""
        if self.kill_after is not None and len(self.events) >= self.kill_after:
            raise Killed
        self.events.append(event)

    def surroundings(self) -> Surroundings:
        """Return what a job is handed."""
        return Surroundings(
            store=self.store,
            reporter=self,
            cancelled=lambda: self.stop_after is not None and len(self.events) >= self.stop_after,
            device="cpu",
            cache_dir=self.cache_dir,
            now=lambda: datetime(2026, 1, 31, self.hour, tzinfo=UTC),
        )


def without_times(contents: Contents) -> dict[str, Any]:
    """Return what the files of a run say: JSON without times of any kind, a state's values, other files as are."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key not in ("created", "latency")}
        return [strip(item) for item in value] if isinstance(value, list) else value

    said: dict[str, Any] = dict(contents)
    for name, content in contents.items():
        if name.endswith(".json"):
            said[name] = strip(json.loads(content))
        elif name.endswith(".pt"):  # equal values may be pickled differently: strings may be one object or two
            state = find_state(FragileStore(contents), name, torch.device("cpu"))
            assert state is not None
            said[name] = (state["arch_logits_LTK"].tolist(), state["history"])
    return said


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache for all runs of this file."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def undisturbed(cache_dir: Path) -> World:
    """Return the world after the small job ran without a stop."""
    world = World(cache_dir)
    run_job(small_job(), world.surroundings())
    return world


def assert_ends_alike(undisturbed: World, attempts: list[tuple[str, float]]) -> None:
    """Run the small job with interruptions at shares of all events; check that the files end as without them."""
    contents: Contents = {}
    for hour, (how, share) in enumerate(attempts):
        world = World(undisturbed.cache_dir, FragileStore(contents), hour=hour)
        if how == "disk":
            world.store.kill_at = int(share * undisturbed.store.num_changes)
        else:
            number = int(share * len(undisturbed.events))
            world.stop_after, world.kill_after = (number, None) if how == "stop" else (None, number)
        try:
            run_job(small_job(), world.surroundings())
        except (RunCancelledError, Killed):
            continue
    run_job(small_job(), World(undisturbed.cache_dir, FragileStore(contents), hour=23).surroundings())
    assert without_times(contents) == without_times(undisturbed.store.contents)


@given(attempts=st.lists(st.tuples(st.sampled_from(["stop", "kill", "disk"]), st.floats(0, 1)), min_size=1, max_size=3))
@examples(max_examples=6)
def test_an_interrupted_job_ends_like_an_undisturbed_one(undisturbed: World, attempts: list[tuple[str, float]]) -> None:
    """Asked to stop or killed anywhere, several times: results, architectures, weights and histories end equal."""
    assert_ends_alike(undisturbed, attempts)


def test_a_job_killed_at_its_last_event_ends_alike(undisturbed: World) -> None:
    """The last moment, with all networks trained and the results unwritten, is no exception."""
    last = (len(undisturbed.events) - 1) / len(undisturbed.events)
    assert_ends_alike(undisturbed, [("kill", last)])


def test_a_job_killed_before_it_forgets_a_state_ends_alike(undisturbed: World) -> None:
    """States that were left beside finished documents are forgotten in the next run, whatever they hold."""
    contents = dict(undisturbed.store.contents)
    contents |= {f"{CANDIDATE}search-1.state": b"old", f"{CANDIDATE}training.state": b"old"}
    run_job(small_job(), World(undisturbed.cache_dir, FragileStore(contents)).surroundings())
    assert without_times(contents) == without_times(undisturbed.store.contents)


def test_a_finished_job_is_not_done_again(undisturbed: World) -> None:
    """A second run over a finished store trains nothing and gives the same results."""
    world = World(undisturbed.cache_dir, hour=5)
    world.store.contents.update(undisturbed.store.contents)
    run_job(small_job(), world.surroundings())
    assert without_times(world.store.contents) == without_times(undisturbed.store.contents)
    finished = [event for event in world.events if isinstance(event, StageFinished)]
    assert sum(event.reused for event in finished) == 6  # four baselines, the search and the retraining
    assert len(world.events) < 10


def test_a_finished_job_leaves_documents_and_no_state(undisturbed: World) -> None:
    """Every network has its three files, the search history and routing, candidates pictures; no state is left."""
    folders = ["baselines/shared/", *(f"baselines/single-{task}/" for task in small_job().tasks), CANDIDATE]
    wanted = {f"{folder}{name}" for folder in folders for name in ("evaluation.json", "weights.safetensors")}
    wanted |= {f"{folder}architecture.json" for folder in folders}
    wanted |= {f"{CANDIDATE}predictions{of}.png" for of in ("", *(f"-{task}" for task in small_job().tasks))}
    assert set(undisturbed.store.contents) == wanted | {
        f"{CANDIDATE}search.pt",
        f"{CANDIDATE}routing.json",
        "results.json",
    }


def test_every_network_is_timed(undisturbed: World) -> None:
    """Candidates and baselines say how long they take for an image, and on what; separate networks add up."""
    results = Results.from_json_bytes(undisturbed.store.read("results.json"))
    assert results.baselines is not None
    single = results.baselines.single.latency
    timed = [single, results.baselines.shared.latency, results.candidates[0].latency]
    assert all(latency is not None and latency.latency_ms > 0 and latency.device for latency in timed)
    names = [f"baselines/single-{task}/evaluation.json" for task in small_job().tasks]
    alone = [Evaluation.from_json_bytes(undisturbed.store.read(name)).latency for name in names]
    assert single is not None
    assert single.latency_ms == pytest.approx(sum(each.latency_ms for each in alone if each is not None))


def test_the_delivered_tree_keeps_its_budget(undisturbed: World) -> None:
    """Results, architecture file and budget agree, and the tree costs at most the budget."""
    results = Results.from_json_bytes(undisturbed.store.read("results.json"))
    architecture = Architecture.from_json_bytes(undisturbed.store.read(f"{CANDIDATE}architecture.json"))
    candidate = results.candidates[0]
    assert candidate.madds == architecture.madds <= (candidate.budget_madds or 0) == architecture.budget_madds
    assert results.front == ("70pct",)
    assert candidate.metrics is not None
    assert set(candidate.metrics) == set(small_job().tasks)


def test_the_order_of_tasks_changes_nothing(undisturbed: World) -> None:
    """The same job with its tasks named in another order delivers the same files."""
    world = World(undisturbed.cache_dir)
    run_job(small_job(tasks=("left_group", "right", "left")), world.surroundings())
    assert without_times(world.store.contents) == without_times(undisturbed.store.contents)


def test_without_retraining_there_are_no_metrics(cache_dir: Path) -> None:
    """A job that only searches delivers architectures, no baselines, null metrics, and puts all on the front."""
    world = World(cache_dir)
    results = run_job(small_job(with_retrain=False, budgets=["60%", "80%"]), world.surroundings())
    assert results.baselines is None
    assert [(each.name, each.delta_m, each.metrics) for each in results.candidates] == [
        ("60pct", None, None),
        ("80pct", None, None),
    ]
    assert results.front == ("60pct", "80pct")
    assert not any(name.startswith("baselines/") for name in world.store.contents)


@pytest.mark.parametrize("budgets", [["1K"], ["70%", "5%"]])
def test_an_infeasible_budget_is_refused_before_anything_is_written(cache_dir: Path, budgets: list[str]) -> None:
    """A budget below the fully shared network names the least feasible one, which then is feasible; no file is made."""
    world = World(cache_dir)
    with pytest.raises(BudgetError, match=r"Ask for at least \d+ MAdds \([\d.]+% of the single-task total\)") as caught:
        run_job(small_job(budgets=budgets), world.surroundings())
    assert world.store.contents == {}
    lowest = str(caught.value).split("at least ")[1].split()[0]
    results = run_job(small_job(budgets=[lowest], with_retrain=False), world.surroundings())
    assert results.candidates[0].madds == int(lowest)


def test_a_budget_that_does_not_bind_is_remarked_on(cache_dir: Path) -> None:
    """A budget above the single-task total is said not to bind, and the job goes on."""
    world = World(cache_dir)
    results = run_job(small_job(budgets=["150%"], with_retrain=False), world.surroundings())
    messages = [event.text for event in world.events if isinstance(event, Message)]
    assert len(messages) == 1
    assert "The budget 150%" in messages[0]
    assert "does not bind" in messages[0]
    assert [each.name for each in results.candidates] == ["150pct"]


def test_a_folder_of_another_job_is_refused(undisturbed: World) -> None:
    """An architecture that another seed searched is not taken for this job's."""
    world = World(undisturbed.cache_dir)
    name = f"{CANDIDATE}architecture.json"
    world.store.write(name, undisturbed.store.read(name))
    with pytest.raises(ResumeError, match=r"written by another job.*Choose an empty output folder"):
        run_job(small_job(seed=1, with_retrain=False), world.surroundings())


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (f"{CANDIDATE}architecture.json", ArchitectureFileError),
        (f"{CANDIDATE}search.pt", StateFileError),
        ("baselines/shared/evaluation.json", StateFileError),
    ],
)
def test_a_corrupt_file_of_a_finished_stage_is_refused(undisturbed: World, name: str, error: type[SearchError]) -> None:
    """Half a file where a stage left its result ends in a sentence that names the file."""
    world = World(undisturbed.cache_dir)
    world.store.contents.update(undisturbed.store.contents)
    world.store.write(name, world.store.read(name)[:100])
    with pytest.raises(error, match=name.rsplit("/", maxsplit=1)[-1].replace(".", r"\.")):
        run_job(small_job(), world.surroundings())


@pytest.mark.parametrize("folder", [CANDIDATE, "baselines/shared/"])
def test_lost_weights_of_a_finished_stage_are_named(undisturbed: World, folder: str) -> None:
    """A folder with metrics but no weights, its picture gone as well or not, is refused; obeying the sentence helps."""
    world = World(undisturbed.cache_dir)
    world.store.contents.update(undisturbed.store.contents)
    for name in ("weights.safetensors", "predictions.png"):
        world.store.delete(f"{folder}{name}")
        with pytest.raises(StateFileError, match=rf"'{folder}weights\.safetensors' is missing.*delete '{folder}eval"):
            run_job(small_job(), world.surroundings())
    world.store.delete(f"{folder}evaluation.json")
    run_job(small_job(), world.surroundings())
    assert without_times(world.store.contents) == without_times(undisturbed.store.contents)


def test_a_lost_picture_is_drawn_again(undisturbed: World) -> None:
    """A picture can be had from the weights, so that its loss is none."""
    world = World(undisturbed.cache_dir)
    world.store.contents.update(undisturbed.store.contents)
    world.store.delete(f"{CANDIDATE}predictions.png")
    run_job(small_job(), world.surroundings())
    assert without_times(world.store.contents) == without_times(undisturbed.store.contents)


def test_a_corrupt_state_is_refused(cache_dir: Path) -> None:
    """A search whose saved state was damaged says so rather than going on from it."""
    world = World(cache_dir, stop_after=6)
    with pytest.raises(RunCancelledError):
        run_job(small_job(with_retrain=False), world.surroundings())
    name = f"{CANDIDATE}search-1.state"
    world.store.write(name, world.store.read(name)[:-1])
    with pytest.raises(StateFileError, match="corrupt"):
        run_job(small_job(with_retrain=False), World(cache_dir, world.store).surroundings())


def test_an_architecture_is_retrained_and_evaluated_alike(undisturbed: World) -> None:
    """Retraining an architecture file gives metrics that an evaluation of its weights repeats."""
    architecture = Architecture.from_json_bytes(undisturbed.store.read(f"{CANDIDATE}architecture.json"))
    world = World(undisturbed.cache_dir, stop_after=9)
    with pytest.raises(RunCancelledError):
        retrain_architecture(architecture, "digits", "smoke", 0, world.surroundings())
    world = World(undisturbed.cache_dir, world.store)
    metrics = retrain_architecture(architecture, "digits", "smoke", 0, world.surroundings())
    weights = world.store.read("weights.safetensors")
    again = evaluate_candidate(architecture, weights, "smoke", World(undisturbed.cache_dir).surroundings())
    assert again == metrics
    assert {"predictions.png", "predictions-left.png"} <= set(world.store.contents)
    assert Architecture.from_json_bytes(world.store.read("architecture.json")) == architecture


@pytest.mark.parametrize("folder", ["baselines/single-left/", "baselines/shared/"])
def test_a_baseline_is_retrained_too(undisturbed: World, folder: str) -> None:
    """A baseline's architecture, even of one task, is retrained and measured like any other: no job is made of it."""
    architecture = Architecture.from_json_bytes(undisturbed.store.read(f"{folder}architecture.json"))
    world = World(undisturbed.cache_dir)
    metrics = retrain_architecture(architecture, "digits", "smoke", 0, world.surroundings())
    assert set(metrics) == set(architecture.tasks)
    weights = world.store.read("weights.safetensors")
    assert evaluate_candidate(architecture, weights, "smoke", World(undisturbed.cache_dir).surroundings()) == metrics


def test_retraining_for_an_unknown_preset_leaves_nothing(undisturbed: World) -> None:
    """What a job would refuse is refused here too, before any file."""
    architecture = Architecture.from_json_bytes(undisturbed.store.read(f"{CANDIDATE}architecture.json"))
    world = World(undisturbed.cache_dir)
    with pytest.raises(SettingError, match="Unknown preset 'slow'"):
        retrain_architecture(architecture, "digits", "slow", 0, world.surroundings())
    assert world.store.contents == {}


def test_a_refused_device_leaves_nothing(monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    """A job for a GPU that is not there ends before any file."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    world = World(cache_dir)
    with pytest.raises(DeviceError):
        run_job(small_job(), replace(world.surroundings(), device="cuda"))
    assert world.store.contents == {}


def test_a_stop_while_data_are_rendered_leaves_nothing(cache_dir: Path) -> None:
    """Rendering is work too: it can be stopped before any file of the run, and the next run takes it up."""
    spec = small_job(
        dataset="scenes", tasks=("semseg", "depth"), input_size=(64, 64), budgets=["90%"], with_retrain=False
    )
    spec = spec.model_copy(update={"data": spec.data.model_copy(update={"num_train": 4, "num_val": 2})})
    world = World(cache_dir, stop_after=0)
    with pytest.raises(RunCancelledError):
        run_job(spec, world.surroundings())
    assert world.store.contents == {}
    assert run_job(spec, World(cache_dir).surroundings()).study.dataset == "scenes"
