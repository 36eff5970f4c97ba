"""The commands that ask a server, against a real one whose worker is the test itself."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from db.records.states import Reason
from service.cli import main
from service.client_parts.connection import Connection
from service.commands.shell import Shell
from service.settings import Settings
from service.working.work_orders import ClaimDocument, StoredFile
from service.working.worker_client import AttemptClient, Hello, WorkerClient

if TYPE_CHECKING:
    from tests.service.conftest import BuildArchitecture, Outcome, Run
    from tests.service.serving.conftest import ServerProcess

SEARCH = ("--dataset", "digits", "--backbone", "tiny4", "--tasks", "left,right", "--preset", "smoke")
METRICS = {task: {"metric": "accuracy", "value": 91.25, "higher_is_better": True} for task in ("left", "right")}


class Ask(Protocol):
    """Runs a command against the server."""

    def __call__(self, *arguments: str) -> Outcome:
        """Return what the command left behind."""
        ...


@pytest.fixture
def ask(run: Run, standing_server: ServerProcess) -> Ask:
    """Return a function that runs a command with the address and the admin token of the server."""
    access = ("--server", standing_server.address, "--token-file", str(standing_server.data / "admin-token"))
    return lambda *arguments: run(*arguments, *access)


@pytest.fixture
def submit(ask: Ask) -> Callable[..., str]:
    """Return a function that submits a search and returns its id."""

    def call(*options: str) -> str:
        """Submit."""
        outcome = ask("submit", *SEARCH, "--budget", "60%", *options, "--json")
        assert outcome.code == 0, outcome.err
        return str(json.loads(outcome.out)["id"])

    return call


@pytest.fixture
def claim_all(standing_server: ServerProcess) -> Callable[[], tuple[ClaimDocument, list[AttemptClient]]]:
    """Return a function that claims the trials of one job, as a worker, and gives a client per attempt."""
    token = (standing_server.data / "worker-token").read_text().strip()

    def claim() -> tuple[ClaimDocument, list[AttemptClient]]:
        """Claim, as soon as there is something."""
        deadline, claimed = time.monotonic() + 30.0, None
        with closing(WorkerClient(Connection(standing_server.address, token))) as worker:
            while claimed is None:
                assert time.monotonic() < deadline, "no work came"
                claimed = worker.claim(Hello("wrk_test", "test", version("bmtas"), 8.0, 0.0), 10)
                time.sleep(0.05)
        held = [trial.attempt for trial in claimed.trials]
        return claimed, [AttemptClient(Connection(standing_server.address, own.token), own.id) for own in held]

    return claim


@pytest.fixture
def found(
    submit: Callable[..., str],
    claim_all: Callable[[], tuple[ClaimDocument, list[AttemptClient]]],
    build_architecture: BuildArchitecture,
) -> str:
    """Return the id of a search that has found a network; all its networks reach the same."""
    job_id = submit("--priority", "100")
    claimed, attempts = claim_all()
    assert claimed.job.id == job_id
    document = build_architecture(("left", "right")).model_dump(mode="json")
    for trial, attempt in zip((claim.trial for claim in claimed.trials), attempts, strict=True):
        metrics = {task: METRICS[task] for task in METRICS if trial.name in {"shared", "60pct-s0", f"single-{task}"}}
        result = {"architecture": document, "metrics": metrics, "madds": 1, "params": 1, "history": []}
        attempt.complete(result, document if trial.kind == "candidate" else None)
        attempt.close()
    return job_id


def test_submit_says_the_id(ask: Ask) -> None:
    """The id and the state stand on stdout, how to watch it on stderr."""
    outcome = ask("submit", *SEARCH, "--budget", "60%", "--budget", "0.28M", "--seed", "1", "--label", "team=vision")
    assert outcome.out.startswith("srch_")
    assert outcome.out.endswith(" QUEUED\n")
    assert "--follow" in outcome.err


def test_a_key_makes_a_submission_repeatable(submit: Callable[..., str]) -> None:
    """The same key and request give the same job."""
    first, second = (submit("--idempotency-key", "an-idempotency-key-of-mine") for _ in range(2))
    assert first == second


def test_check_tells_what_a_search_needs(ask: Ask) -> None:
    """Nothing is submitted; the feasible range is named."""
    outcome = ask("submit", *SEARCH, "--budget", "60%", "--check")
    assert json.loads(outcome.out)["estimate"]["madds"]["single_madds"] == 311_120


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("submit", *SEARCH, "--budget", "20%"), ["155600"]),
        (("submit", *SEARCH, "--budget", "much"), ["A budget is"]),
        (("submit", *SEARCH, "--budget", "60%", "--size", "big"), ["HEIGHTxWIDTH"]),
        (("submit", *SEARCH, "--budget", "60%", "--label", "x"), ["KEY=VALUE"]),
        (("submit", "--dataset", "x", "--backbone", "tiny4", "--budget", "60%"), ["digits, scenes"]),
        (("job", "srch_0"), ["nothing"]),
        (("cancel", "srch_0"), ["nothing"]),
        (("fetch", "arch_0", "--format", "json"), ["nothing"]),
        (("jobs", "--state", "ASLEEP"), ["state"]),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(ask: Ask, arguments: tuple[str, ...], words: list[str]) -> None:
    """The server's problem becomes one sentence, and the exit code is 2."""
    ask(*arguments).assert_refused(*words)


def test_jobs_are_listed_and_filtered(ask: Ask, submit: Callable[..., str]) -> None:
    """The table and the JSON name the jobs that the filters let through, at most so many."""
    job_id = submit("--name", "the one", "--label", "where=here")
    assert job_id in ask("jobs").out
    rows = json.loads(ask("jobs", "--label", "where=here", "--state", "QUEUED,RUNNING", "--json").out)
    assert [row["id"] for row in rows] == [job_id]
    submit()
    assert len(json.loads(ask("jobs", "--limit", "1", "--json").out)) == 1


def test_a_job_is_shown_with_its_trials(ask: Ask, submit: Callable[..., str]) -> None:
    """Table and JSON name every trial."""
    job_id = submit()
    outcome = ask("job", job_id)
    assert all(name in outcome.out for name in ("single-left", "single-right", "shared", "60pct-s0"))
    assert len(json.loads(ask("job", job_id, "--json").out)["trials"]) == 4


def test_a_job_is_stopped_and_taken_up_again(ask: Ask, submit: Callable[..., str]) -> None:
    """Cancel, resume, kill and retry; what the state does not allow is refused with what it does."""
    job_id = submit()
    ask("retry", job_id).assert_refused("QUEUED", "cancel")
    assert ask("cancel", job_id).out == f"{job_id} CANCELLED\n"
    assert ask("cancel", job_id).code == 0
    assert ask("resume", job_id).out == f"{job_id} QUEUED\n"
    assert json.loads(ask("kill", job_id, "--json").out)["state"] == "CANCELLED"
    again = json.loads(ask("retry", job_id, "--json").out)
    assert (again["retry_of"], again["id"] != job_id) == (job_id, True)


def test_watching_ends_with_the_job(
    ask: Ask,
    submit: Callable[..., str],
    claim_all: Callable[[], tuple[ClaimDocument, list[AttemptClient]]],
) -> None:
    """A job that fails is watched to its end; the sentence says why and how to go on."""
    job_id = submit("--no-retrain", "--priority", "100")
    claimed, (attempt,) = claim_all()
    assert claimed.job.id == job_id
    timer = threading.Timer(0.5, lambda: attempt.fail(Reason.OUT_OF_MEMORY, "The GPU is full."))
    timer.start()
    outcome = ask("job", job_id, "--follow")
    timer.join()
    attempt.close()
    assert outcome.code == 2
    assert "60pct-s0: failed, oom" in outcome.err
    assert f"bmtas resume {job_id}" in outcome.err.splitlines()[-1]


def test_watching_as_json_prints_events(ask: Ask, found: str) -> None:
    """One event per line, numbered without gaps, the last one the end of the job."""
    outcome = ask("job", found, "--follow", "--json")
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.code == 0
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["data"]["state"] == "SUCCEEDED"


def test_the_front_is_shown(ask: Ask, found: str) -> None:
    """The table has a row per network with its metrics, a star marks the front; JSON is what the server says."""
    outcome = ask("front", found)
    assert all(word in outcome.out for word in ("60pct-s0", "arch_", "91.25", "accuracy ↑", "*"))
    assert len(json.loads(ask("front", found, "--json").out)["points"]) == 1


def test_a_network_is_fetched_as_the_command_line_writes_it(
    ask: Ask, found: str, build_architecture: BuildArchitecture
) -> None:
    """The file is byte for byte the architecture.json of the trial; it is not replaced unless --force says so."""
    (architecture_id,) = json.loads(ask("front", found, "--json").out)["front"]
    outcome = ask("fetch", architecture_id, "--format", "json", "--json")
    path = Path(f"{architecture_id}.json")
    assert json.loads(outcome.out)["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.read_bytes() == build_architecture(("left", "right")).to_json_bytes()
    ask("fetch", architecture_id, "--format", "json").assert_refused("exists already", "--force")
    assert ask("fetch", architecture_id, "--format", "json", "--force").code == 0
    ask("fetch", architecture_id, "--format", "json", "--out", "no/where.json").assert_refused("no folder")


def test_an_export_is_waited_for_and_checked(
    ask: Ask,
    found: str,
    standing_server: ServerProcess,
    claim_all: Callable[[], tuple[ClaimDocument, list[AttemptClient]]],
) -> None:
    """The worker writes the file, the command fetches it and compares the checksum."""
    (architecture_id,) = json.loads(ask("front", found, "--json").out)["front"]
    content = b"a network" * 1000
    digest = hashlib.sha256(content).hexdigest()

    def write() -> None:
        """Write what was asked for, as a worker."""
        claimed, attempts = claim_export(claim_all)
        path = f"trials/{claimed.trials[0].trial.id}/1/network.onnx.{digest[:12]}"
        (standing_server.data / "storage" / path).parent.mkdir(parents=True)
        (standing_server.data / "storage" / path).write_bytes(content)
        file = StoredFile(name="network.onnx", path=path, sha256=digest, num_bytes=len(content))
        attempts[0].put_file(file)
        attempts[0].complete({"file": "network.onnx", "format": "onnx", "sha256": digest, "bytes": len(content)}, None)
        attempts[0].close()

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        outcome = ask("fetch", architecture_id, "--format", "onnx", "--out", "net.onnx", "--json")
        written.result(30)
    assert json.loads(outcome.out)["sha256"] == digest
    assert Path("net.onnx").read_bytes() == content


def claim_export(
    claim_all: Callable[[], tuple[ClaimDocument, list[AttemptClient]]],
) -> tuple[ClaimDocument, list[AttemptClient]]:
    """Return the claim of an export; searches that other tests left waiting are taken first and given back."""
    for _ in range(50):
        claimed, attempts = claim_all()
        if claimed.trials[0].trial.kind == "export":
            return claimed, attempts
        for attempt in attempts:
            attempt.fail(Reason.BAD_SPEC, "Not wanted.")
            attempt.close()
    raise AssertionError("no export came")


def test_retraining_is_submitted(ask: Ask, found: str) -> None:
    """A network that was found can be trained anew under another seed."""
    (architecture_id,) = json.loads(ask("front", found, "--json").out)["front"]
    job = json.loads(ask("submit-retrain", architecture_id, "--preset", "smoke", "--seed", "3", "--json").out)
    assert (job["kind"], job["architecture_id"], job["spec"]["seed"]) == ("retrain", architecture_id, 3)
    assert ask("job", job["id"]).code == 0
    assert ask("cancel", job["id"]).out == f"{job['id']} CANCELLED\n"


def test_tokens_are_made_listed_and_revoked(ask: Ask) -> None:
    """A new token is shown once, the list names it without its secret, and it can be revoked."""
    made = json.loads(ask("tokens", "create", "laptop", "--role", "viewer", "--days", "3", "--json").out)
    assert ask("tokens", "create", "desk", "--role", "operator").out.startswith("nas_")
    listed = ask("tokens", "list")
    assert made["id"] in listed.out
    assert made["token"] not in ask("tokens", "list", "--json").out
    assert ask("tokens", "revoke", made["id"]).code == 0
    row = next(row for row in json.loads(ask("tokens", "list", "--json").out) if row["id"] == made["id"])
    assert row["revoked_at"] is not None


def test_commands_find_this_machines_server(
    standing_server: ServerProcess, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without options and variables, the server of the data folder is asked with its admin token."""
    shell = Shell(Settings(tmp_path, data_dir=standing_server.data), refuse)
    assert main(["jobs", "--json"], shell) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)


def test_the_admin_token_goes_to_no_other_server(
    standing_server: ServerProcess, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A server that is named otherwise needs a token of its own."""
    shell = Shell(Settings(tmp_path, data_dir=standing_server.data), refuse)
    assert main(["jobs", "--server", f"http://localhost:{standing_server.port}"], shell) == 2
    assert "An access token is needed" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    """The sentence says what was asked and what to do, whether no server is known or it does not answer."""
    run("jobs").assert_refused("bmtas serve", "--server")
    (tmp_path / "token").write_text("nas_x\n")
    access = ("--server", "http://127.0.0.1:9", "--token-file", str(tmp_path / "token"))
    run("jobs", *access).assert_refused("http://127.0.0.1:9", "bmtas serve")
    (tmp_path / "token").write_text("two words\n")
    run("jobs", *access).assert_refused("one line")


def refuse() -> Any:
    """Fail: these commands need no engine."""
    raise AssertionError
