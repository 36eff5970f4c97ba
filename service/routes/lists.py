"""What a search may name: datasets, their tasks, backbones. A search never carries a path or an address."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from models.catalogue import BACKBONES
from search.data.catalogue import DATASETS, DatasetInfo
from service.schemas.server import BackboneAnswer, BackboneTable, DatasetAnswer, DatasetTable, TaskAnswer, TaskTable
from service.web.auth import Reader
from service.web.etags import answer
from service.web.guarded_route import GuardedRoute

router = APIRouter(route_class=GuardedRoute, tags=["lists"])


@router.get("/api/v1/datasets", name="list_datasets", response_model=DatasetTable)
async def list_datasets(request: Request, caller: Reader) -> Response:
    """List the datasets on which networks can be searched and trained."""
    return answer(request, DatasetTable(items=[_describe(info) for info in _embedded()]))


@router.get("/api/v1/tasks", name="list_tasks", response_model=TaskTable)
async def list_tasks(request: Request, caller: Reader) -> Response:
    """List the tasks of all datasets."""
    return answer(request, TaskTable(items=[task for info in _embedded() for task in _describe_tasks(info)]))


@router.get("/api/v1/backbones", name="list_backbones", response_model=BackboneTable)
async def list_backbones(request: Request, caller: Reader) -> Response:
    """List the backbones."""
    fields = list(BackboneAnswer.model_fields)
    rows = [BackboneAnswer(**{name: getattr(info, name) for name in fields}) for info in BACKBONES.values()]
    return answer(request, BackboneTable(items=rows))


def _embedded() -> list[DatasetInfo]:
    """Return the datasets whose samples come with this program."""
    return [info for info in DATASETS.values() if info.embedded]


def _describe(info: DatasetInfo) -> DatasetAnswer:
    """Return a dataset as an answer."""
    return DatasetAnswer(
        name=info.name,
        summary=info.summary,
        tasks=_describe_tasks(info),
        image_channels=info.image_channels,
        default_size=list(info.default_size),
        smallest_side=info.sizes[0],
        largest_side=info.sizes[1],
        num_train=info.num_train,
        num_val=info.num_val,
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
