"""Fronts as answers: the networks of a job or a study in two figures, which of them none beats, and the baselines.

`search.pareto` decides; `build_front` chooses the figures and puts them into words; `FrontAnswers` keeps the answers.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.records.jobs import Json
from db.records.results import FrontRow, FrontStamp
from db.stores import ResultStore
from search.delta import score_documents
from search.errors import SearchError
from search.pareto import hypervolume, non_dominated
from service.schemas.results import Baseline, Front, FrontAxis, FrontPoint
from service.web.etags import etag_of_content

ALGORITHM = "pareto-2"
"""Named in every front; changes when the same networks would give another front."""
COST_UNITS = {"madds": "MAdds", "params": "parameters", "latency_ms": "ms"}
COSTS = tuple(COST_UNITS)


@dataclass(frozen=True)
class FrontQuestion:
    """Which figures to compare.

    Attributes:
        x: A key of `COST_UNITS`; lower is better, and networks for which it is not known are left out.
        y: "delta_m" or the name of a task.
        feasible: Whether to leave out networks that exceed their own budget.
    """

    x: str = "madds"
    y: str = "delta_m"
    feasible: bool = False


_Question = tuple[str | None, str, FrontQuestion]


@dataclass(frozen=True)
class FrontAnswer:
    """A front as it is sent: its JSON and the tag of that."""

    content: bytes
    etag: str


class FrontAnswers:
    """Answers to questions about fronts, kept while nothing was found since: thousands of points take their time.

    Args:
        store: Knows the networks.
        max_bytes: Of all answers that are kept; those that were not asked for longest go first.
    """

    def __init__(self, store: ResultStore, max_bytes: int = 16 << 20) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._kept: OrderedDict[_Question, tuple[FrontStamp, FrontAnswer]] = OrderedDict()
        self._guard = threading.Lock()

    def answer(self, question: FrontQuestion, *, study_key: str, job_id: str | None = None) -> FrontAnswer:
        """Return the front of a study, or of one job of it."""
        asked = (job_id, study_key, question)
        # Read before the rows: what is found in between makes the stamp old, never the answer.
        stamp = self._store.get_front_stamp(job_id=job_id, study_key=study_key)
        with self._guard:
            kept_stamp, kept = self._kept.get(asked, (None, None))
            if kept is not None and kept_stamp == stamp:
                self._kept.move_to_end(asked)
                return kept
        front = self._read(question, study_key, job_id)
        content = front.model_dump_json(exclude_unset=True).encode()
        answer = FrontAnswer(content, etag_of_content(content))
        self._keep(asked, stamp, answer)
        return answer

    def _read(self, question: FrontQuestion, study_key: str, job_id: str | None) -> Front:
        """Return the front as the store has it now."""
        of_study = None if job_id is not None else study_key
        # Metrics are needed for the figures of a task, and to tell networks not trained from those not scored yet.
        with_metrics = question.y != "delta_m"
        rows = self._store.list_front_rows(job_id=job_id, study_key=of_study, with_metrics=with_metrics)
        if not with_metrics and all(row.delta_m is None for row in rows):
            rows = self._store.list_front_rows(job_id=job_id, study_key=of_study)
        return build_front(rows, self._store.list_baselines(study_key), question)

    def _keep(self, asked: _Question, stamp: FrontStamp, answer: FrontAnswer) -> None:
        """Keep an answer, and let go of the oldest that there is no room for."""
        with self._guard:
            self._kept[asked] = (stamp, answer)
            self._kept.move_to_end(asked)
            size = sum(len(kept.content) for _, kept in self._kept.values())
            while size > self._max_bytes:
                _, (_, dropped) = self._kept.popitem(last=False)
                size -= len(dropped.content)


def build_front(
    rows: Sequence[FrontRow], baselines: Mapping[str, Json], question: FrontQuestion | None = None
) -> Front:
    """Return the front of some networks.

    Args:
        rows: The networks of a job or a study.
        baselines: Results of the study's baselines by trial name.
        question: What to compare; MAdds and delta_m without it.
    """
    asked = question or FrontQuestion()
    kept = [row for row in rows if not asked.feasible or row.budget_madds is None or row.madds <= row.budget_madds]
    kept = [row for row in kept if getattr(row, asked.x) is not None]
    xs = [float(getattr(row, asked.x)) for row in kept]
    ys = [_read_gain(row.delta_m, row.metrics, asked.y) for row in kept]
    higher_is_better = asked.y == "delta_m" or _is_higher_better(kept, asked.y)
    sign = 1.0 if higher_is_better else -1.0
    rated = [index for index, y in enumerate(ys) if y is not None]
    pairs = [(xs[index], sign * (ys[index] or 0.0)) for index in rated]
    front = [rated[index] for index in non_dominated(pairs)]
    if all(row.metrics is None for row in kept) and not rated:
        front = list(range(len(kept)))  # searched but not trained: nothing tells them apart, as on the command line
    on_front = set(front)
    known = _describe_baselines(baselines, asked)
    reference = _choose_reference(known, asked)
    area = None if reference is None or not pairs else hypervolume(pairs, (reference[0], sign * reference[1]))
    # The points are right by construction: to check thousands of them again would take longer than all the rest.
    return Front.model_construct(
        points=[_describe(row, xs[i], ys[i], on_front=i in on_front) for i, row in enumerate(kept)],
        front=[kept[index].id for index in front],
        hypervolume=area,
        reference=reference,
        baselines=known,
        x=FrontAxis(name=asked.x, unit=COST_UNITS[asked.x], better="lower"),
        y=FrontAxis(
            name=asked.y,
            unit="%" if asked.y == "delta_m" else _metric_name(kept, asked.y),
            better="higher" if higher_is_better else "lower",
        ),
        algorithm=ALGORITHM,
    )


def _describe(row: FrontRow, x: float, y: float | None, *, on_front: bool) -> FrontPoint:
    """Return a network as a point."""
    return {
        "architecture_id": row.id,
        "job_id": row.job_id,
        "name": row.name,
        "seed": row.seed,
        "budget_madds": row.budget_madds,
        "madds": row.madds,
        "params": row.params,
        "delta_m": row.delta_m,
        "x": x,
        "y": y,
        "on_front": on_front,
    }


def _read_gain(delta_m: float | None, metrics: Json | None, y: str) -> float | None:
    """Return delta_m or the metric of a task, None where it was not measured."""
    if y == "delta_m":
        return delta_m
    value = ((metrics or {}).get(y) or {}).get("value")  # a metric that was not a number is kept as null
    return None if value is None else float(value)


def _is_higher_better(rows: Sequence[FrontRow], task: str) -> bool:
    """Return the direction of a task's metric, as the networks say."""
    return all(bool(row.metrics[task]["higher_is_better"]) for row in rows if row.metrics and task in row.metrics)


def _metric_name(rows: Sequence[FrontRow], task: str) -> str:
    """Return the name of a task's metric, as the networks say."""
    return next((str(row.metrics[task]["metric"]) for row in rows if row.metrics and task in row.metrics), "")


def _choose_reference(baselines: Mapping[str, Baseline], asked: FrontQuestion) -> tuple[float, float] | None:
    """Return what the hypervolume counts from: the separate networks, which a useful tree beats in both figures."""
    single = baselines.get("single")
    if single is None:
        return None
    y = 0.0 if asked.y == "delta_m" else single.y
    return None if y is None else (single.x, y)


def _describe_baselines(results: Mapping[str, Json], asked: FrontQuestion) -> dict[str, Baseline]:
    """Return the baselines that are complete: all single-task networks as one, and the shared network."""
    singles = {name: result for name, result in results.items() if name.startswith("single-") and result.get("metrics")}
    shared = results.get("shared")
    found: dict[str, Baseline] = {}
    metrics: dict[str, Any] = {task: value for result in singles.values() for task, value in result["metrics"].items()}
    tasks = set(metrics) if shared is None or not shared.get("metrics") else set(shared["metrics"])
    is_complete = bool(singles) and tasks <= set(metrics)
    if is_complete:
        found |= _describe_baseline("single", tuple(singles.values()), metrics, 0.0, asked)
    if shared is not None and shared.get("metrics"):
        delta_m = _score(shared["metrics"], metrics) if is_complete else None
        found |= _describe_baseline("shared", (shared,), dict(shared["metrics"]), delta_m, asked)
    return found


def _describe_baseline(
    name: str, results: Sequence[Json], metrics: dict[str, Any], delta_m: float | None, asked: FrontQuestion
) -> dict[str, Baseline]:
    """Return a baseline of some networks by its name in the figures asked for; nothing where its x is not known."""
    costs = {cost: sum(int(result[cost]) for result in results) for cost in ("madds", "params")}
    if asked.x in costs:
        x = float(costs[asked.x])
    else:
        latencies = [(result.get("latency") or {}).get("latency_ms") for result in results]
        if None in latencies:
            return {}
        x = float(sum(value for value in latencies if value is not None))
    y = _read_gain(delta_m, metrics, asked.y)
    return {name: Baseline(**costs, metrics=metrics, delta_m=delta_m, x=x, y=y)}


def _score(metrics: Mapping[str, Any], baselines: Mapping[str, Any]) -> float | None:
    """Return delta_m, None where the two do not fit together."""
    try:
        return score_documents(metrics, {task: baselines[task] for task in metrics})
    except (SearchError, KeyError):
        return None
