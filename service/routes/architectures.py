"""Networks that were found: lists, trees, drawings, and the jobs that train or write them."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from db.questions import ArchitectureQuery
from db.records.results import ArchitectureRecord
from db.records.states import JobState
from search.architecture import Architecture
from search.errors import UnknownNameError
from search.results import StudyCosts
from service.pages.tree.drawing import tree_svg
from service.routes.jobs import PageSize, PageToken
from service.schemas.jobs import Job
from service.schemas.requests import ExportBody, RetrainBody
from service.schemas.results import ArchitectureAnswer, ArchitecturePage, ArchitectureSummary, JsonExport
from service.web.auth import Downloader, Reader, Writer
from service.web.etags import answer, etag_of_content, is_known
from service.web.guarded_route import GuardedRoute
from service.web.idempotency import IdempotencyKey
from service.web.paging import DEFAULT_PAGE_SIZE, clamp_page_size, list_filters, next_page_headers
from service.web.planning.jobs import plan_export_job, plan_retrain_job
from service.web.planning.offers import Offers
from service.web.problems import refuse_field
from service.web.server_parts import Parts
from service.web.stored_files import describe_digest
from service.web.submission import Submission, submit_job

router = APIRouter(route_class=GuardedRoute, tags=["architectures"])
_ONE = "/api/v1/architectures/{architecture_id}"
_FOREVER = "private, max-age=31536000, immutable"
_Sort = Literal["created_at", "-created_at", "madds", "-madds", "params", "-params", "delta_m", "-delta_m"]
_Filter = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class SvgDrawing(Response):
    """A drawing."""

    media_type = "image/svg+xml"


@router.get("/api/v1/architectures", name="list_architectures", response_model=ArchitecturePage)
def list_architectures(  # noqa: PLR0913, PLR0917 - the filters of a list are its parameters
    request: Request,
    caller: Reader,
    parts: Parts,
    owner: _Filter = None,
    search: Annotated[_Filter, Query(description="Id of the job that found it.")] = None,
    study: Annotated[_Filter, Query(description="study_key: comparable networks.")] = None,
    task: _Filter = None,
    dataset: _Filter = None,
    backbone: _Filter = None,
    madds_max: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    sort: _Sort = "-created_at",
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    page_token: PageToken = None,
) -> Response:
    """List networks that were found."""
    size = clamp_page_size(page_size)
    filters = list_filters(request, sort=sort, list="architectures")
    query = ArchitectureQuery(
        owner=owner,
        job_id=search,
        study_key=study,
        task=task,
        dataset=dataset,
        backbone=backbone,
        madds_max=madds_max,
        sort=sort,
        after=parts.pages.read(page_token, filters),
        limit=size + 1,
    )
    rows = parts.store.list_architectures(query)
    items = [ArchitectureSummary.of(row) for row in rows[:size]]
    if len(rows) <= size:
        return answer(request, ArchitecturePage(items=items), weak=True)
    last = rows[size - 1]
    token = parts.pages.make((getattr(last, sort.removeprefix("-")), last.id), filters)
    page = ArchitecturePage(items=items, next_page_token=token)
    return answer(request, page, weak=True, headers=next_page_headers(request, token))


@router.get(_ONE, name="get_architecture", response_model=ArchitectureAnswer)
def get_architecture(request: Request, architecture_id: str, caller: Reader, parts: Parts) -> Response:
    """Read a network; `document` is the content of its architecture.json."""
    return answer(request, ArchitectureAnswer.of(parts.store.get_architecture(architecture_id)))


@router.get(f"{_ONE}/architecture.json", name="get_architecture_file", response_model=None)
def get_architecture_file(request: Request, architecture_id: str, caller: Downloader, parts: Parts) -> Response:
    """Download architecture.json, byte for byte as the command line writes it."""
    record = parts.store.get_architecture(architecture_id)
    content = _read_document(record).to_json_bytes()
    etag = etag_of_content(content)
    headers = {
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Repr-Digest": describe_digest(hashlib.sha256(content).hexdigest()),
        "Content-Disposition": f'attachment; filename="{record.id}.json"',
    }
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")


@router.get(f"{_ONE}/tree.svg", name="get_tree_drawing", response_class=SvgDrawing, response_model=None)
def get_tree_drawing(request: Request, architecture_id: str, caller: Reader, parts: Parts) -> Response:
    """Draw the tree of a network."""
    record = parts.store.get_architecture(architecture_id)
    etag = f'"{record.fingerprint[:32]}-{parts.settings.code_version}"'
    headers = {"ETag": etag, "Cache-Control": _FOREVER}
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    architecture = _read_document(record)
    drawing = tree_svg(architecture, _compute_study_costs(architecture, parts.offers), standalone=True)
    return SvgDrawing(drawing, headers=headers)


@router.post(f"{_ONE}/retrains", name="submit_retrain", response_model=Job, status_code=202)
def submit_retrain(
    request: Request,
    architecture_id: str,
    body: RetrainBody,
    caller: Writer,
    parts: Parts,
    key: IdempotencyKey = None,
) -> Response:
    """Train a network anew."""
    source = parts.store.get_architecture(architecture_id)
    submission = Submission(request, caller, key, body.model_dump(mode="json"))
    return submit_job(parts, submission, lambda: plan_retrain_job(body, source, parts.offers, owner=caller.owner))


@router.post(
    f"{_ONE}/exports",
    name="submit_export",
    response_model=Job,
    status_code=202,
    responses={200: {"model": JsonExport, "description": "Of json, at once"}},
)
def submit_export(
    request: Request,
    architecture_id: str,
    body: ExportBody,
    caller: Writer,
    parts: Parts,
    key: IdempotencyKey = None,
) -> Response:
    """Write a network as a file: json is there at once, onnx and pt2 are written by a worker."""
    source = parts.store.get_architecture(architecture_id)
    if body.format == "json":
        return _answer_json_export(body, source)
    if source.metrics is None:
        raise refuse_field("/format", "Only a trained network can be written as onnx or pt2. Retrain it first.")
    submission = Submission(request, caller, key, body.model_dump(mode="json"))
    return submit_job(parts, submission, lambda: plan_export_job(body, source, owner=caller.owner))


def _answer_json_export(body: ExportBody, source: ArchitectureRecord) -> Response:
    """Return where the architecture.json of a network is."""
    if body.tasks is not None:
        raise refuse_field("/tasks", "architecture.json holds the whole tree. Leave the tasks out.")
    content = _read_document(source).to_json_bytes()
    path = f"/api/v1/architectures/{source.id}/architecture.json"
    export = JsonExport(
        architecture_id=source.id,
        format="json",
        state=JobState.SUCCEEDED,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        content_url=path,
    )
    headers = {"Location": path, "Cache-Control": "no-store"}
    return Response(export.model_dump_json(), headers=headers, media_type="application/json")


def _read_document(record: ArchitectureRecord) -> Architecture:
    """Return the architecture of a record."""
    return Architecture.model_validate_json(json.dumps(dict(record.document)))


def _compute_study_costs(architecture: Architecture, offers: Offers) -> StudyCosts | None:
    """Return what the layers of a network cost, None where its dataset is not known any more."""
    try:
        info = offers.datasets.get(architecture.provenance.dataset)
    except UnknownNameError:
        return None
    if not set(architecture.tasks) <= {task.name for task in info.tasks}:
        return None
    tasks = tuple(task for task in info.tasks if task.name in architecture.tasks)
    costs = offers.backbones.compute_costs(architecture.backbone, tasks, architecture.input_size, info.image_channels)
    return StudyCosts(
        stem_madds=costs.stem_madds,
        layer_names=costs.layer_names,
        layer_madds=costs.layer_madds,
        decoder_madds=dict(costs.decoder_madds),
        shared_madds=costs.shared_madds,
        split_madds=costs.split_madds,
        single_madds=costs.single_madds,
        layer_params=costs.layer_params,
    )
