"""Retrainings and exports: their jobs, and the content of an export."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from db.errors import NotFoundError
from db.records.jobs import FileRecord, JobRecord
from db.records.states import JobKind, JobState
from service.routes.files import FileContent, WantedRange, answer_content
from service.routes.jobs import JobRoutes
from service.routes.trials import TrialRoutes
from service.web.auth import Downloader
from service.web.guarded_route import GuardedRoute
from service.web.problems import ProblemError
from service.web.server_parts import Parts, ServerParts

router = APIRouter(route_class=GuardedRoute)
for _kind, _tag in ((JobKind.RETRAIN, "retrains"), (JobKind.EXPORT, "exports")):
    JobRoutes(_kind).register(router)
    TrialRoutes(_kind).register(router)
_exports = JobRoutes(JobKind.EXPORT)


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
    wanted: WantedRange = None,
) -> Response:
    """Download the file of an export that has succeeded; parts of it by Range."""
    job = _exports.find(parts, job_id)
    if job.state is not JobState.SUCCEEDED:
        raise ProblemError("not_ready", f"The file is not written: the export is {job.state.value}.")
    file = _find_file(parts, job)
    try:
        return answer_content(
            parts,
            file,
            wanted,
            shown_as=f'attachment; filename="{job.architecture_id}.{job.spec["format"]}"',
            cache_control="private, max-age=31536000, immutable",
        )
    except FileNotFoundError as error:
        raise ProblemError("not_found", "The file is gone from the storage. Ask for the export again.") from error


def _find_file(parts: ServerParts, job: JobRecord) -> FileRecord:
    """Return the file that an export wrote, as its result names it."""
    trial = parts.store.list_trials(job.id)[0]
    name = None if trial.result is None else trial.result.get("file")
    for file in parts.store.list_files(trial.id):
        if file.name == name:
            return file
    raise NotFoundError()
