"""What the check of a dataset made of files found, as the database keeps it and as people are told.

`service.serving.dataset_checker` puts it there. A finding is of a definition: another dataset.yaml is checked anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from db.records.facts import FactRecord
from db.stores import FactStore
from search.data.catalogue import DatasetInfo
from search.data.checks.findings import Findings

FACT_KIND = "dataset_check"
CheckState = Literal["waiting", "checked", "failed"]


@dataclass(frozen=True)
class KnownCheck:
    """What is known of the samples of a dataset.

    Attributes:
        state: "waiting" while nobody has looked at it as it is defined now, "failed" where nobody could.
        checked_at: When it was looked at.
        findings: What was found.
        message: Why it could not be checked.
    """

    state: CheckState = "waiting"
    checked_at: datetime | None = None
    findings: Findings | None = None
    message: str = ""

    @property
    def warning(self) -> str:
        """Return the sentence for those who are about to train on it, "" where nothing is to be said."""
        if self.state == "failed":
            return f"The dataset could not be checked here: {self.message}"
        if self.findings is None or not self.findings.faults:
            return ""
        first = self.findings.faults[0]
        return (
            f"The check found faults in {self.findings.num_faulty} samples of the dataset as it lies at the server; a "
            f"worker that has them too will refuse it. The first: {first.example}"
        )


def find_check(store: FactStore, info: DatasetInfo) -> KnownCheck | None:
    """Return what is known of a dataset as it is defined now; None for one that needs no check."""
    if info.definition is None:
        return None
    return read_check(store.find_fact(FACT_KIND, info.name), info)


def list_checks(store: FactStore) -> dict[str, FactRecord]:
    """Return all that is known of datasets, by name."""
    return {fact.name: fact for fact in store.list_facts(FACT_KIND)}


def read_check(fact: FactRecord | None, info: DatasetInfo) -> KnownCheck:
    """Return what a fact says of a dataset as it is defined now."""
    if fact is None or fact.fingerprint != info.definition:
        return KnownCheck()
    if "findings" not in fact.document:
        return KnownCheck("failed", fact.created_at, None, str(fact.document.get("message", "")))
    try:
        findings = Findings.model_validate(fact.document["findings"])
    except ValidationError:  # another version of this program wrote it
        return KnownCheck()
    return KnownCheck("checked", fact.created_at, findings)


def forget_check(store: FactStore, name: str) -> None:
    """Have a dataset checked again."""
    store.put_fact(FACT_KIND, name, "", {})


def describe_findings(findings: Findings) -> Mapping[str, Any]:
    """Return the document of a check that came to its end."""
    return {"findings": findings.model_dump(mode="json")}


def describe_failure(message: str) -> Mapping[str, Any]:
    """Return the document of a check that could not be made."""
    return {"message": message}
