"""The trials of a claim on a Ray cluster, by Ray Tune: the only file that knows Ray.

Tune schedules and nothing else: one Tune trial per attempt, no retries, no checkpoints of its own. What a trial finds,
and how it ends, it tells the server itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray import tune
from ray.experimental import internal_kv
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial

from search.errors import UnschedulableError

RunOne = Callable[[str, threading.Event], None]
"""(order of an attempt, set when it is to stop) -> None; returns when the attempt has ended, however that was."""
OBJECT_STORE_BYTES = 200 * 2**20
_SLICE_SECONDS = 0.5
_STOP_SECONDS = 4.0
_GUESTS_SECONDS = 0.2
_FLAGS = b"bmtas"


class Watcher(Protocol):
    """Is told what becomes of the attempts."""

    def began(self, key: str) -> None:
        """Note that an attempt runs in a process of its own."""
        ...

    def fell(self, key: str, message: str) -> None:
        """Note that the process of an attempt is gone before the attempt had ended."""
        ...


@dataclass(frozen=True)
class TuneRun:
    """How and where attempts run.

    Attributes:
        name: Unique; names the folder of Tune's own files and the namespace.
        address: "host:port" of the cluster.
        folder: Absolute path of a folder for Tune's own files.
        cpus: Of each trial.
        gpus: Of each trial; a fraction shares a GPU.
        variables: Environment of the processes that run trials; nothing secret.
    """

    name: str
    address: str
    folder: str
    cpus: float
    gpus: float
    variables: Mapping[str, str]


def start_head(folder: str, *, with_gpus: bool) -> str:
    """Start a Ray of this machine that lives as long as this process, and return its address.

    Args:
        folder: For its files and sockets; its path must be short, since a socket's may have 107 bytes.
        with_gpus: Whether it may use the GPUs of this machine.
    """
    ray.init(
        address="local",
        include_dashboard=False,
        num_gpus=None if with_gpus else 0,
        object_store_memory=OBJECT_STORE_BYTES,
        logging_level=logging.WARNING,
        log_to_driver=False,
        _temp_dir=folder,
    )
    return str(ray.get_runtime_context().gcs_address)


def wait_until_alone(seconds: float) -> None:
    """Return once nobody but this process uses the Ray that it started, or the time is over."""
    end_at = time.monotonic() + seconds
    while time.monotonic() < end_at and _has_guests():
        time.sleep(_GUESTS_SECONDS)


def _has_guests() -> bool:
    """Return whether a driver other than this process has joined and not left; False where Ray cannot say any more."""
    own = ray.get_runtime_context().get_job_id()
    try:
        jobs = ray._private.state.jobs()  # type: ignore[no-untyped-call]
        return any(not job["IsDead"] and job["JobID"] != own for job in jobs)
    except Exception:  # of many kinds, all of which mean that the cluster is gone
        return False


def join(run: TuneRun) -> None:
    """Join the cluster of a run."""
    ray.init(
        address=run.address,
        namespace=run.name,
        runtime_env={"env_vars": dict(run.variables)},
        logging_level=logging.WARNING,
    )


def leave() -> None:
    """Leave the cluster; the processes that ran trials end."""
    ray.shutdown()


def ask_to_stop(run: TuneRun) -> None:
    """Have every attempt of a run save its state and end, and none begin any more; after `leave` there is none."""
    if not ray.is_initialized():
        return
    internal_kv._internal_kv_put(run.name.encode(), b"stop", namespace=_FLAGS)


def run_trials(orders: Mapping[str, str], run_one: RunOne, watcher: Watcher, run: TuneRun) -> None:
    """Run attempts on the cluster that was joined, as many at once as its resources allow, until all have ended.

    Args:
        orders: By id of the attempt; they may hold tokens, so they travel in memory and are in no file of Tune's.
        run_one: Runs one of them; found by its name, so the cluster's machines must have this very program.
        watcher: Is told what becomes of them.
        run: How and where.

    Raises:
        UnschedulableError: No machine of the cluster has the resources of one trial.
    """
    _check_fits(run)
    # It would miss the files of results that Tune was told not to write.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    actor = tune.with_parameters(_TrialActor, orders=dict(orders), run_one=run_one, flag=run.name)
    tuner = Tuner(
        tune.with_resources(actor, {"cpu": run.cpus, "gpu": run.gpus}),
        param_space={"attempt": tune.grid_search(list(orders))},
        tune_config=TuneConfig(
            metric=None,
            num_samples=1,
            reuse_actors=True,  # importing torch takes a process seconds
            trial_name_creator=_name_of,
            trial_dirname_creator=_name_of,
        ),
        run_config=RunConfig(
            name=run.name,
            storage_path=run.folder,
            failure_config=FailureConfig(max_failures=0),  # the server decides about another attempt
            checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            callbacks=[_Relay(watcher)],
            verbose=0,
        ),
    )
    tuner.fit()


class _TrialActor(tune.Trainable):
    """A process of the cluster that runs one attempt after another, each in a thread, watched in short slices."""

    _thread: threading.Thread | None
    _error: BaseException | None

    def setup(  # type: ignore[override]  # `with_parameters` hands over the rest
        self, config: dict[str, Any], orders: Mapping[str, str], run_one: RunOne, flag: str
    ) -> None:
        """Take the orders; the attempt begins with the first step.

        Tune sometimes starts a process for a trial and then gives the trial to one that has just become free. A process
        that began its attempt here would run it beside the other and, being ended, give it back.
        """
        self._orders, self._run_one, self._flag = orders, run_one, flag.encode()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next attempt in the same process."""
        self._attempt, self._error = str(new_config["attempt"]), None
        self._stop_requested, self._thread = threading.Event(), None
        return True

    def step(self) -> dict[str, Any]:
        """Watch the attempt for a moment and return whether it has ended."""
        if internal_kv._internal_kv_exists(self._flag, namespace=_FLAGS):
            self._stop_requested.set()
        if self._thread is None:
            self._thread = self._begin()
        self._thread.join(_SLICE_SECONDS)
        if not self._thread.is_alive() and self._error is not None:
            raise self._error
        return {"done": not self._thread.is_alive()}

    def cleanup(self) -> None:
        """Have an attempt that still runs save its state."""
        self._stop_requested.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def _begin(self) -> threading.Thread:
        """Begin the attempt, unless the run is to stop, and return its thread."""
        order = None if self._stop_requested.is_set() else self._orders[self._attempt]
        thread = threading.Thread(target=self._run, args=(order,), name="trial", daemon=True)
        thread.start()
        return thread

    def _run(self, order: str | None) -> None:
        """Run an attempt, if there is one, and keep what it raised."""
        try:
            if order is not None:
                self._run_one(order, self._stop_requested)
        except BaseException as error:
            self._error = error


class _Relay(Callback):
    """Tells a watcher what Tune tells; Tune writes its callbacks to disk, where this one leaves the watcher out."""

    def __init__(self, watcher: Watcher | None) -> None:
        self._watcher = watcher

    def __reduce__(self) -> tuple[type[_Relay], tuple[None]]:
        return _Relay, (None,)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Tell that the attempt runs: its process has answered."""
        if self._watcher is not None:
            self._watcher.began(_name_of(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tell that the process of the attempt fell."""
        if self._watcher is not None:
            self._watcher.fell(_name_of(trial), "The trial's process on the Ray cluster ended before the trial did.")


def _name_of(trial: Trial) -> str:
    """Return the id of the attempt that a Tune trial stands for."""
    return str(trial.config["attempt"])


def _check_fits(run: TuneRun) -> None:
    """Refuse what no machine has room for: Tune would wait for it without end."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    if any(machine.get("CPU", 0) >= run.cpus and machine.get("GPU", 0) >= run.gpus for machine in machines):
        return
    largest = {name: max((machine.get(name, 0) for machine in machines), default=0) for name in ("CPU", "GPU")}
    raise UnschedulableError(
        f"A trial must fit on one machine of the cluster, but it asks for {run.cpus:g} CPUs and {run.gpus:g} GPUs, and "
        f"the machines have at most {largest['CPU']:g} and {largest['GPU']:g}. Ask for less, or add a machine."
    )
