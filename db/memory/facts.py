"""What was found out about datasets and backbones, in memory."""

from __future__ import annotations

import copy

from db.memory.books import MemoryPart
from db.records.facts import FactRecord
from db.records.jobs import Json


class MemoryFacts(MemoryPart):
    """The part of the store that keeps facts."""

    def put_fact(self, kind: str, name: str, fingerprint: str, document: Json) -> FactRecord:
        """Keep a fact in place of the one that was known of the thing, and return it."""
        with self._books.call() as now:
            fact = FactRecord(kind, name, fingerprint, copy.deepcopy(dict(document)), now)
            self._books.facts[kind, name] = fact
            return copy.deepcopy(fact)

    def find_fact(self, kind: str, name: str) -> FactRecord | None:
        """Return what is known of a thing, or None."""
        with self._books.call():
            return copy.deepcopy(self._books.facts.get((kind, name)))

    def list_facts(self, kind: str) -> list[FactRecord]:
        """Return what is known of all things of a kind, by name."""
        with self._books.call():
            found = [fact for fact in self._books.facts.values() if fact.kind == kind]
            return copy.deepcopy(sorted(found, key=lambda fact: fact.name))
