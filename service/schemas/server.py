"""Bodies of answers about the server itself: what a search may name, health, version, access tokens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from db.records.access import TokenRecord
from search.data.checks.findings import TaskFindings
from service.schemas.jobs import AnswerBody, Time


class TaskAnswer(AnswerBody):
    """A task of a dataset."""

    dataset: str
    name: str
    kind: str
    channels: int
    class_names: list[str]


class TaskTable(AnswerBody):
    """All tasks of all datasets."""

    items: list[TaskAnswer]


class DatasetFault(AnswerBody):
    """Faults of one kind in the samples of a dataset."""

    part: Annotated[str, Field(description="image, the name of a task, or dataset.")]
    example: str
    num_samples: int
    samples: Annotated[list[str], Field(description="The first of them.")]


class DatasetCheck(AnswerBody):
    """What the check of a dataset made of files found in its samples."""

    state: Literal["waiting", "checked", "failed"]
    checked_at: Time | None
    num_samples: Annotated[dict[str, int], Field(description="By split.")]
    num_faulty: int
    faults: list[DatasetFault]
    remarks: list[str]
    message: Annotated[str, Field(description="Why it could not be checked.")]


class DatasetAnswer(AnswerBody):
    """A dataset that a search may name."""

    name: str
    summary: str
    tasks: list[TaskAnswer]
    image_channels: int
    default_size: Annotated[list[int], Field(description="[H, W] in pixels.")]
    smallest_side: int
    largest_side: int
    num_train: int
    num_val: int
    definition: Annotated[str | None, Field(description="SHA-256 of its dataset.yaml; null for built-in ones.")]
    check: Annotated[DatasetCheck | None, Field(description="Of its samples; null for built-in ones.")]


class DatasetDetails(DatasetAnswer):
    """A dataset with the statistics of its labels."""

    sizes: Annotated[dict[str, int], Field(description="Images by HxW; empty before the check.")]
    statistics: Annotated[dict[str, TaskFindings], Field(description="By task; empty before the check.")]


class UnusableDataset(AnswerBody):
    """A file in the server's datasets folder that looks like a dataset and is none."""

    file: str
    message: str


class DatasetTable(AnswerBody):
    """The datasets on which networks can be searched and trained."""

    items: list[DatasetAnswer]
    unusable: list[UnusableDataset]


class WeightsAnswer(AnswerBody):
    """A file that networks can start from."""

    name: str
    num_bytes: int
    backbone: Annotated[str | None, Field(description="Whose ImageNet weights torchvision published in it.")]


class WeightsTable(AnswerBody):
    """The files in the server's weights folder."""

    items: list[WeightsAnswer]


class BackboneAnswer(AnswerBody):
    """A backbone that a search may name."""

    name: str
    family: str
    num_layers: Annotated[int | None, Field(description="Null while the facts of one of a package are not known.")]
    output_stride: int | None
    min_size: Annotated[int | None, Field(description="Smallest height and width in pixels.")]
    summary: str
    package: Annotated[str | None, Field(description="Name and version of what brings it; null for built-in ones.")]
    problem: Annotated[str, Field(description="Why it cannot be used; empty where nothing is known against it.")]


class BackboneTable(AnswerBody):
    """The backbones."""

    items: list[BackboneAnswer]


class Health(AnswerBody):
    """The process answers."""

    status: Literal["ok"]


class Readiness(AnswerBody):
    """Whether the server takes work, and why not."""

    ready: bool
    checks: dict[str, bool]
    queue_lag_seconds: Annotated[float | None, Field(description="Age of the oldest job that waits.")]


class Version(AnswerBody):
    """Version of the program and of the API."""

    version: str
    api: Literal["v1"]


class ProblemDescription(AnswerBody):
    """What a kind of problem means."""

    code: str
    status: int
    title: str


class TokenAnswer(AnswerBody):
    """An access token without its secret."""

    id: str
    name: str
    owner: str
    role: str
    scopes: list[str]
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None

    @classmethod
    def of(cls, record: TokenRecord) -> TokenAnswer:
        """Return a record as an answer."""
        return cls(**_token_fields(record))


class CreatedToken(TokenAnswer):
    """A new access token; `token` is shown this once."""

    token: str

    @classmethod
    def with_text(cls, record: TokenRecord, text: str) -> CreatedToken:
        """Return a record and its text as an answer."""
        return cls(**_token_fields(record), token=text)


def _token_fields(record: TokenRecord) -> dict[str, Any]:
    """Return the fields of a token that may be shown."""
    fields = {name: getattr(record, name) for name in TokenAnswer.model_fields}
    return {**fields, "scopes": list(record.scopes)}


class TokenList(AnswerBody):
    """Access tokens, newest first."""

    items: list[TokenAnswer]
