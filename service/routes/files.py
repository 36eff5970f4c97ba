"""Files that trials left: what a network is made of beside its tree, listed and downloaded, whole or in parts.

Only names of `_OFFERED` are told of and handed out, and bytes are only read where the database says that a trial put
them, so that no address leads anywhere else.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response, StreamingResponse

from db.errors import NotFoundError
from db.records.jobs import FileRecord
from db.records.states import JobKind
from service.errors import ArtifactNameError
from service.routes.jobs import JobRoutes
from service.schemas.results import TrialFile, TrialFileList
from service.web.auth import Downloader
from service.web.etags import answer, is_known
from service.web.guarded_route import GuardedRoute
from service.web.problems import ProblemError
from service.web.server_parts import Parts, ServerParts
from service.web.stored_files import ByteRange, describe_digest, open_stored, parse_range, read_pieces
from service.web.submission import COLLECTIONS

router = APIRouter(route_class=GuardedRoute)
_ARCHITECTURE = "/api/v1/architectures/{architecture_id}/files"
_OFFERED = re.compile(
    r"predictions(-[A-Za-z0-9_]{1,60})?\.png|routing\.json|evaluation\.json|weights\.safetensors", re.ASCII
)
_MEDIA_TYPES = {"png": "image/png", "json": "application/json"}
_ANY = "application/octet-stream"
WantedRange = Annotated[str | None, Header(alias="Range", max_length=200, description="One stretch of bytes.")]
_DESCRIBED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": {name: {} for name in (_ANY, *_MEDIA_TYPES.values())}},
    206: {"description": "A part of the file", "content": {name: {} for name in (_ANY, *_MEDIA_TYPES.values())}},
}


class FileContent(StreamingResponse):
    """The content of a file."""

    media_type = _ANY


@router.get(_ARCHITECTURE, name="list_architecture_files", response_model=TrialFileList, tags=["architectures"])
def list_architecture_files(request: Request, architecture_id: str, caller: Downloader, parts: Parts) -> Response:
    """List the files of a network that can be downloaded: pictures, routing over training, metrics, weights."""
    record = parts.store.get_architecture(architecture_id)
    return answer(request, _describe(_list_offered(parts, record.trial_id)), weak=True)


@router.get(
    f"{_ARCHITECTURE}/{{name}}",
    name="get_architecture_file_content",
    response_class=FileContent,
    response_model=None,
    responses=_DESCRIBED,
    tags=["architectures"],
)
def get_architecture_file_content(
    request: Request, architecture_id: str, name: str, caller: Downloader, parts: Parts, wanted: WantedRange = None
) -> Response:
    """Download a file of a network; parts of it by Range."""
    record = parts.store.get_architecture(architecture_id)
    return _answer_offered(request, parts, record.trial_id, name, wanted)


class TrialFileRoutes:
    """The files of the trials of one kind of job, also of those that still run: their routing is rewritten meanwhile.

    Args:
        kind: Of the jobs.
    """

    def __init__(self, kind: JobKind) -> None:
        self._kind = kind
        self._jobs = JobRoutes(kind)

    def register(self, to: APIRouter) -> None:
        """Add the routes to a router."""
        path, kind = f"/api/v1/{COLLECTIONS[self._kind]}/{{job_id}}/trials/{{trial_id}}/files", self._kind.value
        to.add_api_route(path, self.list_files, name=f"list_{kind}_trial_files", response_model=TrialFileList)
        to.add_api_route(
            f"{path}/{{name}}",
            self.get_content,
            name=f"get_{kind}_trial_file_content",
            response_class=FileContent,
            response_model=None,
            responses=_DESCRIBED,
        )

    def list_files(self, request: Request, job_id: str, trial_id: str, caller: Downloader, parts: Parts) -> Response:
        """List the files of a trial that can be downloaded."""
        return answer(request, _describe(_list_offered(parts, self._find_source(parts, job_id, trial_id))), weak=True)

    def get_content(
        self,
        request: Request,
        job_id: str,
        trial_id: str,
        name: str,
        caller: Downloader,
        parts: Parts,
        wanted: WantedRange = None,
    ) -> Response:
        """Download a file of a trial; parts of it by Range."""
        return _answer_offered(request, parts, self._find_source(parts, job_id, trial_id), name, wanted)

    def _find_source(self, parts: ServerParts, job_id: str, trial_id: str) -> str:
        """Return the id of the trial that left the files: the one itself, or the one whose result it shares.

        Raises:
            NotFoundError: The job has no such trial.
        """
        self._jobs.find(parts, job_id)
        trial = parts.store.get_trial(trial_id)
        if trial.job_id != job_id:
            raise NotFoundError()
        return trial.reused_from or trial.id


for _kind in (JobKind.SEARCH, JobKind.RETRAIN, JobKind.EXPORT):
    TrialFileRoutes(_kind).register(router)


def answer_content(
    parts: ServerParts, file: FileRecord, wanted: str | None, *, shown_as: str, cache_control: str
) -> Response:
    """Return the content of a stored file, or the stretch of it that is wanted.

    Args:
        parts: The server's.
        file: Where it lies, and its checksum.
        wanted: The Range header.
        shown_as: Content-Disposition.
        cache_control: How long it may be kept.

    Raises:
        FileNotFoundError: It is not there.
        ProblemError: range_not_satisfiable.
    """
    stretch = _read_range(wanted, file.num_bytes)
    try:
        stream = open_stored(parts.settings.storage_root, file.path)
    except ArtifactNameError as error:
        raise FileNotFoundError(file.name) from error
    whole = stretch or ByteRange(0, file.num_bytes)
    headers = {
        "Content-Length": str(whole.length),
        "Content-Type": _MEDIA_TYPES.get(file.name.rpartition(".")[2], _ANY),
        "Accept-Ranges": "bytes",
        "ETag": f'"{file.sha256}"',
        "Repr-Digest": describe_digest(file.sha256),
        "Content-Disposition": shown_as,
        "Cache-Control": cache_control,
    }
    if stretch is not None:
        end = stretch.start + stretch.length - 1
        headers["Content-Range"] = f"bytes {stretch.start}-{end}/{file.num_bytes}"
    return FileContent(read_pieces(stream, whole), 200 if stretch is None else 206, headers)


def _answer_offered(request: Request, parts: ServerParts, trial_id: str, name: str, wanted: str | None) -> Response:
    """Return the content of one of the files that are offered.

    Raises:
        NotFoundError: The trial offers no such file.
    """
    cache_control, shown = "private, no-cache", "inline" if name.endswith(".png") else "attachment"
    for _ in range(2):  # a run may replace a file just after its row was read
        file = next((file for file in _list_offered(parts, trial_id) if file.name == name), None)
        if file is None:
            raise NotFoundError()
        if is_known(request, f'"{file.sha256}"'):
            headers = {"ETag": f'"{file.sha256}"', "Cache-Control": cache_control}
            return Response(status_code=304, headers=headers)
        try:
            shown_as = f'{shown}; filename="{trial_id}.{name}"'
            return answer_content(parts, file, wanted, shown_as=shown_as, cache_control=cache_control)
        except FileNotFoundError:
            continue
    raise ProblemError("not_found", "The file is gone from the storage.")


def _list_offered(parts: ServerParts, trial_id: str) -> list[FileRecord]:
    """Return the files of a trial that may be downloaded, by name."""
    files = [file for file in parts.store.list_files(trial_id) if _OFFERED.fullmatch(file.name)]
    return sorted(files, key=lambda file: file.name)


def _describe(files: list[FileRecord]) -> TrialFileList:
    """Return files as an answer."""
    return TrialFileList(items=[TrialFile(name=file.name, sha256=file.sha256, bytes=file.num_bytes) for file in files])


def _read_range(header: str | None, size: int) -> ByteRange | None:
    """Return the stretch that is wanted, None for the whole file."""
    try:
        return parse_range(header, size)
    except ValueError:
        raise ProblemError("range_not_satisfiable", headers={"Content-Range": f"bytes */{size}"}) from None
