"""Runs on people's own data: the dataset a job was made for, and its samples, must be those of the run to its end."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from search.data.loading import LoadedData
from search.data.shelf import DatasetShelf
from search.errors import DatasetError, ResumeError, UnknownNameError
from search.ports import SAMPLES_NAME, MemoryReporter, MemoryStore, Surroundings, never_cancelled
from search.presets import build_spec
from search.spec import JobSpec
from search.training.training_stage import find_dataset, load_samples
from search.trial_plan import compute_study_key, parse_trial_spec, plan_search
from tests.search.data.files.own_dataset import write_own_dataset


def around(file: Path, store: MemoryStore | None = None) -> Surroundings:
    """Return surroundings that know the dataset of a file."""
    return Surroundings(
        store=store or MemoryStore(),
        reporter=MemoryReporter(),
        cancelled=never_cancelled,
        device="cpu",
        cache_dir=file.parent / "cache",
        now=lambda: datetime.now(UTC),
        datasets=DatasetShelf(files=[file]),
    )


def job(file: Path) -> JobSpec:
    """Return a job on the dataset of a file."""
    return build_spec(
        dataset="my-robot",
        tasks=["semseg", "scene"],
        backbone="mobilenet_v2",
        budgets=["70%"],
        preset="smoke",
        datasets=DatasetShelf(files=[file]),
    )


def load(surroundings: Surroundings) -> LoadedData:
    """Return the samples of the job."""
    info = surroundings.datasets.get("my-robot")
    spec = build_spec(
        dataset="my-robot", tasks=None, backbone="mobilenet_v2", budgets=["70%"], datasets=surroundings.datasets
    )
    return load_samples(info, info.tasks, spec.data, surroundings)


def test_two_definitions_under_one_name_are_two_studies(tmp_path: Path) -> None:
    """Results on them cannot be compared; those of the same definition elsewhere can."""
    first, second = job(write_own_dataset(tmp_path / "here")), job(write_own_dataset(tmp_path / "there"))
    assert compute_study_key(first) == compute_study_key(second)
    file = write_own_dataset(tmp_path / "there")
    (file.parent / "splits/val.txt").write_text("f\n")
    assert compute_study_key(job(file)) != compute_study_key(first)


def test_the_definition_travels_with_every_trial(tmp_path: Path) -> None:
    """It comes back from the document that a worker is handed."""
    spec = job(write_own_dataset(tmp_path))
    assert spec.data.definition is not None
    for trial in plan_search([spec], "1").trials:
        assert f'"definition":"{spec.data.definition}"' in parse_trial_spec(trial.spec.to_document()).model_dump_json()


def test_jobs_on_built_in_datasets_say_nothing_of_definitions() -> None:
    """Their documents and hashes are those of before there were any."""
    spec = build_spec(dataset="digits", tasks=None, backbone="tiny4", budgets=["60%"])
    assert "definition" not in spec.canonical_json()


def test_a_worker_with_another_definition_refuses(tmp_path: Path) -> None:
    """A dataset.yaml that differs from the one of the job is another dataset, and so is one that is not there."""
    file = write_own_dataset(tmp_path)
    definition = job(file).data.definition
    assert find_dataset("my-robot", definition, around(file)).name == "my-robot"
    (tmp_path / "splits/val.txt").write_text("f\n")
    with pytest.raises(DatasetError, match=r"'my-robot' is not the one that the job was made for: .*dataset\.yaml"):
        find_dataset("my-robot", definition, around(file))
    file.unlink()
    with pytest.raises(UnknownNameError, match="'my-robot'"):
        find_dataset("my-robot", definition, around(file))


def test_a_run_does_not_go_on_with_other_samples(tmp_path: Path) -> None:
    """A label that changed while the run was stopped is noticed; the same samples are no reason to stop."""
    file, store = write_own_dataset(tmp_path), MemoryStore()
    fingerprint = load(around(file, store)).fingerprint
    assert store.read(SAMPLES_NAME).decode() == fingerprint
    assert load(around(file, store)).fingerprint == fingerprint
    (tmp_path / "semseg/a.png").write_bytes((tmp_path / "semseg/c.png").read_bytes())
    with pytest.raises(ResumeError, match="'my-robot' have changed since this run began"):
        load(around(file, store))
