"""`bmtas demo`: a service of its own, a search submitted to it over REST and watched live, the front, the report.

Stopped or killed and started again in the same folder, it goes on with the same job.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import click

from search.errors import RunCancelledError
from search.presets import build_spec
from service.artifacts import FolderStore
from service.client import Client
from service.client_connection import Patience
from service.client_records import Job, SearchRequest
from service.commands_jobs import check_succeeded, watch_job
from service.commands_runs import REPORT_NAME, Device
from service.folders import SPEC_NAME, claimed_folder
from service.own_server import own_server
from service.pages.report import render_report
from service.server_results import ServerResults, collect_results
from service.shell import Shell
from service.tables import build_results_table, print_table

_TASKS = ("left", "right", "left_group")
_BUDGETS = ("45%", "60%", "75%")
_DATASET, _BACKBONE, _PRESET = "digits", "tiny4", "quick"
_DATA_NAME = "service"
_ENVIRONMENT = {
    "BMTAS_LEASE_SECONDS": "20",  # a demonstration that was killed goes on soon
    "OMP_NUM_THREADS": "1",  # small networks: one core per trial, and several trials at a time
}


def run_demo(folder: Path, device: Device, shell: Shell) -> None:
    """Run the demonstration, or go on with it, and print what it found.

    Raises:
        SearchError: The folder holds something else.
        RunCancelledError: The person stopped it.
        ServiceError: The service does not start, or the job failed.
    """
    spec = build_spec(dataset=_DATASET, tasks=_TASKS, backbone=_BACKBONE, budgets=_BUDGETS, preset=_PRESET)
    job = spec.model_dump(mode="json")
    with claimed_folder(folder, job, resume=(folder / SPEC_NAME).is_file()) as store:
        data_dir = folder.absolute() / _DATA_NAME
        with own_server(data_dir, ("--device", device), _ENVIRONMENT) as server:
            click.echo(f"The service runs at {server.address} until the search has ended.", err=True)
            with Client(server.address, server.token, patience=Patience(seconds=60.0)) as client:
                key = hashlib.sha256(f"{folder.absolute()}\n{spec.spec_hash}".encode()).hexdigest()
                ended = _watch(client, _submit(client, key), folder, shell)
                check_succeeded(ended)
                found = collect_results(spec, client.list_trials(ended.id), client.get_front(ended.id))
        _write(found, store)
    print_table(build_results_table(found.results), sys.stdout)
    click.echo(f"Report: {folder / REPORT_NAME}")
    click.echo(f"Look around in the service, which keeps the search: bmtas serve --data {folder / _DATA_NAME}")


def _submit(client: Client, key: str) -> Job:
    """Return the job of this folder: a new one at first, later the same one, resumed if it had ended badly."""
    request = SearchRequest(
        dataset=_DATASET, backbone=_BACKBONE, budgets=_BUDGETS, tasks=_TASKS, preset=_PRESET, name="demo"
    )
    job = client.get_job(client.submit(request, idempotency_key=key).id)
    if job.is_terminal and job.state != "SUCCEEDED":
        job = client.resume(job.id)
    return job


def _watch(client: Client, job: Job, folder: Path, shell: Shell) -> Job:
    """Return the job once it has ended; say how to go on when the person stops."""
    try:
        return watch_job(client, job, shell)
    except RunCancelledError:
        raise RunCancelledError(
            f"Stopped; the service saves its state. `bmtas demo --out {folder}` goes on with it."
        ) from None


def _write(found: ServerResults, store: FolderStore) -> None:
    """Leave results, networks and report in the folder."""
    for candidate in found.results.candidates:
        store.write(candidate.architecture, found.architectures[candidate.name].to_json_bytes())
    store.write("results.json", found.results.to_json_bytes())
    store.write(REPORT_NAME, render_report(found.results, found.architectures, []).encode())
