"""Records of what was found out about a dataset or a backbone, kept because it took long. Pure: no SQL, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.records.jobs import Json


@dataclass(frozen=True)
class FactRecord:
    """What is known of a thing, as of a state of it.

    Attributes:
        kind: What was asked about, at most 16 characters.
        name: Which thing of that kind.
        fingerprint: SHA-256 in hexadecimal of what the fact depends on; another one makes the fact out of date.
        document: What was found.
        created_at: When; given by the store.
    """

    kind: str
    name: str
    fingerprint: str
    document: Json
    created_at: datetime
