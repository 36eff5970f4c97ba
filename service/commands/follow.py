"""A job as it runs, on a terminal: the server's events as the same bars and lines that a run in this process shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from search.ports import Message, StageProgress, StageStarted
from service.client_parts.records import ServerEvent, Trial
from service.commands.tables import format_count
from service.commands.terminal import BarReporter, LineReporter

_ENDED_BADLY = {"FAILED": "failed", "CANCELLED": "was cancelled"}


@dataclass
class _Shown:
    """What the terminal shows of a trial: the label of its bar, None without one, and its state."""

    label: str | None = None
    state: str = ""


class JobView:
    """Shows the events of one job.

    Args:
        reporter: Where to show them.
        trials: Of the job, so that they have names.
        with_logs: Whether lines that trials wrote are shown.
    """

    def __init__(
        self, reporter: BarReporter | LineReporter, trials: Iterable[Trial], *, with_logs: bool = False
    ) -> None:
        self._reporter = reporter
        self._names = {trial.id: trial.name for trial in trials}
        self._kinds = {trial.id: trial.kind for trial in trials}
        self._with_logs = with_logs
        self._shown: dict[str, _Shown] = {}

    def show(self, event: ServerEvent) -> None:
        """Show one event; kinds that are not known are passed over."""
        data = event.data
        match event.kind:
            case "state":
                self._say(_describe_state(data))
            case "trial":
                self._show_trial(data)
            case "progress":
                self._show_progress(data)
            case "front":
                gain = "" if data.get("delta_m") is None else f", delta_m {data['delta_m']:+.2f} %"
                self._say(f"{data.get('name')}: found with {format_count(int(data['madds']))} MAdds{gain}")
            case "log" if self._with_logs:
                for line in data.get("lines", []):
                    self._say(str(line.get("text", "")))

    def _show_trial(self, data: Mapping[str, Any]) -> None:
        """Show that a trial began, ended or waits again."""
        trial_id, state = str(data["trial_id"]), str(data["state"])
        name = str(data.get("name") or self._names.get(trial_id, trial_id))
        self._names[trial_id] = name
        shown = self._shown.setdefault(trial_id, _Shown())
        before, shown.state = shown.state, state
        if state == "RUNNING":
            if int(data.get("attempt") or 1) > 1:
                self._say(f"{name}: attempt {data['attempt']} goes on from the last checkpoint")
            return
        self._drop(shown)
        why = f", {data['reason']}" if data.get("reason") else ""
        if state == "SUCCEEDED":
            self._say(f"{name}: done" if before else f"{name}: done, with a result that was there already")
        elif state in _ENDED_BADLY:
            self._say(f"{name}: {_ENDED_BADLY[state]}{why}")
        elif before == "RUNNING":
            self._say(f"{name}: waits for another attempt{why}")

    def _show_progress(self, data: Mapping[str, Any]) -> None:
        """Move the bar of a trial; it has one bar at a time, for its present stage."""
        trial_id = str(data["trial_id"])
        step, total_steps = int(data.get("step") or 0), int(data.get("total_steps") or 0)
        if total_steps <= 0:
            return
        shown = self._shown.setdefault(trial_id, _Shown())
        label = self._label(trial_id, str(data.get("stage") or ""))
        if label != shown.label:
            self._drop(shown)
            shown.label = label
            self._reporter.emit(StageStarted(label, step, total_steps))
        else:
            self._reporter.emit(StageProgress(label, step, total_steps))

    def _label(self, trial_id: str, stage: str) -> str:
        """Return what the bar of a trial is called: its name, and where that does not say it what it is about."""
        name = self._names.get(trial_id, trial_id)
        only_trains = self._kinds.get(trial_id) != "candidate" and stage == "train"
        return name if only_trains or not stage else f"{name}, {stage}"

    def _drop(self, shown: _Shown) -> None:
        """Take the bar of a trial away."""
        if shown.label is not None:
            self._reporter.forget(shown.label)
            shown.label = None

    def _say(self, sentence: str) -> None:
        """Print a line above the bars."""
        self._reporter.emit(Message(sentence))


def _describe_state(data: Mapping[str, Any]) -> str:
    """Return the state of a job for people, with why where there is a reason."""
    why = " ".join(part for part in (data.get("reason"), data.get("message")) if part)
    return f"{data['state']}" + (f": {why}" if why else "")
