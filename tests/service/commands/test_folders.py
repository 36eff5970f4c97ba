"""The folder of a run: taken when empty, locked, given back when refused, resumed by its own job only."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from pathlib import Path

import pytest

from search.errors import OutputFolderError, ResumeError, RunCancelledError, SearchError, StateFileError
from service.commands.folders import choose_new_folder, claimed_folder, find_resumable_folder, load_job

JOB = {"dataset": "digits", "seed": 0, "search": {"epochs": 25, "weights": {"method": "adam"}}, "budgets": ("60%",)}


def start(folder: Path, job: dict[str, object] | None = None) -> None:
    """Begin a run that leaves state behind."""
    with claimed_folder(folder, job or JOB, resume=False) as store:
        store.write("state/search", b"state")


def test_a_claim_notes_the_job_before_anything_else(tmp_path: Path) -> None:
    """The folder is made and spec.json holds the job as soon as the run begins."""
    with claimed_folder(tmp_path / "a" / "b", JOB, resume=False) as store:
        assert load_job(tmp_path / "a" / "b")["dataset"] == "digits"
        assert store.root == tmp_path / "a" / "b"


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    """A run never mixes its files with others, and leaves them alone."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputFolderError, match="must be empty"), claimed_folder(tmp_path, JOB, resume=False):
        pass
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_file_is_refused_as_a_folder(tmp_path: Path) -> None:
    """An output path that is a file gets a sentence of its own."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFolderError, match="is a file"), claimed_folder(tmp_path / "file", JOB, resume=False):
        pass


def test_a_refused_run_leaves_nothing(tmp_path: Path) -> None:
    """The folders that a refused run made are removed again, and an empty one that was there stays empty."""
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "new" / "deep", tmp_path / "mine"):
        with pytest.raises(SearchError), claimed_folder(folder, JOB, resume=False):
            raise SearchError("The budget is too low.")
    assert os.listdir(tmp_path) == ["mine"]
    assert os.listdir(tmp_path / "mine") == []


def test_a_full_disk_in_the_middle_keeps_what_was_saved(tmp_path: Path) -> None:
    """A run that already wrote state keeps its folder for --resume."""
    folder = tmp_path / "run"
    with contextlib.suppress(OSError), claimed_folder(folder, JOB, resume=False) as store:
        store.write("state/search", b"state")
        raise OSError(28, "disk full")
    with claimed_folder(folder, JOB, resume=True) as store:
        assert store.read("state/search") == b"state"


@pytest.mark.parametrize("error", [RunCancelledError("stopped"), KeyboardInterrupt()])
def test_a_stopped_run_can_be_resumed(tmp_path: Path, error: BaseException) -> None:
    """Even a run stopped before it saved anything keeps its folder and its job."""
    with pytest.raises(type(error)), claimed_folder(tmp_path / "run", JOB, resume=False):
        raise error
    with claimed_folder(tmp_path / "run", JOB, resume=True) as store:
        assert store.exists("spec.json")


def test_resume_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    """Temporary files of a killed run are gone once the folder is claimed again."""
    start(tmp_path / "run")
    (tmp_path / "run" / "state" / ".search.00.bmtas-tmp").write_bytes(b"half")
    with claimed_folder(tmp_path / "run", JOB, resume=True):
        assert os.listdir(tmp_path / "run" / "state") == ["search"]


def test_resume_names_the_fields_that_differ(tmp_path: Path) -> None:
    """Another job is refused with its differences, nested ones by dotted names, and the folder stays as it was."""
    start(tmp_path / "run")
    other = {**JOB, "seed": 3, "search": {"epochs": 50, "weights": {"method": "adam"}}}
    with pytest.raises(ResumeError) as caught, claimed_folder(tmp_path / "run", other, resume=True):
        pass
    assert "search.epochs is 25 there and 50 here; seed is 0 there and 3 here" in str(caught.value)
    assert load_job(tmp_path / "run")["seed"] == 0


def test_resume_needs_a_run(tmp_path: Path) -> None:
    """A missing folder, an empty one and one of other content cannot be resumed, and none is made."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("")
    for name, reason in (("missing", "empty or missing"), ("empty", "empty or missing"), ("other", "holds no run")):
        with pytest.raises(ResumeError, match=reason), claimed_folder(tmp_path / name, JOB, resume=True):
            pass
    assert sorted(os.listdir(tmp_path)) == ["empty", "other"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_corrupt_spec_is_named(tmp_path: Path, content: bytes) -> None:
    """A spec.json that cannot be read gives a sentence, not a traceback."""
    start(tmp_path / "run")
    (tmp_path / "run" / "spec.json").write_bytes(content)
    with (
        pytest.raises(StateFileError, match=r"spec\.json is corrupt"),
        claimed_folder(tmp_path / "run", JOB, resume=True),
    ):
        pass


def _try_claim(folder: Path, answers: multiprocessing.Queue[str], *, resume: bool) -> None:
    """Claim a folder from another process and report what happened."""
    try:
        with claimed_folder(folder, JOB, resume=resume):
            answers.put("claimed")
    except SearchError as error:
        answers.put(str(error))


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    """While a run lives, another process is refused; the running one loses nothing by that."""
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[str] = context.Queue()
    with claimed_folder(tmp_path / "run", JOB, resume=False) as store:
        for resume in (True, False):
            other = context.Process(target=_try_claim, args=(tmp_path / "run", answers), kwargs={"resume": resume})
            other.start()
            answer = answers.get(timeout=20)
            other.join()
            assert "another is writing" in answer if resume else "must be empty" in answer
        assert store.exists("spec.json")


def test_fresh_names_count_up(tmp_path: Path) -> None:
    """A taken name gets the next number, and a resume finds the newest folder of the same job."""
    base = tmp_path / "digits-tiny4-seed0"
    assert choose_new_folder(base) == base
    start(base)
    start(choose_new_folder(base))
    start(choose_new_folder(base), {**JOB, "seed": 1})
    assert choose_new_folder(base).name == "digits-tiny4-seed0-4"
    assert find_resumable_folder(base, JOB).name == "digits-tiny4-seed0-2"
    with pytest.raises(ResumeError, match="none of this job"):
        find_resumable_folder(base, {**JOB, "seed": 9})
