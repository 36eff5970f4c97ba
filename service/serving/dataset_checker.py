"""Has the samples of people's own datasets read once each, in a child process, and keeps what was found.

A dataset whose definition changed is read again; one that was asked for is, too. Neighbour: `web.planning`.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from db.errors import DbError
from db.stores import FactStore
from search.data.catalogue import DatasetInfo
from search.data.checks.findings import Findings
from search.data.shelf import DatasetShelf
from service.web.planning.dataset_checks import FACT_KIND, KnownCheck, describe_failure, describe_findings, find_check
from service.working.process_sessions import kill_session

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 5.0
_TICK_SECONDS = 0.2
_MOST_CHARACTERS = 500
COMMAND = (sys.executable, "-m", "service.serving.dataset_child")


class DatasetChecker:
    """Checks datasets, one at a time.

    Args:
        datasets: Those of this server.
        store: Keeps what was found.
        command: Gets the place of a dataset as its last word; prints findings.
    """

    def __init__(self, datasets: DatasetShelf, store: FactStore, command: Sequence[str] = COMMAND) -> None:
        self._datasets = datasets
        self._store = store
        self._command = tuple(command)

    def run(self, ended: threading.Event) -> None:
        """Look for datasets to check every few seconds until the server ends."""
        while not ended.is_set():
            try:
                self.check_all(ended)
            except (DbError, OSError) as error:  # the database or the folder is away: next time
                _LOG.warning("Datasets could not be checked: %s", error)
            ended.wait(_LOOK_SECONDS)

    def check_all(self, ended: threading.Event) -> int:
        """Check the datasets that nobody has looked at as they are defined now; return how many."""
        checked = 0
        for info in self._datasets.list():
            place = self._datasets.place(info.name)
            if place is None or ended.is_set() or find_check(self._store, info) != KnownCheck():
                continue
            document = self._check(info, place, ended)
            if document is not None and info.definition is not None:
                self._store.put_fact(FACT_KIND, info.name, info.definition, document)
                checked += 1
        return checked

    def _check(self, info: DatasetInfo, place: Path, ended: threading.Event) -> dict[str, object] | None:
        """Return the document of a check, None where the server ends before it does."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            words = [*self._command, str(place)]
            child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, cwd="/"
            )
            code = _wait(child, ended)
            if code is None:
                return None
            said = _read(err).decode(errors="replace").strip()
            try:
                findings = Findings.model_validate_json(_read(out)) if code == 0 else None
            except ValidationError:
                findings = None
        if findings is None:
            _LOG.warning("Dataset %s could not be checked (%s): %s", info.name, code, said[-2000:])
            folder = self._datasets.folder
            why = said.splitlines()[-1] if said else f"its process ended with {code}."
            return dict(describe_failure(why.replace(f"{folder}/", "")[:_MOST_CHARACTERS]))
        _LOG.info("Checked dataset %s: %d faulty samples.", info.name, findings.num_faulty)
        return dict(describe_findings(findings))


def _wait(child: subprocess.Popen[bytes], ended: threading.Event) -> int | None:
    """Return the exit code of a child, None after it was killed because the server ends."""
    while child.poll() is None:
        if ended.wait(_TICK_SECONDS):
            kill_session(child.pid)
            child.wait()
            return None
    return child.returncode


def _read(file: IO[bytes]) -> bytes:
    """Return all that a child wrote."""
    file.seek(0)
    return file.read()
