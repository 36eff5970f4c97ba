"""What attempts leave and what trials found, in memory: files, figures, lines, events, architectures."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from db.errors import NotFoundError
from db.memory.books import MemoryPart
from db.memory.jobs import cut_page
from db.questions import ArchitectureQuery, StudySort
from db.records.jobs import EventRecord, FileRecord, JobRecord, Json, LogLine, MetricPoint, TrialRecord
from db.records.results import ArchitectureRecord, FrontRow, FrontStamp, StudyRecord
from db.records.states import JobKind, TrialState
from db.rules import BASELINE_KINDS, LOG_LINE_LENGTH, LOG_LINES_KEPT, clean_text


class MemoryRuns(MemoryPart):
    """The parts of the store that running attempts write to, and that keep what was found."""

    def put_file(self, attempt_id: str, name: str, path: str, sha256: str, num_bytes: int) -> FileRecord:
        """Note a file, replacing the one of that name; raise LeaseLostError."""
        with self._books.call() as now:
            attempt = self._books.get_lease(attempt_id)
            record = FileRecord(attempt.trial_id, name, path, sha256, num_bytes, attempt.number, now)
            self._books.files[attempt.trial_id, name] = record
            return record

    def delete_file(self, attempt_id: str, name: str) -> None:
        """Forget a file; a name that is not there is no error. Raises LeaseLostError."""
        with self._books.call():
            self._books.files.pop((self._books.get_lease(attempt_id).trial_id, name), None)

    def list_files(self, trial_id: str) -> list[FileRecord]:
        """Return the files of a trial by name (those of the trial it was reused from, if it was)."""
        with self._books.call():
            trial = self._books.trials.get(trial_id)
            origin = trial_id if trial is None or trial.reused_from is None else trial.reused_from
            files = [file for file in self._books.files.values() if file.trial_id == origin]
            return sorted(files, key=lambda file: file.name)

    def list_paths(self) -> set[str]:
        """Return the paths of all files that rows point at."""
        with self._books.call():
            return {file.path for file in self._books.files.values()}

    def add_metrics(self, attempt_id: str, points: Sequence[MetricPoint]) -> int:
        """Store the figures that are finite, the last one winning per (trial, name, step); return how many."""
        with self._books.call():
            attempt = self._books.get_lease(attempt_id)
            finite = {(each.name, each.step): float(each.value) for each in points if math.isfinite(each.value)}
            for (name, step), value in finite.items():
                self._books.metrics[attempt.trial_id, name, step] = value
            told = [{"name": name, "step": step, "value": value} for (name, step), value in finite.items()]
            if told:
                self._books.add_event(attempt.job_id, "metric", {"trial_id": attempt.trial_id, "points": told})
            return len(told)

    def list_metrics(
        self, job_id: str, *, name: str | None = None, trial_id: str | None = None, after_step: int = -1
    ) -> Mapping[tuple[str, str], list[tuple[int, float]]]:
        """Return {(trial id, name): [(step, value), ...] by step}."""
        series: dict[tuple[str, str], list[tuple[int, float]]] = {}
        with self._books.call():
            for (trial, figure, step), value in sorted(self._books.metrics.items()):
                asked = (name is None or figure == name) and (trial_id is None or trial == trial_id)
                if asked and step > after_step and self._books.trials[trial].job_id == job_id:
                    series.setdefault((trial, figure), []).append((step, value))
        return series

    def add_logs(self, attempt_id: str, lines: Sequence[str]) -> None:
        """Append lines, cut and as many as are kept; raise LeaseLostError."""
        with self._books.call() as now:
            attempt = self._books.get_lease(attempt_id)
            notes = self._books.notes[attempt.job_id]
            told = []
            for line in lines:
                notes.last_log += 1
                text = clean_text(line[:LOG_LINE_LENGTH])
                notes.logs.append(LogLine(notes.last_log, attempt.trial_id, attempt.number, now, text))
                told.append({"seq": notes.last_log, "text": text})
            del notes.logs[:-LOG_LINES_KEPT]
            if told:
                self._books.add_event(attempt.job_id, "log", {"trial_id": attempt.trial_id, "lines": told})

    def list_logs(self, job_id: str, *, after: int = 0, limit: int = 500) -> list[LogLine]:
        """Return lines with seq above `after`."""
        with self._books.call():
            notes = self._books.notes.get(job_id)
            return [] if notes is None else [line for line in notes.logs if line.seq > after][:limit]

    def list_events(
        self, job_id: str, *, after: int = 0, limit: int = 500, kind: str | None = None
    ) -> list[EventRecord]:
        """Return events with seq above `after`, of one kind or of all."""
        with self._books.call():
            notes = self._books.notes.get(job_id)
            events = [] if notes is None else [event for _, event in notes.events if event.seq > after]
            events = [event for event in events if kind is None or event.kind == kind]
            return copy.deepcopy(events[:limit])

    def list_new_events(self, after_id: int, limit: int = 1000) -> list[tuple[int, EventRecord]]:
        """Return (global id, event) of all jobs above a global id."""
        with self._books.call():
            new = [pair for notes in self._books.notes.values() for pair in notes.events if pair[0] > after_id]
            return copy.deepcopy(sorted(new, key=lambda pair: pair[0])[:limit])

    def get_last_event(self, job_id: str) -> tuple[int, int]:
        """Return (oldest kept seq, newest seq) of a job; (1, 0) where there is none."""
        with self._books.call():
            notes = self._books.notes.get(job_id)
            return (1, 0) if notes is None else (notes.events[0][1].seq, notes.last_event)

    def get_newest_event_id(self) -> int:
        """Return the global id of the newest event, 0 where there is none."""
        with self._books.call():
            return self._books.newest_event_id

    def purge_history(self, older_than_seconds: float) -> int:
        """Forget lines and events of jobs that ended so long ago, all but the last event; return how many."""
        purged = 0
        with self._books.call():
            for job_id, notes in self._books.notes.items():
                ended_at = self._books.jobs[job_id].finished_at
                if ended_at is not None and self._books.is_older(ended_at, older_than_seconds):
                    purged += len(notes.logs) + len(notes.events[:-1])
                    notes.logs.clear()
                    del notes.events[:-1]
        return purged

    def get_architecture(self, architecture_id: str) -> ArchitectureRecord:
        """Return an architecture, also of a deleted job, or raise NotFoundError."""
        with self._books.call():
            if architecture_id not in self._books.architectures:
                raise NotFoundError
            return copy.deepcopy(self._books.architectures[architecture_id])

    def list_architectures(self, query: ArchitectureQuery) -> list[ArchitectureRecord]:
        """Return at most `query.limit` architectures of jobs that are not deleted, in order."""
        with self._books.call():
            return copy.deepcopy(cut_page([each for each in self._list_shown() if _is_wanted(each, query)], query))

    def list_front_rows(
        self, *, job_id: str | None, study_key: str | None, with_metrics: bool = True
    ) -> list[FrontRow]:
        """Return what a front needs of every architecture of a job or of a study, the cheapest first."""
        with self._books.call():
            rows = [
                FrontRow(*(getattr(each, name) for name in FrontRow._fields))
                for each in self._list_shown()
                if (job_id is None or each.job_id == job_id)
                and (study_key is None or each.study_key == study_key)
                and (job_id is not None or study_key is None or each.id not in self._books.copied)
            ]
            rows = rows if with_metrics else [each._replace(metrics=None) for each in rows]
            return copy.deepcopy(sorted(rows, key=lambda each: (each.madds, each.id)))

    def get_front_stamp(self, *, job_id: str | None, study_key: str) -> FrontStamp:
        """Return what tells whether the front of a job of this study, or of all of the study, is another by now."""
        with self._books.call():
            found = [
                each
                for each in self._books.architectures.values()
                if each.study_key == study_key and job_id in (None, each.job_id)
            ]
            return FrontStamp(
                num_found=len(found),
                num_scored=sum(each.delta_m is not None for each in found),
                num_baselines=len(self._list_baselines(study_key)),
                num_deleted=sum(notes.is_deleted for notes in self._books.notes.values()),
            )

    def list_studies(
        self, *, sort: StudySort = "-newest_at", after: tuple[Any, str] | None = None, limit: int = 50
    ) -> list[StudyRecord]:
        """Return at most `limit` studies in order; see `ResultStore.list_studies`."""
        with self._books.call():
            searches: dict[str, list[JobRecord]] = {}
            for job in self._books.jobs.values():
                if job.kind is JobKind.SEARCH and not self._books.notes[job.id].is_deleted:
                    searches.setdefault(job.study_key, []).append(job)
            networks = [each for each in self._list_shown() if each.id not in self._books.copied]
            studies = [
                _sum_up(jobs, [each for each in networks if each.study_key == key]) for key, jobs in searches.items()
            ]
        field = sort.removeprefix("-")
        placed = [(_place(getattr(study, field)), study.study_key, study) for study in studies]
        placed.sort(key=lambda each: each[:2], reverse=True)
        last = None if after is None else (_place(after[0]), after[1])
        return [study for *place, study in placed if last is None or tuple(place) < last][:limit]

    def list_baselines(self, study_key: str) -> Mapping[str, Json]:
        """Return {trial name: result} of the finished baselines of a study, the newest where there are several."""
        with self._books.call():
            mine = self._list_baselines(study_key)
            return {trial.name: copy.deepcopy(dict(trial.result or {})) for trial in mine}

    def _list_baselines(self, study_key: str) -> list[TrialRecord]:
        """Return the finished baselines of a study that took over nothing, the oldest first."""
        own = [
            trial
            for trial in self._books.trials.values()
            if trial.state is TrialState.SUCCEEDED and trial.kind in BASELINE_KINDS and trial.reused_from is None
        ]
        mine = [trial for trial in own if self._books.jobs[trial.job_id].study_key == study_key]
        return sorted(mine, key=lambda trial: (trial.finished_at, trial.id))

    def _list_shown(self) -> list[ArchitectureRecord]:
        """Return the architectures of jobs that are not deleted."""
        notes = self._books.notes
        return [each for each in self._books.architectures.values() if not notes[each.job_id].is_deleted]


def _place(value: Any) -> tuple[bool, Any]:
    """Return what makes values compare: what is not known is less than all else."""
    return (False, 0) if value is None else (True, value)


def _sum_up(searches: list[JobRecord], networks: list[ArchitectureRecord]) -> StudyRecord:
    """Return the study of some searches and of what they found."""
    newest = max(searches, key=lambda job: job.id)
    gains = [each.delta_m for each in networks if each.delta_m is not None]
    return StudyRecord(
        study_key=newest.study_key,
        dataset=str(newest.spec.get("dataset") or ""),
        backbone=str(newest.spec.get("backbone") or ""),
        tasks=tuple(newest.spec.get("tasks", ())),
        num_searches=len(searches),
        num_networks=len(networks),
        best_delta_m=max(gains, default=None),
        least_madds=min((each.madds for each in networks), default=None),
        most_madds=max((each.madds for each in networks), default=None),
        newest_at=max(job.created_at for job in searches),
    )


def _is_wanted(found: ArchitectureRecord, query: ArchitectureQuery) -> bool:
    """Return whether an architecture fulfils what a query asks."""
    names = ("owner", "job_id", "study_key", "dataset", "backbone")
    same = all(getattr(query, name) in (None, getattr(found, name)) for name in names)
    cheap = query.madds_max is None or found.madds <= query.madds_max
    return same and cheap and (query.task is None or query.task in found.tasks)
