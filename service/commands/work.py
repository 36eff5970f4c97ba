"""`bmtas work`: which server to work for, with which token, and what of this machine to offer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from service.client_access import ServerAccess, find_access
from service.commands.shell import Shell
from service.working.machine import count_gpus
from service.working.work_orders import RunSettings
from service.working.worker import WorkRequest, run_worker

Executor = Literal["ray", "local"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class WorkerWishes:
    """How a worker is to work; None leaves the choice to what the machine has.

    Attributes:
        name: What people read of it.
        executor: How trials are run.
        ray_address: Cluster to join; None for a local Ray.
        device: Where to compute.
        cpus: Cores that one trial may occupy.
        gpus: GPUs that one trial may occupy.
        slots: Jobs at a time.
        max_trials: Trials of one job that are taken at once.
        storage: Where the files of trials lie, when not where the server says.
        datasets_dir: Folder of the datasets made of files; None for none.
        weights_dir: Folder of the files that networks can start from; None for none.
        stop_seconds: Time for running trials to save their state after a request to stop.
        end_with_stdin: Whether the end of stdin asks for a stop.
    """

    name: str
    executor: Executor
    ray_address: str | None
    device: Device
    cpus: float | None
    gpus: float | None
    slots: int
    max_trials: int
    storage: str | None
    datasets_dir: Path | None
    weights_dir: Path | None
    stop_seconds: float
    end_with_stdin: bool


def work(access: ServerAccess, wishes: WorkerWishes, shell: Shell) -> None:
    """Work until the process is asked to stop.

    Raises:
        NoTokenError: No token is known.
        ServiceError: The server refuses this worker, e.g. as one of another program version.
    """
    server, token = find_access(access, shell.settings)
    settings = RunSettings(
        executor=wishes.executor,
        device=wishes.device,
        cache_dir=str(shell.settings.cache_dir),
        cache_bytes=shell.settings.cache_bytes,
        datasets_dir=None if wishes.datasets_dir is None else str(wishes.datasets_dir),
        weights_dir=None if wishes.weights_dir is None else str(wishes.weights_dir),
        storage_root=wishes.storage,
        ray_address=wishes.ray_address,
        stop_seconds=wishes.stop_seconds,
    )
    run_worker(
        WorkRequest(
            server=server,
            token=token,
            settings=settings,
            version=version("bmtas"),
            slots=wishes.slots,
            max_trials=wishes.max_trials,
            cpus=wishes.cpus if wishes.cpus is not None else float(os.cpu_count() or 1),
            gpus=wishes.gpus if wishes.gpus is not None else _default_gpus(wishes),
            name=wishes.name,
            end_with_stdin=wishes.end_with_stdin,
        )
    )


def _default_gpus(wishes: WorkerWishes) -> float:
    """Return the GPUs of this machine, none where trials compute on the CPU."""
    return 0.0 if wishes.device == "cpu" else float(count_gpus())
