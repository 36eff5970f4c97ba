"""The promise of the README as arithmetic: after a crash a search goes on within its lease and a minute."""

from __future__ import annotations

from db.rules import Policy, compute_pause_seconds
from service.server_settings import ServerSettings
from service.settings import Settings
from service.working.worker import Pace

PROMISED_SECONDS = 60.0  # beyond the lease
STARTING_SECONDS = 20.0  # of a driver, a local Ray and a trial's process on a busy machine
FAILURES = 2  # after the third one, with the usual number of attempts, there is no next one
BUSIEST = 0.999999  # the chance that makes a pause longest


def test_recovery_keeps_its_promise() -> None:
    """The sweep that finds the lost lease, the longest pause, the worker's question and the start come in time."""
    pause = compute_pause_seconds(FAILURES, Policy(), BUSIEST)
    question = 1.2 * Pace().longest_pause
    assert ServerSettings.sweep_seconds + pause + question + STARTING_SECONDS < PROMISED_SECONDS


def test_the_pause_is_the_same_wherever_it_is_set() -> None:
    """Server and store agree about the backoff unless somebody says otherwise."""
    assert Settings.backoff_seconds == Policy().backoff_seconds
