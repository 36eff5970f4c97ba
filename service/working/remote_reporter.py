"""A trial's events -> figures, lines and progress for the server, sent in batches by whoever calls `flush`.

`RemoteReporter` is `search.ports.Reporter`. It never raises into the run: while the server is away, what waits goes to
a spill file, and it is sent in order when the server is back.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from pathlib import Path

from db.records.jobs import MetricPoint, Progress
from search.ports import Event, Message, StageFinished, StageProgress, StageStarted
from service.errors import ServerAwayError, ServiceProblem
from service.working.worker_client import MAX_LINES, MAX_POINTS, AttemptClient

MAX_IN_MEMORY = 5_000
"""Figures and lines that wait in memory; more of them go to the spill file."""
MAX_SPILLED = 1_000_000
"""Figures and lines in the spill file; beyond that the newest are dropped, which is said in the log."""
MAX_LINE = 2_000
Entry = MetricPoint | str
_UNACCEPTABLE = {400, 413, 422}  # sending the same again would be refused for ever, and hold up all that follows


class RemoteReporter:
    """A reporter that keeps what it is told until it is sent.

    Args:
        client: Speaks for the attempt.
        spill_path: Where to put what does not fit into memory; made when needed, removed by `close`.
    """

    def __init__(self, client: AttemptClient, spill_path: Path) -> None:
        self._client = client
        self._spill = _SpillFile(spill_path)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._progress = Progress()
        self._num_dropped = 0

    @property
    def progress(self) -> Progress:
        """Return how far the run is."""
        return self._progress

    @property
    def num_waiting(self) -> int:
        """Return how many figures and lines are not sent yet."""
        return len(self._waiting) + self._spill.num_waiting

    def emit(self, event: Event) -> None:
        """Take one event."""
        match event:
            case StageStarted(stage, first_step, total_steps):
                self._progress = Progress(stage, first_step, total_steps)
                self.log(f"{stage}: {'goes on at' if first_step else 'begins with'} step {first_step} of {total_steps}")
            case StageProgress(stage, step, total_steps, values):
                self._progress = Progress(stage, step, total_steps)
                self._keep([MetricPoint(f"{stage}/{name}", step, float(value)) for name, value in values.items()])
            case StageFinished(stage, values, reused):
                figures = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
                self.log(f"{stage}: {'was done before' if reused else 'done'}{': ' + figures if figures else ''}")
            case Message(text):
                self.log(text)

    def log(self, text: str) -> None:
        """Take lines for those who watch."""
        self._keep([line[:MAX_LINE] for line in text.splitlines() if line.strip()])

    def flush(self) -> bool:
        """Send what waits and return whether all of it went; only one thread sends at a time.

        Raises:
            AttemptLostError: The attempt no longer holds its trial.
        """
        with self._sending:
            while batch := self._next_batch():
                try:
                    self._send(batch)
                except ServerAwayError:
                    return False
                except ServiceProblem as problem:
                    if problem.status not in _UNACCEPTABLE:
                        return False
                self._note_sent(len(batch))
        return True

    def close(self) -> None:
        """Remove the spill file."""
        self._spill.remove()

    def _keep(self, entries: list[Entry] | list[MetricPoint] | list[str]) -> None:
        """Put entries at the end of what waits; once some are in the spill file, the next must follow them there."""
        with self._lock:
            for entry in entries:
                if len(self._waiting) < MAX_IN_MEMORY and not self._spill.num_waiting:
                    self._waiting.append(entry)
                elif not self._spill.append(entry):
                    self._num_dropped += 1

    def _next_batch(self) -> list[Entry]:
        """Return the oldest entries of one kind, at most as many as one call may carry; empty where nothing waits."""
        with self._lock:
            if not self._waiting:
                self._waiting.extend(self._spill.take(MAX_IN_MEMORY))
                if self._waiting and not self._spill.num_waiting and self._num_dropped:
                    self._waiting.append(
                        f"{self._num_dropped} figures and lines were dropped while the server was away"
                    )
                    self._num_dropped = 0
            batch: list[Entry] = []
            for entry in self._waiting:
                limit = MAX_POINTS if isinstance(entry, MetricPoint) else MAX_LINES
                if len(batch) >= limit or (batch and type(batch[0]) is not type(entry)):
                    break
                batch.append(entry)
            return batch

    def _send(self, batch: list[Entry]) -> None:
        """Send entries of one kind."""
        points = [entry for entry in batch if isinstance(entry, MetricPoint)]
        if points:
            self._client.add_metrics(points)
        else:
            self._client.add_logs([entry for entry in batch if isinstance(entry, str)])

    def _note_sent(self, count: int) -> None:
        """Drop the oldest entries, which the server has now."""
        with self._lock:
            for _ in range(count):
                self._waiting.popleft()


class _SpillFile:
    """Entries on disk in order, a line of JSON each; a disk that refuses loses them and nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._num_written = 0
        self._num_taken = 0
        self._offset = 0

    @property
    def num_waiting(self) -> int:
        """Return how many entries were not taken yet."""
        return self._num_written - self._num_taken

    def append(self, entry: Entry) -> bool:
        """Put an entry at the end and return whether that went well."""
        if self.num_waiting >= MAX_SPILLED:
            return False
        row = [entry.name, entry.step, entry.value] if isinstance(entry, MetricPoint) else entry
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
        except OSError:
            return False
        self._num_written += 1
        return True

    def take(self, count: int) -> list[Entry]:
        """Return the oldest entries; once all are taken the file goes."""
        if not self.num_waiting:
            return []
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                lines = [line for line in (stream.readline() for _ in range(min(count, self.num_waiting))) if line]
                self._offset = stream.tell()
        except OSError:
            lines = []
        self._num_taken = self._num_taken + len(lines) if lines else self._num_written
        if not self.num_waiting:
            self.remove()
        rows = [json.loads(line) for line in lines]
        return [row if isinstance(row, str) else MetricPoint(row[0], row[1], row[2]) for row in rows]

    def remove(self) -> None:
        """Remove the file and forget what was in it."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._num_written = self._num_taken = self._offset = 0
