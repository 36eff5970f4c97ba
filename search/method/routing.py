"""`routing.json`: which branch each task takes in each layer, and how sure the search is of it, from start to end.

`search.method.restarts` writes it while a search runs and when it has ended; the candidate page reads it. Pure: no
torch, no I/O. Shapes: L layers, T tasks, K ops per layer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from search.errors import StateFileError
from search.strict_json import read_strict_json

FORMAT: Literal["bmtas-routing"] = "bmtas-routing"
VERSION: Literal[1] = 1
ROUTING_NAME = "routing.json"
MAX_RECORDS = 200
Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    """Base of all parts: frozen, no unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RoutingRecord(_Frozen):
    """How sure a search was at one moment.

    Attributes:
        step: Batches done by then, those of the weights and those of the logits.
        epoch: Epochs done by then.
        temperature: Of the Gumbel-Softmax.
        probabilities: Softmax of the logits, (L, T, K), rounded to four digits.
    """

    step: Count
    epoch: Count
    temperature: Annotated[float, Field(gt=0)]
    probabilities: tuple[tuple[tuple[Share, ...], ...], ...]


class Routing(_Frozen):
    """The routing of one search over its training.

    Attributes:
        layers: Names of the L layers, stem side first.
        tasks: Names of the T tasks; op k of a layer is the copy that task k began with.
        start: Which start of the search this is, from 1: the delivered one once the search has ended.
        starts: How many starts the search has.
        finished: Whether the search has ended.
        records: In the order of their steps; the first stands before the first step.
    """

    format: Literal["bmtas-routing"] = FORMAT
    version: Literal[1] = VERSION
    layers: Annotated[tuple[Name, ...], Field(min_length=1)]
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    start: Annotated[int, Field(ge=1)] = 1
    starts: Annotated[int, Field(ge=1)] = 1
    finished: bool = True
    records: tuple[RoutingRecord, ...]

    @model_validator(mode="after")
    def _check_shapes(self) -> Routing:
        """Refuse records of other layers or tasks."""
        for record in self.records:
            tasks = {len(layer) for layer in record.probabilities}
            if len(record.probabilities) != len(self.layers) or tasks != {len(self.tasks)}:
                raise ValueError(f"every record must have {len(self.layers)} layers of {len(self.tasks)} tasks")
        return self

    def to_json_bytes(self) -> bytes:
        """Return the document as UTF-8 JSON, a record a line."""
        document = self.model_dump(mode="json", exclude={"records"})
        records = ",\n".join(json.dumps(record.model_dump(mode="json"), allow_nan=False) for record in self.records)
        head = json.dumps(document, ensure_ascii=False, allow_nan=False).removesuffix("}")
        return f'{head}, "records": [\n{records}\n]}}\n'.encode()

    @classmethod
    def from_json_bytes(cls, content: bytes, source_name: str = ROUTING_NAME) -> Routing:
        """Return the routing that `to_json_bytes` wrote.

        Raises:
            StateFileError: Not such a document.
        """
        try:
            return read_strict_json(cls, content)
        except ValueError as error:
            message = f"{source_name} is not a usable routing file: {error}. Run the search again."
            raise StateFileError(message) from None


def read_records(
    history: Sequence[Mapping[str, Any]], shape: tuple[int, int, int], first_temperature: float
) -> tuple[RoutingRecord, ...]:
    """Return the records of a search from its history, evenly thinned to at most `MAX_RECORDS`, first and last kept.

    Args:
        history: A row per epoch as `search.method.bilevel` writes them. Rows of the warm-up hold no probabilities: the
            logits are all zero by then. Rows that do not say where they stand are passed over.
        shape: (L, T, K).
        first_temperature: At which the search begins after its warm-up.
    """
    num_layers, num_tasks, num_ops = shape
    uniform = [[[round(1 / num_ops, 4)] * num_ops] * num_tasks] * num_layers
    records = [_record(0, 0, first_temperature, uniform)]
    for row in history:
        if "position" not in row:  # an older program version wrote it
            continue
        step, epoch = row["position"]
        probabilities = row.get("probabilities_LTK", uniform)
        records.append(_record(step, epoch, row.get("temperature", first_temperature), probabilities))
    kept = min(len(records), MAX_RECORDS)
    return tuple(records[round(index * (len(records) - 1) / max(kept - 1, 1))] for index in range(kept))


def _record(step: int, epoch: int, temperature: float, probabilities: Sequence[Any]) -> RoutingRecord:
    """Return one record; softmax is rounded per entry, so that a row adds up to 1 but for those digits."""
    return RoutingRecord.model_validate(
        {"step": step, "epoch": epoch, "temperature": temperature, "probabilities": probabilities}
    )
