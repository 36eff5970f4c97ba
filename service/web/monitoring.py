"""What the server counts, in the text format of Prometheus; labels are route templates and states, never free text."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from db.errors import DbError
from db.questions import JobQuery
from db.records.states import JobState
from db.stores import Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Monitor:
    """Counts requests, and asks the database for the queue when it is read.

    Args:
        store: Knows the queue.
        version: Of this program.
    """

    def __init__(self, store: Store, version: str) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "bmtas_http_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "bmtas_http_request_seconds", "Time to the answer.", ["route"], buckets=_BUCKETS, registry=self._registry
        )
        self.streams = Gauge("bmtas_event_streams", "Clients that follow events now.", registry=self._registry)
        self.sweeps = Counter("bmtas_swept", "Leases and deadlines that ran out.", registry=self._registry)
        Gauge("bmtas_build_info", "Version of the program.", ["version"], registry=self._registry).labels(version).set(
            1
        )
        self._registry.register(_QueueCollector(store))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note an answered request; `route` is the template of its path."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def render(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return generate_latest(self._registry)


class _QueueCollector(Collector):
    """Reads the queue from the database whenever Prometheus asks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the jobs per state, the age of the oldest that waits, and the workers."""
        jobs = GaugeMetricFamily("bmtas_jobs", "Jobs that are not deleted.", labels=["state"])
        up = GaugeMetricFamily("bmtas_database_up", "Whether the database answers.")
        try:
            counts = self._store.count_jobs()
            lag = measure_queue_lag(self._store)
            num_workers = len(self._store.list_workers())
        except DbError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        for state in JobState:
            jobs.add_metric([state.value], counts.get(state, 0))
        yield up
        yield jobs
        yield GaugeMetricFamily("bmtas_queue_lag_seconds", "Age of the oldest job that waits.", value=lag)
        yield GaugeMetricFamily("bmtas_workers", "Workers seen in the last day.", value=num_workers)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield nothing: the registry must not ask the database when this is registered."""
        return iter(())


def measure_queue_lag(store: Store) -> float:
    """Return the age in seconds of the oldest job that waits, 0 where none does."""
    oldest = store.list_jobs(JobQuery(kinds=(), states=(JobState.QUEUED,), sort="created_at", limit=1))
    return max(0.0, (store.now() - oldest[0].created_at).total_seconds()) if oldest else 0.0
