"""What a search may name beside the built-in things: people's datasets and weight files, by name and never by path."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from search.data.shelf import DatasetShelf
from service.serving.dataset_checker import DatasetChecker
from tests.search.data.files.own_dataset import CLASSES, manifest_values, write_own_dataset

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server

DATABASES = ("sqlite", "postgres")
URL = "/api/v1/searches"
SEARCH: dict[str, Any] = {
    "dataset": "robot",
    "tasks": ["semseg", "scene"],
    "backbone": "tiny4",
    "budgets": ["90%"],
    "preset": "smoke",
}


@pytest.fixture(scope="module")
def setting_changes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return a server with folders of datasets and of weights."""
    folder = tmp_path_factory.mktemp("offers")
    write_own_dataset(folder / "datasets" / "robot", name="robot")
    broken = folder / "datasets" / "broken"
    broken.mkdir()
    (broken / "dataset.yaml").write_text("name: broken\n")
    (folder / "weights").mkdir()
    (folder / "weights" / "mine.safetensors").write_bytes(b"weights")
    return {"datasets_dir": folder / "datasets", "weights_dir": folder / "weights"}


def check_all(server: Server) -> int:
    """Return how many datasets of a server were looked at now."""
    return DatasetChecker(DatasetShelf(server.settings.datasets_dir), server.store).check_all(threading.Event())


def test_a_persons_dataset_is_offered_with_its_check(server: Server) -> None:
    """It stands in the list by its name; once its samples were read, with what was found, and its statistics alone."""
    ask = server.ask("viewer")
    listed = {row["name"]: row for row in ask.get("/api/v1/datasets").json()["items"]}
    robot = listed["robot"]
    assert [task["name"] for task in robot["tasks"]] == ["semseg", "parts", "depth", "normals", "edge", "sal", "scene"]
    assert (robot["num_train"], robot["num_val"], robot["check"]["state"]) == (4, 2, "waiting")
    assert (listed["digits"]["definition"], listed["digits"]["check"]) == (None, None)
    assert (check_all(server), check_all(server)) == (1, 0)
    details = ask.get("/api/v1/datasets/robot").json()
    assert details["check"] | {"checked_at": None} == {
        "state": "checked",
        "checked_at": None,
        "num_samples": {"train": 4, "val": 2},
        "num_faulty": 0,
        "faults": [],
        "remarks": ["Task 'parts': 1 of 2 classes never occur (none)."],
        "message": "",
    }
    assert details["sizes"] == {"20x30": 6}
    assert [row["name"] for row in details["statistics"]["semseg"]["classes"]] == list(CLASSES)
    assert ask.get("/api/v1/datasets/nothing").status_code == 404


def test_what_cannot_be_used_says_why(server: Server) -> None:
    """A dataset.yaml that is none is named as it lies in the folder, without the paths of the machine."""
    (unusable,) = server.ask("viewer").get("/api/v1/datasets").json()["unusable"]
    assert unusable["file"] == "broken/dataset.yaml"
    assert str(server.settings.datasets_dir) not in unusable["message"]


def test_a_search_on_a_persons_dataset_is_planned_like_any(server: Server) -> None:
    """It is validated and submitted by its name; its trials carry the definition they were planned by."""
    validation = server.ask().post(f"{URL}/validate", json=SEARCH).json()
    assert validation["ok"], validation
    job = server.submit(**SEARCH)
    definition = server.ask().get("/api/v1/datasets/robot").json()["definition"]
    trials = server.store.list_trials(job["id"])
    assert {trial.spec["job"]["data"]["definition"] for trial in trials} == {definition}
    listed = server.ask().get(URL, params={"dataset": "robot"}).json()["items"]
    assert [row["id"] for row in listed] == [job["id"]]


@pytest.mark.parametrize("name", ["robot/dataset.yaml", "../robot", "/etc/passwd", "broken", "%2e%2e", "Robot"])
def test_a_dataset_is_never_a_path(server: Server, name: str) -> None:
    """Whatever names no dataset of the list is refused at its field."""
    response = server.ask().post(URL, json={**SEARCH, "dataset": name})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/dataset")
    assert "robot" in response.json()["errors"][0]["message"]


def test_a_changed_definition_is_another_study_and_checked_anew(server: Server) -> None:
    """With another class the old check counts no more; faults that are found warn whoever validates a search."""
    place = DatasetShelf(server.settings.datasets_dir).place("robot")
    assert place is not None
    content, before = place.read_text(), server.submit(**SEARCH)["study_key"]
    try:
        tasks = manifest_values()["tasks"]
        tasks["semseg"]["classes"] = CLASSES[:2]
        place.write_text(json.dumps(manifest_values(name="robot", tasks=tasks)))
        assert server.ask().get("/api/v1/datasets/robot").json()["check"]["state"] == "waiting"
        assert check_all(server) == 1
        check = server.ask().get("/api/v1/datasets/robot").json()["check"]
        (fault,) = check["faults"]
        assert fault["part"] == "semseg"
        assert check["num_faulty"] == fault["num_samples"] > 1
        assert server.submit(**SEARCH)["study_key"] != before
        warnings = server.ask().post(f"{URL}/validate", json=SEARCH).json()["warnings"]
        assert any("The check found faults" in warning for warning in warnings)
    finally:
        place.write_text(content)


def test_a_check_is_repeated_when_it_is_asked_for(server: Server) -> None:
    """After files were mended, which the definition does not tell, an operator has them read again."""
    check_all(server)
    path = "/api/v1/datasets/robot/check"
    assert server.ask("viewer").post(path).status_code == 403
    asked = server.ask().post(path)
    assert (asked.status_code, asked.json()["check"]["state"]) == (202, "waiting")
    assert check_all(server) == 1
    assert server.ask().post("/api/v1/datasets/digits/check").json()["check"] is None


def test_weights_are_offered_by_name(server: Server) -> None:
    """Files of the folder are listed; a search that names one carries its hash, and is a study of its own."""
    (row,) = server.ask("viewer").get("/api/v1/weights").json()["items"]
    assert (row["name"], row["num_bytes"], row["backbone"]) == ("mine.safetensors", 7, None)
    plain, started = server.submit(), server.submit(weights="mine.safetensors")
    assert started["spec"]["weights"] == "mine.safetensors"
    assert "weights" not in plain["spec"]
    assert started["study_key"] != plain["study_key"]
    server.ask().post(f"{URL}/{started['id']}/cancel")
    again = server.ask().post(f"{URL}/{started['id']}/retry").json()
    assert (again["study_key"], again["spec"]) == (started["study_key"], started["spec"])


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("yours.safetensors", "Choose one of: none, imagenet, mine.safetensors"),
        ("imagenet", "published for"),
        ("../mine.safetensors", "does not have the form"),
        ("/etc/passwd", "does not have the form"),
        ("a\\b.pth", "does not have the form"),
        ("", "at least 1"),
        (7, "valid string"),
    ],
)
def test_weights_that_are_not_there_are_refused(server: Server, weights: Any, words: str) -> None:
    """A path, or a name that the folder does not hold, is refused at its field without the paths of the machine."""
    response = server.ask().post(URL, json={**SEARCH, "dataset": "digits", "tasks": None, "weights": weights})
    (error,) = response.json()["errors"]
    assert (response.status_code, error["pointer"]) == (422, "/weights")
    assert words in error["message"]
    assert str(server.settings.weights_dir) not in error["message"]
