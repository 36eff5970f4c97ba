"""Files of trials that no row points at, left by attempts that were killed between the file and its row: removed.

Only files older than a day go, so that a running attempt is never disturbed.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

_LOG = logging.getLogger(__name__)
_FOLDER = "trials"
_MIN_AGE = timedelta(days=1)
_FIRST_SECONDS = 300.0
_PERIOD_SECONDS = 3600.0
_TIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created")


class KnownPaths(Protocol):
    """Knows which files rows point at."""

    def list_paths(self) -> set[str]:
        """Return their paths under the storage root."""
        ...


class StorageSweeper:
    """Removes files without a row from the storage root.

    Args:
        root: Absolute path or fsspec URL.
        known: Knows which files belong to a trial.
    """

    def __init__(self, root: str, known: KnownPaths) -> None:
        self._root = root
        self._known = known

    def run(self, ended: threading.Event) -> None:
        """Sweep five minutes after the start and then every hour, until the server ends."""
        pause = _FIRST_SECONDS
        while not ended.wait(pause):
            pause = _PERIOD_SECONDS
            try:
                removed = self.sweep(datetime.now(UTC))
            except (OSError, ValueError) as error:  # the storage or the database is away: next time
                _LOG.warning("Files without an owner could not be swept: %s", error)
            else:
                if removed:
                    _LOG.info("Removed %d files that belonged to no trial.", removed)

    def sweep(self, now: datetime) -> int:
        """Remove files that are a day old and belong to no trial; return how many."""
        import fsspec  # noqa: PLC0415 - a tenth of the server's start

        filesystem, folder = fsspec.core.url_to_fs(f"{self._root.rstrip('/')}/{_FOLDER}")
        if not filesystem.exists(folder):
            return 0
        # Listed before the rows are read: a file that gets its row in between is known by then.
        files: dict[str, dict[str, Any]] = filesystem.find(folder, detail=True)
        known = self._known.list_paths()
        removed = 0
        for path, facts in files.items():
            name = f"{_FOLDER}/{path.removeprefix(folder).lstrip('/')}"
            written_at = _read_time(facts)
            if name not in known and written_at is not None and now - written_at > _MIN_AGE:
                filesystem.rm_file(path)
                removed += 1
        return removed


def _read_time(facts: dict[str, Any]) -> datetime | None:
    """Return when a file was last written, None where the storage does not say."""
    for key in _TIME_KEYS:
        value = facts.get(key)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
    return None
