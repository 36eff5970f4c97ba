"""Bodies of answers about the server itself: what a search may name, health, version, access tokens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from db.records.access import TokenRecord
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


class DatasetTable(AnswerBody):
    """The datasets on which networks can be searched and trained."""

    items: list[DatasetAnswer]


class BackboneAnswer(AnswerBody):
    """A backbone that a search may name."""

    name: str
    family: str
    num_layers: int
    output_stride: int
    min_size: Annotated[int, Field(description="Smallest height and width in pixels.")]
    summary: str


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
