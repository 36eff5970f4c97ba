"""`bmtas demo`: a service of its own, a search submitted to it over REST and watched live, the front, the report.

Stopped or killed and started again in the same folder, it goes on with the same job. Once all is found the service
stays for the person to look around, until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.errors import RunCancelledError
from search.presets import build_spec
from search.spec import JobSpec
from service.artifacts import FolderStore
from service.client import Client
from service.client_parts.connection import Patience
from service.client_parts.records import Job, SearchRequest
from service.commands.folders import SPEC_NAME, claimed_folder
from service.commands.interruption import sigterm_as_interrupt
from service.commands.jobs import check_succeeded, watch_job
from service.commands.own_server import OwnServer, own_server
from service.commands.runs import REPORT_NAME, write_report
from service.commands.server_results import ServerResults, collect_results, fetch_files
from service.commands.shell import Shell
from service.commands.tables import build_results_table, print_table

if TYPE_CHECKING:
    from service.commands.work import Device, Executor

_DATA_NAME = "service"
_ENVIRONMENT = {
    "BMTAS_LEASE_SECONDS": "20",  # a demonstration that was killed goes on soon
    "OMP_NUM_THREADS": "1",  # small networks gain more from trials side by side than from threads
}
_CPUS_PER_TRIAL = 0.6  # three trials on two cores: they end together, where two and then one would leave a core idle


@dataclass(frozen=True)
class DemoPlan:
    """What is searched for: the digits of handwriting, in minutes."""

    tasks: tuple[str, ...] = ("left", "right", "left_group")
    budgets: tuple[str, ...] = ("45%", "60%", "75%")
    preset: str = "quick"
    dataset: str = "digits"
    backbone: str = "tiny4"

    def build_spec(self) -> JobSpec:
        """Return the whole job."""
        return build_spec(
            dataset=self.dataset, tasks=self.tasks, backbone=self.backbone, budgets=self.budgets, preset=self.preset
        )

    def build_request(self) -> SearchRequest:
        """Return the same job in the words of the API."""
        return SearchRequest(
            dataset=self.dataset,
            backbone=self.backbone,
            budgets=self.budgets,
            tasks=self.tasks,
            preset=self.preset,
            name="demo",
            resources={"cpus": _CPUS_PER_TRIAL},
        )


@dataclass(frozen=True)
class DemoPlace:
    """Where and how the demonstration runs.

    Attributes:
        folder: For results, report and the service's data.
        device: "auto", "cpu" or "cuda".
        executor: Whether trials run on Ray or by child processes.
        once: End when all is found, rather than keep the service until Ctrl-C.
    """

    folder: Path
    device: Device = "auto"
    executor: Executor = "ray"
    once: bool = False


def run_demo(place: DemoPlace, shell: Shell, plan: DemoPlan | None = None) -> None:
    """Run the demonstration, or go on with it, and print what it found.

    Raises:
        SearchError: The folder holds something else.
        RunCancelledError: The person stopped it.
        ServiceError: The service does not start, or the job failed.
    """
    plan = plan or DemoPlan()
    folder = place.folder
    job = plan.build_spec().model_dump(mode="json")
    claim = claimed_folder(folder, job, resume=(folder / SPEC_NAME).is_file())
    with claim as store, sigterm_as_interrupt(), _own_service(place) as (server, client):
        found, search = _search(plan, place, client, shell)
        _write(found, store)
        print_table(build_results_table(found.results), sys.stdout)
        click.echo(f"Report: {folder / REPORT_NAME}")
        if not place.once:
            _stay(f"{server.address}/studies/{search.document['study_key']}", folder / _DATA_NAME)
    click.echo(f"The service has ended and keeps the search: bmtas serve --data {folder / _DATA_NAME}")


def _stay(study: str, data: Path) -> None:
    """Say where the study is to be seen, and return when the person has seen enough.

    With or without a terminal: what ends it is Ctrl-C or SIGTERM, which a pipeline or a supervisor sends.
    """
    click.echo(f"Study: {study}")
    click.echo(f"Sign in with the access token in {data / 'admin-token'}.")
    click.echo("The service stays until Ctrl-C.")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


@contextmanager
def _own_service(place: DemoPlace) -> Iterator[tuple[OwnServer, Client]]:
    """Yield the service of the demonstration and a client of it; it ends with the block."""
    options = ("--device", place.device, "--executor", place.executor)
    with (
        own_server(place.folder.absolute() / _DATA_NAME, options, _ENVIRONMENT) as server,
        Client(server.address, server.token, patience=Patience(seconds=60.0)) as client,
    ):
        click.echo(f"The service runs at {server.address}", err=True)
        yield server, client


def _search(plan: DemoPlan, place: DemoPlace, client: Client, shell: Shell) -> tuple[ServerResults, Job]:
    """Return what the search of a folder finds, and the job that found it."""
    spec, folder = plan.build_spec(), place.folder.absolute()
    key = hashlib.sha256(f"{folder}\n{spec.spec_hash}".encode()).hexdigest()
    try:
        job = client.get_job(client.submit(plan.build_request(), idempotency_key=key).id)
        if job.is_terminal and job.state != "SUCCEEDED":
            job = client.resume(job.id)
        job = watch_job(client, job, shell)
        check_succeeded(job)
        front = client.get_front(job.id)
        fetch_files(client, front, folder)
        return collect_results(spec, client.list_trials(job.id), front), job
    except (RunCancelledError, KeyboardInterrupt):
        raise RunCancelledError(
            f"Stopped; the service has saved its state. Go on with `bmtas demo --out {place.folder}`."
        ) from None


def _write(found: ServerResults, store: FolderStore) -> None:
    """Leave results, networks and report in the folder."""
    for candidate in found.results.candidates:
        store.write(candidate.architecture, found.architectures[candidate.name].to_json_bytes())
    store.write("results.json", found.results.to_json_bytes())
    write_report(found.results, store)
