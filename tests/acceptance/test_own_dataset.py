"""A search on a person's own dataset over HTTP: by its name, to its end, and refused where a worker has another one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import Site, running_site
from tests.search.data.files.own_dataset import CLASSES, manifest_values, write_own_dataset

SEARCH = {"dataset": "robot", "tasks": ["semseg", "scene"], "budgets": ["90%"]}


@pytest.fixture
def robot_site() -> Iterator[Site]:
    """Return a running server that has a dataset of a person's own, and whose workers have another of that name."""
    with running_site() as site:
        write_own_dataset(site.folder / "server-sets" / "robot", name="robot")
        tasks = manifest_values()["tasks"]
        tasks["semseg"]["classes"] = [*CLASSES, "tree"]
        write_own_dataset(site.folder / "worker-sets" / "robot", name="robot", tasks=tasks)
        (site.folder / "weights").mkdir()
        (site.folder / "weights" / "mine.pth").write_bytes(b"any")
        site.kill_server()
        site.options = ("--datasets", str(site.folder / "server-sets"), "--weights", str(site.folder / "weights"))
        yield site.start_server()


def test_a_worker_with_another_dataset_yaml_refuses_the_trial(robot_site: Site) -> None:
    """It fails at once with a sentence; with the same file in place the job is resumed and ends well."""
    site = robot_site
    site.start_worker("--executor", "local", "--datasets", str(site.folder / "worker-sets"))
    job_id = site.submit(**SEARCH)
    job = site.wait_for_end(job_id)
    assert (job.state, job.reason, len(site.attempts(job_id))) == ("FAILED", "bad_dataset", 1)
    assert "robot" in job.message
    place = "robot/dataset.yaml"
    shutil.copy(site.folder / "server-sets" / place, site.folder / "worker-sets" / place)
    site.client.resume(job_id)
    attempts = site.check_done_once(job_id)
    assert [row["state"] for row in attempts] == ["FAILED", "SUCCEEDED"]
    assert site.document(job_id)["provenance"]["dataset"] == "robot"


def test_a_worker_without_the_weights_refuses_the_trial(robot_site: Site) -> None:
    """It looks in its own folder, and names the file that it misses; nothing is trained from other weights."""
    site = robot_site
    site.start_worker("--executor", "local", "--weights", str(site.folder / "elsewhere"))
    job = site.wait_for_end(site.submit(weights="mine.pth"))
    assert (job.state, json.dumps(job.document["spec"]["weights"])) == ("FAILED", '"mine.pth"')
    assert "mine.pth" in job.message
