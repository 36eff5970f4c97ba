"""What a search may name: datasets, their tasks, backbones, weights. A search never carries a path or an address."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from db.errors import NotFoundError
from search.data.catalogue import DatasetInfo
from service.schemas.server import (
    BackboneAnswer,
    BackboneTable,
    DatasetAnswer,
    DatasetCheck,
    DatasetDetails,
    DatasetFault,
    DatasetTable,
    TaskAnswer,
    TaskTable,
    UnusableDataset,
    WeightsAnswer,
    WeightsTable,
)
from service.web.auth import Reader, Writer
from service.web.etags import answer
from service.web.guarded_route import GuardedRoute
from service.web.planning.backbone_offers import OfferedBackbone
from service.web.planning.dataset_checks import KnownCheck, find_check, forget_check, list_checks, read_check
from service.web.server_parts import Parts, ServerParts

router = APIRouter(route_class=GuardedRoute, tags=["lists"])


@router.get("/api/v1/datasets", name="list_datasets", response_model=DatasetTable)
def list_datasets(request: Request, caller: Reader, parts: Parts) -> Response:
    """List the datasets on which networks can be searched and trained, with what the check of people's own found."""
    facts = list_checks(parts.store)
    items = [
        DatasetAnswer(**_describe(info, None if info.definition is None else read_check(facts.get(info.name), info)))
        for info in parts.offers.datasets.list_trainable()
    ]
    unusable = [UnusableDataset(file=file, message=message) for file, message in parts.offers.list_unusable()]
    return answer(request, DatasetTable(items=items, unusable=unusable))


@router.get("/api/v1/datasets/{name}", name="get_dataset", response_model=DatasetDetails)
def get_dataset(request: Request, name: str, caller: Reader, parts: Parts) -> Response:
    """Read a dataset with the statistics of its labels."""
    info = _find(parts, name)
    check = find_check(parts.store, info)
    findings = None if check is None else check.findings
    details = DatasetDetails(
        **_describe(info, check),
        sizes={} if findings is None else dict(findings.sizes),
        statistics={} if findings is None else dict(findings.tasks),
    )
    return answer(request, details)


@router.post("/api/v1/datasets/{name}/check", name="check_dataset", response_model=DatasetAnswer, status_code=202)
def check_dataset(name: str, caller: Writer, parts: Parts) -> DatasetAnswer:
    """Have the samples of a dataset made of files checked again, as after files were mended."""
    info = _find(parts, name)
    if info.definition is not None:
        forget_check(parts.store, name)
    return DatasetAnswer(**_describe(info, find_check(parts.store, info)))


@router.get("/api/v1/tasks", name="list_tasks", response_model=TaskTable)
def list_tasks(request: Request, caller: Reader, parts: Parts) -> Response:
    """List the tasks of all datasets."""
    infos = parts.offers.datasets.list_trainable()
    return answer(request, TaskTable(items=[task for info in infos for task in _describe_tasks(info)]))


@router.get("/api/v1/backbones", name="list_backbones", response_model=BackboneTable)
def list_backbones(request: Request, caller: Reader, parts: Parts) -> Response:
    """List the backbones, with those of packages that are installed beside the server."""
    return answer(request, BackboneTable(items=[_describe_backbone(row) for row in parts.offers.backbones.list()]))


@router.get("/api/v1/weights", name="list_weights", response_model=WeightsTable)
def list_weights(request: Request, caller: Reader, parts: Parts) -> Response:
    """List the weight files that networks can start from, beside "none" and "imagenet"."""
    rows = [WeightsAnswer(**vars(file)) for file in parts.offers.weights.list()]
    return answer(request, WeightsTable(items=rows))


def _find(parts: ServerParts, name: str) -> DatasetInfo:
    """Return the facts of a dataset on which networks can be trained, or raise NotFoundError."""
    for info in parts.offers.datasets.list_trainable():
        if info.name == name:
            return info
    raise NotFoundError


def _describe(info: DatasetInfo, check: KnownCheck | None) -> dict[str, Any]:
    """Return the fields of a dataset's answer."""
    return {
        "name": info.name,
        "summary": info.summary,
        "tasks": _describe_tasks(info),
        "image_channels": info.image_channels,
        "default_size": list(info.default_size),
        "smallest_side": info.sizes[0],
        "largest_side": info.sizes[1],
        "num_train": info.num_train,
        "num_val": info.num_val,
        "definition": info.definition,
        "check": None if check is None else _describe_check(check),
    }


def _describe_backbone(offered: OfferedBackbone) -> BackboneAnswer:
    """Return a backbone as an answer."""
    info = offered.info
    return BackboneAnswer(
        name=offered.name,
        family="custom" if info is None else info.family,
        num_layers=None if info is None else info.num_layers,
        output_stride=None if info is None else info.output_stride,
        min_size=None if info is None else info.min_size,
        summary="" if info is None else info.summary,
        package=offered.package,
        problem=offered.problem,
    )


def _describe_check(known: KnownCheck) -> DatasetCheck:
    """Return what is known of the samples of a dataset as an answer."""
    found = known.findings
    return DatasetCheck(
        state=known.state,
        checked_at=known.checked_at,
        num_samples={} if found is None else dict(found.num_samples),
        num_faulty=0 if found is None else found.num_faulty,
        faults=[] if found is None else [DatasetFault(**fault.model_dump(mode="json")) for fault in found.faults],
        remarks=[] if found is None else list(found.remarks),
        message=known.message,
    )


def _describe_tasks(info: DatasetInfo) -> list[TaskAnswer]:
    """Return the tasks of a dataset as answers."""
    return [
        TaskAnswer(
            dataset=info.name,
            name=task.name,
            kind=task.kind,
            channels=task.channels,
            class_names=list(task.class_names),
        )
        for task in info.tasks
    ]
