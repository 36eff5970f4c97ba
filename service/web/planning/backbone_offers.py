"""The backbones that a server offers: the built-in ones, and those of installed packages, whose code it never runs.

What those are and cost is asked of a short child process (`describe`, handed in by whoever wires the server) and kept
in the database by package, tasks and size; a sentence about a broken one is kept for half a minute.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from pydantic import ValidationError

from db.records.facts import FactRecord
from db.stores import Store
from models.catalogue import BACKBONES, BackboneInfo
from models.errors import ModelsError
from models.foreign import ForeignBackbone, find_foreign, list_foreign
from search.costs.backbone_facts import BackboneDescription, build_request
from search.costs.cost_table import CostTable, compute_costs
from search.data.catalogue import TaskInfo
from service.errors import BackboneDescriptionError
from service.web.problems import ProblemError, refuse_field

FACT_KIND = "backbone"
_PROBLEM_KEPT = timedelta(seconds=30)
_LOG = logging.getLogger(__name__)


class Describe(Protocol):
    """Asks a process of its own what a backbone of another package is."""

    def __call__(
        self, name: str, tasks: Sequence[TaskInfo], size: tuple[int, int] | None, channels: int | None, /
    ) -> BackboneDescription:
        """Return its description; raise ModelsError or BackboneDescriptionError."""
        ...


@dataclass(frozen=True)
class OfferedBackbone:
    """A backbone that a search may name.

    Attributes:
        name: Of it.
        package: Name and version of the package that brings it; None for a built-in one.
        info: Its facts; None while they are not known.
        problem: Why it cannot be used; "" where nothing is known against it.
    """

    name: str
    package: str | None = None
    info: BackboneInfo | None = None
    problem: str = ""


class BackboneOffers:
    """What backbones are and cost.

    Args:
        store: Keeps what was found out about those of other packages.
        describe: Finds it out; None offers the built-in ones alone.
    """

    def __init__(self, store: Store, describe: Describe | None) -> None:
        self._store = store
        self._describe = describe
        self._one_at_a_time = threading.Lock()

    def list(self) -> list[OfferedBackbone]:
        """Return all backbones, with what is known of them; no code of other packages is run for it."""
        built_in = [OfferedBackbone(info.name, info=info) for info in BACKBONES.values()]
        if self._describe is None:
            return built_in
        facts = {fact.name: fact for fact in self._store.list_facts(FACT_KIND)}
        return built_in + [self._offer(foreign, facts) for foreign in list_foreign()]

    def get(self, name: str) -> BackboneInfo:
        """Return the facts of a backbone; the first time that somebody asks for one of another package takes seconds.

        Raises:
            ProblemError: There is none, or it cannot be used.
        """
        if name in BACKBONES:
            return BACKBONES[name]
        return self._get_description(name, (), None, None).info

    def compute_costs(self, name: str, tasks: Sequence[TaskInfo], size: tuple[int, int], channels: int) -> CostTable:
        """Return what every part of a branched network costs.

        Raises:
            ProblemError: The backbone cannot be used, for these images or at all.
        """
        if name in BACKBONES:
            return compute_costs(name, tasks, size, channels)
        return self._get_description(name, tasks, size, channels).costs

    def describe_all(self, ended: threading.Event) -> None:
        """Find out what is not known yet of the backbones of installed packages, for the list."""
        for offered in self.list():
            if not ended.is_set() and offered.info is None:
                try:
                    self.get(offered.name)
                except ProblemError as problem:
                    _LOG.warning("Backbone %s cannot be used: %s", offered.name, problem)

    def _offer(self, foreign: ForeignBackbone, facts: dict[str, FactRecord]) -> OfferedBackbone:
        """Return what is known of a backbone of another package."""
        known = facts.get(_name_fact(foreign.name, (), None, None))
        description, problem = self._read(known, foreign, also_old=True)
        return OfferedBackbone(
            foreign.name,
            foreign.package,
            None if description is None else description.info,
            foreign.problem or problem,
        )

    def _get_description(
        self, name: str, tasks: Sequence[TaskInfo], size: tuple[int, int] | None, channels: int | None
    ) -> BackboneDescription:
        """Return what a backbone of another package is, as it is kept or as a child process says."""
        foreign = find_foreign(name)
        if foreign is None or self._describe is None or foreign.problem is not None:
            known = ", ".join(offered.name for offered in self.list() if not offered.problem)
            said = "Unknown backbone." if foreign is None else str(foreign.problem or "It is not offered here.")
            raise refuse_field("/backbone", f"{said} Choose one of: {known}.")
        fact_name = _name_fact(name, tasks, size, channels)
        description, problem = self._read(self._store.find_fact(FACT_KIND, fact_name), foreign)
        if description is None and not problem:
            with self._one_at_a_time:  # the others find what the first one asked for
                description, problem = self._read(self._store.find_fact(FACT_KIND, fact_name), foreign)
                if description is None and not problem:
                    description, problem = self._ask(foreign, fact_name, (tasks, size, channels))
        if description is None:
            raise refuse_field("/backbone", problem)
        return description

    def _ask(self, foreign: ForeignBackbone, fact_name: str, how: tuple[Any, ...]) -> tuple[Any, str]:
        """Return what a child process says, kept from now on: a description, or what is wrong with the backbone."""
        assert self._describe is not None
        try:
            description, problem = self._describe(foreign.name, *how), ""
        except (ModelsError, BackboneDescriptionError) as error:
            description, problem = None, str(error)
        document = {"problem": problem} if description is None else description.model_dump(mode="json")
        self._store.put_fact(FACT_KIND, fact_name, _fingerprint(foreign), document)
        return description, problem

    def _read(
        self, fact: FactRecord | None, foreign: ForeignBackbone, *, also_old: bool = False
    ) -> tuple[BackboneDescription | None, str]:
        """Return the description that a fact holds, or the problem that it tells; neither where it says nothing now.

        Old problems are worth showing, but whoever wants the backbone is to look again.
        """
        if fact is None or fact.fingerprint != _fingerprint(foreign):
            return None, ""
        if "problem" in fact.document:
            fresh = also_old or self._store.now() - fact.created_at < _PROBLEM_KEPT
            return None, str(fact.document["problem"]) if fresh else ""
        try:
            return BackboneDescription.model_validate_json(json.dumps(dict(fact.document))), ""
        except ValidationError:  # another version of this program wrote it
            return None, ""


def _name_fact(name: str, tasks: Sequence[TaskInfo], size: tuple[int, int] | None, channels: int | None) -> str:
    """Return the name under which a description is kept."""
    asked = build_request(name, tasks, size, channels).model_dump_json()
    return f"{name} {hashlib.sha256(asked.encode()).hexdigest()[:32]}"


def _fingerprint(foreign: ForeignBackbone) -> str:
    """Return what a description depends on: the package with its version, and the code that it names."""
    return hashlib.sha256(json.dumps([foreign.package, foreign.target]).encode()).hexdigest()
