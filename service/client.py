"""The Python client of a bmtas server: submit searches, watch them, take what they found.

    with Client("http://127.0.0.1:8642", token) as client:
        job = client.submit(SearchRequest("digits", "tiny4", ["60%"], preset="smoke"))

Lost connections and a busy server are waited out; what creates something carries an idempotency key of its own.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

from service.artifacts import write_whole
from service.client_parts.connection import Connection, Params, Patience, Request
from service.client_parts.download import Promise, download
from service.client_parts.events import stream_events
from service.client_parts.records import (
    Fetched,
    FoundArchitecture,
    Front,
    Job,
    Json,
    SearchRequest,
    ServerEvent,
    TokenRequest,
    Trial,
)
from service.errors import ServiceProblem, WaitedJobError

FileFormat = Literal["json", "onnx", "pt2"]
_API = "/api/v1"
_COLLECTIONS = {"srch": "searches", "rtrn": "retrains", "expt": "exports"}


class Client:
    """Speaks to one server; use it as a context manager, or close it.

    Args:
        server: Its address, e.g. "http://127.0.0.1:8642".
        token: Access token.
        patience: How long to wait for a server that is away or busy.
        connection: Carries the requests instead of one made from the above; for tests and proxies.

    Every call raises ServiceProblem when the server refuses and ServerAwayError when it does not answer.
    """

    def __init__(
        self, server: str, token: str, *, patience: Patience | None = None, connection: Connection | None = None
    ) -> None:
        self._connection = connection or Connection(server, token, patience=patience)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def server(self) -> str:
        """Return the address of the server."""
        return self._connection.server

    def close(self) -> None:
        """Let go of all connections."""
        self._connection.close()

    def submit(self, search: SearchRequest, *, idempotency_key: str | None = None) -> Job:
        """Return the search that the server has taken; from now on it is not lost.

        Args:
            search: What is asked.
            idempotency_key: A second call with the same key gives the same search; a fresh one when None.
        """
        return Job.from_json(self._create(f"{_API}/searches", search.to_json(), idempotency_key))

    def validate(self, search: SearchRequest) -> Json:
        """Return what a search would need: the range of feasible budgets, time and disk, and remarks."""
        return self._json(Request("POST", f"{_API}/searches/validate", search.to_json()))

    def list_jobs(self, filters: Params | None = None) -> tuple[list[Job], str | None]:
        """Return a page of searches and the token of the next page, None at the end.

        Args:
            filters: As the API knows them: state, label, dataset, task, sort, page_size, page_token and others.
        """
        document = self._json(Request("GET", f"{_API}/searches", params=filters or {}))
        return [Job.from_json(row) for row in document["items"]], document.get("next_page_token") or None

    def iterate_jobs(self, filters: Params | None = None) -> Iterator[Job]:
        """Yield all searches that the filters let through, page by page."""
        yield from (Job.from_json(row) for row in self._iterate(f"{_API}/searches", filters))

    def get_job(self, job_id: str) -> Job:
        """Return a search, retraining or export."""
        return Job.from_json(self._json(Request("GET", _job_path(job_id))))

    def list_trials(self, job_id: str) -> list[Trial]:
        """Return the trials of a job, each with its result once it has one."""
        document = self._json(Request("GET", f"{_job_path(job_id)}/trials"))
        return [Trial.from_json(row) for row in document["items"]]

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop at its next step and to keep what it has done."""
        return self._act(job_id, "cancel")

    def kill(self, job_id: str) -> Job:
        """Stop a job now; it goes on from its last checkpoint if it is resumed."""
        return self._act(job_id, "kill")

    def resume(self, job_id: str) -> Job:
        """Go on with a failed or cancelled job from its checkpoints."""
        return self._act(job_id, "resume")

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Return a new job that asks the same as an ended one."""
        return Job.from_json(self._create(f"{_job_path(job_id)}/retry", None, idempotency_key))

    def get_front(self, job_id: str) -> Front:
        """Return the networks that a search found so far, and which of them none beats."""
        document = self._json(Request("GET", f"{_job_path(job_id)}/front"))
        return Front(
            points=tuple(FoundArchitecture.from_json(point) for point in document["points"]),
            front=frozenset(
                point if isinstance(point, str) else point["architecture_id"] for point in document["front"]
            ),
            hypervolume=document.get("hypervolume"),
            baselines=document.get("baselines") or {},
            document=document,
        )

    def get_architecture(self, architecture_id: str) -> FoundArchitecture:
        """Return a network that a trial found, with its tree and where it came from."""
        return FoundArchitecture.from_json(self._json(Request("GET", f"{_API}/architectures/{architecture_id}")))

    def iterate_architectures(self, filters: Params | None = None) -> Iterator[FoundArchitecture]:
        """Yield all networks that the filters let through, page by page."""
        yield from (FoundArchitecture.from_json(row) for row in self._iterate(f"{_API}/architectures", filters))

    def retrain(self, architecture_id: str, options: Json | None = None, *, idempotency_key: str | None = None) -> Job:
        """Return the job that trains a network anew.

        Args:
            architecture_id: The network.
            options: "preset", "seed" and what else the API knows.
            idempotency_key: A second call with the same key gives the same job; a fresh one when None.
        """
        path = f"{_API}/architectures/{architecture_id}/retrains"
        return Job.from_json(self._create(path, dict(options or {}), idempotency_key))

    def export(self, architecture_id: str, file_format: FileFormat, *, idempotency_key: str | None = None) -> Job:
        """Return the job that writes a trained network as a file."""
        path = f"{_API}/architectures/{architecture_id}/exports"
        return Job.from_json(self._create(path, {"format": file_format}, idempotency_key))

    def fetch(self, architecture_id: str, file_format: FileFormat, target: Path) -> Fetched:
        """Write a network to a file: its architecture.json, or the trained network as ONNX or pt2.

        Raises:
            ChecksumError: What arrived is not what the server promised.
            WaitedJobError: The server could not write the file.
            OSError: The disk refused.
        """
        if file_format == "json":
            return self._fetch_document(architecture_id, target)
        job = self.wait(self.export(architecture_id, file_format).id)
        if job.state != "SUCCEEDED":
            raise WaitedJobError(
                f"The {file_format} file of {architecture_id} was not written: {job.message or job.reason}"
            )
        promise = _read_promise(job)
        download(self._connection, promise, target)
        return Fetched(str(target), file_format, promise.sha256, promise.num_bytes)

    def list_files(self, architecture_id: str) -> list[Json]:
        """Return the files of a network that can be fetched, each as {name, bytes, sha256}."""
        return list(self._json(Request("GET", _files_path(architecture_id)))["items"])

    def fetch_file(self, architecture_id: str, name: str, target: Path) -> Fetched:
        """Write a file of a network to a path: a picture of its predictions, its routing over training, its weights.

        Raises:
            ServiceProblem: The network has no such file (404), or the server refused.
            ChecksumError: What arrived is not what the server promised.
            OSError: The disk refused.
        """
        row = next((row for row in self.list_files(architecture_id) if row["name"] == name), None)
        if row is None:
            raise ServiceProblem(
                f"The network {architecture_id} has no file '{name[:100]}'.", status=404, code="not_found"
            )
        promise = Promise(f"{_files_path(architecture_id)}/{name}", str(row["sha256"]), int(row["bytes"]))
        download(self._connection, promise, target)
        return Fetched(str(target), name.rpartition(".")[2], promise.sha256, promise.num_bytes)

    def follow(self, job_id: str, *, after: int = 0) -> Iterator[ServerEvent]:
        """Yield what happens to a job until it has ended, each event once, over lost connections and restarts.

        Args:
            job_id: The job.
            after: Number of the last event that is already known.
        """
        path = f"{_job_path(job_id)}/events"
        return stream_events(self._connection, path, after, lambda: self.get_job(job_id).is_terminal)

    def wait(self, job_id: str) -> Job:
        """Return a job once it has ended."""
        for _ in self.follow(job_id):
            pass
        return self.get_job(job_id)

    def create_token(self, token: TokenRequest) -> Json:
        """Return a new access token; its "token" is shown this once."""
        return self._create(f"{_API}/tokens", token.to_json(), None)

    def list_tokens(self) -> list[Json]:
        """Return the access tokens, without their secrets."""
        return list(self._json(Request("GET", f"{_API}/tokens"))["items"])

    def revoke_token(self, token_id: str) -> None:
        """Make an access token worthless."""
        self._connection.ask(Request("DELETE", f"{_API}/tokens/{token_id}"))

    def list_names(self, table: Literal["datasets", "backbones", "tasks", "weights"]) -> list[Json]:
        """Return what a search may name."""
        return list(self._json(Request("GET", f"{_API}/{table}"))["items"])

    def get_dataset(self, name: str) -> Json:
        """Return a dataset with what the check of its samples found, and the statistics of its labels."""
        return self._json(Request("GET", f"{_API}/datasets/{quote(name, safe='')}"))

    def check_dataset(self, name: str) -> Json:
        """Have the samples of a person's own dataset read again, and return the dataset as it stands now."""
        return self._json(Request("POST", f"{_API}/datasets/{quote(name, safe='')}/check"))

    def _fetch_document(self, architecture_id: str, target: Path) -> Fetched:
        """Write the architecture.json of a network, byte for byte as the command line writes it."""
        from search.architecture import Architecture  # noqa: PLC0415 - pydantic is not needed for anything else here

        found = self.get_architecture(architecture_id)
        text = json.dumps(found.document["document"])
        content = Architecture.model_validate_json(text).to_json_bytes()
        write_whole(target, content)
        return Fetched(str(target), "json", hashlib.sha256(content).hexdigest(), len(content))

    def _act(self, job_id: str, action: str) -> Job:
        """Return the job after an action; one that was carried out before its answer got lost is no error."""
        try:
            return Job.from_json(self._json(Request("POST", f"{_job_path(job_id)}/{action}")))
        except ServiceProblem as problem:
            if action != "resume" or problem.status != 409:
                raise
            job = self.get_job(job_id)
            if job.is_terminal:
                raise
            return job

    def _iterate(self, path: str, filters: Params | None) -> Iterator[Json]:
        """Yield the rows of a list, page by page."""
        params = dict(filters or {})
        while True:
            document = self._json(Request("GET", path, params=params))
            yield from document["items"]
            if not document.get("next_page_token"):
                return
            params["page_token"] = document["next_page_token"]

    def _create(self, path: str, body: Mapping[str, Any] | None, idempotency_key: str | None) -> Json:
        """Return what a POST created, once however often it has to be sent."""
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        return self._json(Request("POST", path, body, headers=headers))

    def _json(self, request: Request) -> dict[str, Any]:
        """Return the JSON object that a request is answered with."""
        document: dict[str, Any] = self._connection.ask(request).json()
        return document


def _job_path(job_id: str) -> str:
    """Return the path of a job, whose id says what kind it is."""
    return f"{_API}/{_COLLECTIONS.get(job_id.partition('_')[0], 'searches')}/{job_id}"


def _files_path(architecture_id: str) -> str:
    """Return the path of the files of a network."""
    return f"{_API}/architectures/{architecture_id}/files"


def _read_promise(job: Job) -> Promise:
    """Return what an export says of the file that it wrote."""
    result = job.document.get("result")
    if not result:
        raise WaitedJobError(f"The export {job.id} has ended, but the server names no file. Ask for it again.")
    return Promise(f"{_job_path(job.id)}/content", str(result["sha256"]), int(result["bytes"]))
