"""What the page of a network says: gains with signs, classes, pictures, neighbours, and costs without a dataset."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from typing import Any

import pytest

from db.records.jobs import FileRecord
from db.records.results import FrontRow
from models.branching import Branching
from search.architecture import Architecture, HeadShape, Provenance, layers_of
from search.data.catalogue import TaskInfo
from service.dashboard.architecture_view import (
    compare,
    compute_tree_costs,
    list_pictures,
    list_rivals,
    list_stations,
    list_task_rows,
    write_snippet,
)
from service.pages.drawing import MINUS

MIDDAY = datetime(2026, 1, 31, 12, tzinfo=UTC)


def _build(tasks: tuple[str, ...] = ("depth", "semseg")) -> Architecture:
    """Return a tree of a dataset that this program does not know."""
    branching = Branching.shared(tasks, 5)
    return Architecture(
        tasks=tasks,
        backbone="tiny4",
        input_size=(24, 24),
        image_channels=3,
        layers=layers_of(branching, [f"blocks.{index}" for index in range(5)]),
        heads={task: HeadShape(kind="depth" if task == "depth" else "segmentation", channels=4) for task in tasks},
        madds=1000,
        params=10,
        budget_madds=None,
        provenance=Provenance(
            dataset="my photographs",
            dataset_fingerprint="f",
            seed=0,
            objective="exact",
            spec_hash="0",
            code_version="1",
            created=MIDDAY.isoformat(),
        ),
    )


@pytest.mark.parametrize(
    ("value", "single", "higher", "words"),
    [
        (90.0, 80.0, True, "▲ +12.5 %"),
        (0.5, 0.4, False, f"▼ {MINUS}25.0 %"),
        (0.3, 0.4, False, "▲ +25.0 %"),
        (80.0, 80.0, True, "= 0.0 %"),
        (80.0, None, True, ""),
        (None, 80.0, True, ""),
        (float("nan"), 80.0, True, ""),
        (80.0, 0.0, True, ""),
    ],
)
def test_gains_are_signed_so_that_more_is_better(
    value: float | None, single: float | None, higher: bool, words: str
) -> None:
    """Where there is nothing to compare with, nothing is said."""
    assert compare("a", value, single, higher_is_better=higher).words == words


def test_classes_stand_below_their_task() -> None:
    """Each class is compared with the same class of the single-task network."""
    own = {"metric": "mIoU", "value": 50.0, "higher_is_better": True}
    rows = [{"name": "cat", "value": 40.0}, {"name": "dog", "value": None}]
    figures = [{"name": "accuracy", "value": 91.5, "unit": "%"}]
    metrics = {"semseg": {**own, "details": {"per_class": rows, "figures": figures}}}
    single = {"semseg": {**own, "details": {"per_class": [{"name": "cat", "value": 50.0}], "figures": []}}}
    (row,) = list_task_rows(_build(), metrics, single)
    assert [(one.name, one.words) for one in row.classes] == [("cat", f"▼ {MINUS}20.0 %"), ("dog", "")]
    assert row.beside == ("accuracy 91.50 %",)
    assert list_task_rows(_build(), {"semseg": own}, {})[0].classes == ()


def test_costs_need_no_dataset() -> None:
    """A tree says itself what it is built from, so its stations have figures wherever it comes from."""
    tree = _build()
    stations = list_stations(tree, compute_tree_costs(tree))
    assert [station.layer for station in stations] == list(tree.layer_names)
    assert {station.tasks for station in stations} == {"depth + semseg"}
    assert TaskInfo("depth", "depth", 4).name in compute_tree_costs(tree).decoder_madds


def test_only_pictures_of_predictions_are_shown() -> None:
    """The sheet of all tasks comes first."""
    names = ["weights.safetensors", "predictions-depth.png", "predictions.png", "predictions-../x.png", "other.png"]
    files = [FileRecord("trial", name, f"p/{name}", "0", 1, 1, MIDDAY) for name in names]
    assert list_pictures(files) == [("predictions-depth.png", "depth"), ("predictions.png", "")]


def test_neighbours_are_the_nearest_in_cost() -> None:
    """At most twelve, the network itself not among them."""
    rows = [
        FrontRow(f"a{i}", "job", "trial", f"n{i}", 0, None, madds=100 * i, params=1, delta_m=None, metrics=None)
        for i in range(30)
    ]
    record: Any = rows[15]
    found = list_rivals(record, rows)
    assert [row.id for row in found] == [f"a{i}" for i in range(9, 22) if i != 15]


@pytest.mark.parametrize("name", ["depth", 'a"b', "tab\there", "línea\u2028break"])
def test_the_snippet_is_python_whatever_tasks_are_called(name: str) -> None:
    """Names stand in strings and on one line of a comment."""
    lines = write_snippet(_build((name, "other")), "x.onnx")
    names = next(node for node in ast.walk(ast.parse(lines)) if isinstance(node, ast.List))
    assert ast.literal_eval(names) == [name, "other"]
