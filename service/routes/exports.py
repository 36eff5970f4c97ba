"""Retrainings and exports: their jobs, and the content of an export."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response, StreamingResponse

from db.errors import NotFoundError
from db.records.jobs import FileRecord, JobRecord
from db.records.states import JobKind, JobState
from service.errors import ArtifactNameError
from service.routes.jobs import JobRoutes
from service.routes.trials import TrialRoutes
from service.web.auth import Downloader
from service.web.guarded_route import GuardedRoute
from service.web.problems import ProblemError
from service.web.server_parts import Parts, ServerParts
from service.web.stored_files import ByteRange, describe_digest, open_stored, parse_range, read_pieces

router = APIRouter(route_class=GuardedRoute)
for _kind, _tag in ((JobKind.RETRAIN, "retrains"), (JobKind.EXPORT, "exports")):
    JobRoutes(_kind).register(router)
    TrialRoutes(_kind).register(router)
_exports = JobRoutes(JobKind.EXPORT)


class FileContent(StreamingResponse):
    """The content of a file."""

    media_type = "application/octet-stream"


@router.get(
    "/api/v1/exports/{job_id}/content",
    name="get_export_content",
    response_class=FileContent,
    response_model=None,
    responses={206: {"description": "A part of the file", "content": {"application/octet-stream": {}}}},
)
def get_export_content(
    job_id: str,
    caller: Downloader,
    parts: Parts,
    wanted: Annotated[str | None, Header(alias="Range", max_length=200, description="One stretch of bytes.")] = None,
) -> Response:
    """Download the file of an export that has succeeded; parts of it by Range."""
    job = _exports.find(parts, job_id)
    if job.state is not JobState.SUCCEEDED:
        raise ProblemError("not_ready", f"The file is not written: the export is {job.state.value}.")
    file = _find_file(parts, job)
    stretch = _read_range(wanted, file.num_bytes)
    try:
        stream = open_stored(parts.settings.storage_root, file.path)
    except (FileNotFoundError, ArtifactNameError) as error:
        raise ProblemError("not_found", "The file is gone from the storage. Ask for the export again.") from error
    whole = stretch or ByteRange(0, file.num_bytes)
    headers = {
        "Content-Length": str(whole.length),
        "Accept-Ranges": "bytes",
        "ETag": f'"{file.sha256}"',
        "Repr-Digest": describe_digest(file.sha256),
        "Content-Disposition": f'attachment; filename="{job.id}.{job.spec["format"]}"',
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    if stretch is not None:
        end = stretch.start + stretch.length - 1
        headers["Content-Range"] = f"bytes {stretch.start}-{end}/{file.num_bytes}"
    return FileContent(read_pieces(stream, whole), 200 if stretch is None else 206, headers)


def _find_file(parts: ServerParts, job: JobRecord) -> FileRecord:
    """Return the file that an export wrote, as its result names it."""
    trial = parts.store.list_trials(job.id)[0]
    name = None if trial.result is None else trial.result.get("file")
    for file in parts.store.list_files(trial.id):
        if file.name == name:
            return file
    raise NotFoundError()


def _read_range(header: str | None, size: int) -> ByteRange | None:
    """Return the stretch that is wanted, None for the whole file."""
    try:
        return parse_range(header, size)
    except ValueError:
        raise ProblemError("range_not_satisfiable", headers={"Content-Range": f"bytes */{size}"}) from None
