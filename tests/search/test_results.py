"""results.json: what is written is read back, and the parts agree with one another."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.errors import StateFileError
from search.results import (
    Baselines,
    Candidate,
    ClassFigure,
    Latency,
    MetricDetails,
    MetricValue,
    Results,
    SharedBaseline,
    SideFigure,
    SingleBaseline,
    Study,
    StudyCosts,
    StudyTask,
    add_latencies,
    thin_history,
)

TASKS = ("left", "right")


def _metrics(value: float) -> dict[str, MetricValue]:
    """Return accuracies of both tasks."""
    return {task: MetricValue(metric="accuracy", value=value, higher_is_better=True) for task in TASKS}


def _study() -> Study:
    """Return a study of two tasks."""
    task = StudyTask(kind="classification", channels=10, metric="accuracy", higher_is_better=True)
    return Study(
        dataset="digits",
        dataset_fingerprint="f00d",
        tasks=dict.fromkeys(TASKS, task),
        backbone="tiny4",
        input_size=(24, 24),
        image_channels=1,
        preset="quick",
        seed=0,
        objective="exact",
        spec_hash="beef",
        code_version="0.1.0",
        created="2026-01-31T12:00:00+00:00",
        costs=StudyCosts(
            stem_madds=10,
            layer_names=("block1", "block2"),
            layer_madds=(40, 50),
            decoder_madds=dict.fromkeys(TASKS, 5),
            shared_madds=110,
            split_madds=200,
            single_madds=210,
        ),
    )


def _candidate(name: str, retrained: bool = True) -> Candidate:
    """Return a candidate."""
    return Candidate(
        name=name,
        budget_madds=170,
        madds=160,
        params=1000,
        delta_m=-0.4 if retrained else None,
        metrics=_metrics(0.9) if retrained else None,
        architecture=f"candidates/{name}/architecture.json",
        seed=0,
    )


def _results() -> Results:
    """Return results of one retrained candidate."""
    single = SingleBaseline(madds=210, params=2000, metrics=_metrics(0.91))
    shared = SharedBaseline(madds=110, params=900, metrics=_metrics(0.8), delta_m=-12.0)
    return Results(
        study=_study(),
        baselines=Baselines(single=single, shared=shared),
        candidates=(_candidate("60pct"),),
        front=("60pct",),
        history={"search 60%": ({"step": 0.0, "loss": 1.5},)},
    )


def test_what_is_written_is_read_back() -> None:
    """Results survive writing and reading."""
    assert Results.from_json_bytes(_results().to_json_bytes()) == _results()


def test_optional_parts_are_left_out_or_read_back() -> None:
    """Details of a metric and latencies stand in the file where they are known; a file without them is as good."""
    latency = Latency(latency_ms=1.5, device="a processor", threads=2, num_passes=9)
    details = MetricDetails(per_class=(ClassFigure(name="0", value=None),), figures=(SideFigure(name="x", value=1.0),))
    rich = _candidate("60pct").model_copy(
        update={"latency": latency, "metrics": {"left": _metrics(0.9)["left"].model_copy(update={"details": details})}}
    )
    assert Candidate.model_validate_json(rich.model_dump_json()) == rich
    plain = _candidate("60pct").model_dump(mode="json")
    assert "latency" not in plain
    assert set(plain["metrics"]["left"]) == {"metric", "value", "higher_is_better"}


def test_latencies_of_one_device_add_up() -> None:
    """Networks run one after the other; with one unknown, or on another device, there is no sum."""
    one = Latency(latency_ms=1.5, device="a processor", threads=2, num_passes=9)
    total = add_latencies([one, one.model_copy(update={"latency_ms": 2.0, "num_passes": 3})])
    assert total == one.model_copy(update={"latency_ms": 3.5, "num_passes": 3})
    assert add_latencies([one, None]) is None
    assert add_latencies([one, one.model_copy(update={"device": "another"})]) is None


def test_the_keys_are_those_of_the_format() -> None:
    """The file holds the promised keys."""
    document = json.loads(_results().to_json_bytes())
    assert {"study", "baselines", "candidates", "front"} <= set(document)
    assert set(document["baselines"]["single"]) == {"madds", "params", "metrics"}
    assert set(document["baselines"]["shared"]) == {"madds", "params", "metrics", "delta_m"}
    expected = {"name", "budget_madds", "madds", "params", "delta_m", "metrics", "architecture", "seed"}
    assert set(document["candidates"][0]) == expected
    assert document["candidates"][0]["metrics"]["left"] == {
        "metric": "accuracy",
        "value": 0.9,
        "higher_is_better": True,
    }


def test_without_retraining_what_was_not_measured_is_null() -> None:
    """A search alone gives costs, and nulls where nothing was trained."""
    results = Results(study=_study(), baselines=None, candidates=(_candidate("a", retrained=False),), front=("a",))
    document = json.loads(results.to_json_bytes())
    assert document["baselines"] is None
    assert document["candidates"][0]["delta_m"] is None
    assert document["candidates"][0]["metrics"] is None


def _spoiled(**changes: Any) -> bytes:
    """Return the results with some top-level values replaced."""
    return json.dumps({**json.loads(_results().to_json_bytes()), **changes}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_spoiled(front=["other"]), "'front' names the candidates"),
        (_spoiled(candidates=[]), "'front' names the candidates"),
        (_spoiled(candidates=[json.loads(_candidate("60pct").model_dump_json())] * 2), "must be distinct"),
        (_spoiled(colour="red"), "the key 'colour' is unknown"),
        (_spoiled(study={}), "is missing"),
        (b'{"study": NaN}', "NaN"),
        (b"", "it is empty"),
    ],
)
def test_a_spoiled_file_is_refused_in_one_sentence(content: bytes, reason: str) -> None:
    """The error names the file and what is wrong in it."""
    with pytest.raises(StateFileError, match=r"^r\.json is not a usable results file") as caught:
        Results.from_json_bytes(content, "r.json")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_metrics_of_other_tasks_are_refused() -> None:
    """A candidate's metrics must be those of the study's tasks."""
    stray = _candidate("a").model_copy(update={"metrics": {"left": _metrics(0.5)["left"]}})
    with pytest.raises(ValueError, match="metrics must be those of the tasks"):
        Results(study=_study(), baselines=None, candidates=(stray,), front=())


@settings(max_examples=30)
@given(num_rows=st.integers(0, 400), max_rows=st.integers(2, 50))
def test_a_thinned_history_keeps_both_ends_and_its_order(num_rows: int, max_rows: int) -> None:
    """A long history shrinks to the limit, a short one stays whole, and steps still rise."""
    steps = [row["step"] for row in thin_history({"s": [{"step": float(i)} for i in range(num_rows)]}, max_rows)["s"]]
    assert len(steps) == min(num_rows, max_rows)
    assert steps == sorted(set(steps))
    if num_rows:
        assert (steps[0], steps[-1]) == (0.0, num_rows - 1.0)


def test_a_thinned_history_has_finite_figures_only() -> None:
    """What JSON cannot hold is left out rather than failing the run at its end."""
    thinned = thin_history({"s": [{"step": 0, "loss": math.nan, "madds": math.inf, "temperature": 5.0}]})
    assert thinned == {"s": ({"step": 0.0, "temperature": 5.0},)}


def test_a_thinned_history_counts_in_epochs_and_keeps_plain_numbers() -> None:
    """What the stages note per epoch becomes rows with a step; flags and lists stay out."""
    rows: list[dict[str, object]] = [{"epoch": 7, "warming_up": True, "probabilities": [[0.5]], "loss": 1}, {"loss": 2}]
    assert thin_history({"s": rows}) == {"s": ({"step": 7.0, "loss": 1.0}, {"step": 2.0, "loss": 2.0})}
