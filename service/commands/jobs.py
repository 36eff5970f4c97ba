"""`bmtas submit`, `jobs`, `job`, `cancel`, `front`, `fetch` and their like: what a person asks of a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from search.errors import RunCancelledError
from service.client import Client, FileFormat
from service.client_access import ServerAccess, open_client
from service.client_parts.connection import Patience
from service.client_parts.records import Front, Job, SearchRequest, TokenRequest
from service.commands.follow import JobView
from service.commands.shell import Shell
from service.commands.tables import print_table
from service.commands.tables_jobs import build_front_table, build_jobs_table, build_tokens_table, build_trials_table
from service.commands.terminal import build_reporter, choose_style
from service.errors import TargetFileError, WaitedJobError

Action = Literal["cancel", "kill", "resume"]
_WATCHING = Patience(seconds=60.0)


@dataclass(frozen=True)
class Asking:
    """Whom a command asks and how it answers.

    Attributes:
        access: The server.
        as_json: Whether stdout gets JSON.
        follow: Whether to watch the job until it has ended.
        with_logs: Whether to show the lines that its trials write, too.
    """

    access: ServerAccess
    as_json: bool = False
    follow: bool = False
    with_logs: bool = False


def submit_search(search: SearchRequest, asking: Asking, shell: Shell, *, idempotency_key: str | None = None) -> None:
    """Submit a search and say its id, or watch it to its end."""
    with _open(asking, shell) as client:
        job = client.submit(search, idempotency_key=idempotency_key)
        _answer(client, job, asking, shell)


def validate_search(search: SearchRequest, asking: Asking, shell: Shell) -> None:
    """Say what a search would need, without submitting it."""
    with _open(asking, shell) as client:
        click.echo(json.dumps(client.validate(search), indent=2))


def show_jobs(filters: Mapping[str, str], limit: int, asking: Asking, shell: Shell) -> None:
    """List searches, the newest first."""
    with _open(asking, shell) as client:
        jobs: list[Job] = []
        for job in client.iterate_jobs({**filters, "page_size": min(limit, 200)}):
            jobs.append(job)
            if len(jobs) >= limit:
                break
    if asking.as_json:
        _print_json([dict(job.document) for job in jobs])
    else:
        print_table(build_jobs_table(jobs), sys.stdout)


def show_job(job_id: str, asking: Asking, shell: Shell) -> None:
    """Show a job with its trials, or watch it to its end."""
    with _open(asking, shell) as client:
        job = client.get_job(job_id)
        if asking.follow:
            _watch(client, job, asking, shell)
            return
        trials = client.list_trials(job_id)
    if asking.as_json:
        _print_json({**job.document, "trials": [dict(trial.document) for trial in trials]})
        return
    print_table(build_trials_table(job, trials), sys.stdout)
    if job.message:
        click.echo(job.message)


def change_job(job_id: str, action: Action, asking: Asking, shell: Shell) -> None:
    """Cancel, kill or resume a job."""
    with _open(asking, shell) as client:
        job = {"cancel": client.cancel, "kill": client.kill, "resume": client.resume}[action](job_id)
        _answer(client, job, asking, shell)


def retry_job(job_id: str, asking: Asking, shell: Shell) -> None:
    """Submit what a job asked once more."""
    with _open(asking, shell) as client:
        _answer(client, client.retry(job_id), asking, shell)


def submit_retraining(architecture_id: str, options: Mapping[str, Any], asking: Asking, shell: Shell) -> None:
    """Have a network that was found trained anew on the server."""
    with _open(asking, shell) as client:
        _answer(client, client.retrain(architecture_id, options), asking, shell)


def show_front(job_id: str, asking: Asking, shell: Shell) -> None:
    """Show the networks that a search found."""
    with _open(asking, shell) as client:
        front = client.get_front(job_id)
        if asking.as_json:
            _print_json(dict(front.document))
        else:
            _print_front(client, job_id, front)


@dataclass(frozen=True)
class FetchRequest:
    """Which network to write to which file; `force` replaces one that is there."""

    architecture_id: str
    file_format: FileFormat
    target: Path
    force: bool = False


def fetch_architecture(request: FetchRequest, asking: Asking, shell: Shell) -> None:
    """Write a network to a file.

    Raises:
        TargetFileError: The file exists already, or its folder does not.
    """
    target = request.target
    if target.exists() and not request.force:
        raise TargetFileError(f"{target} exists already. Choose another --out, or add --force to replace it.")
    if not target.absolute().parent.is_dir():
        raise TargetFileError(f"There is no folder {target.absolute().parent} to write to. Make it, or choose another.")
    with _open(asking, shell, _WATCHING) as client:
        fetched = client.fetch(request.architecture_id, request.file_format, target)
    if asking.as_json:
        _print_json(
            {"path": fetched.path, "format": fetched.format, "sha256": fetched.sha256, "bytes": fetched.num_bytes}
        )
    else:
        click.echo(f"{fetched.path}: {fetched.num_bytes} bytes, SHA-256 {fetched.sha256}")


def show_tokens(asking: Asking, shell: Shell) -> None:
    """List the access tokens."""
    with _open(asking, shell) as client:
        tokens = client.list_tokens()
    if asking.as_json:
        _print_json([dict(token) for token in tokens])
    else:
        print_table(build_tokens_table(tokens), sys.stdout)


def make_token(request: TokenRequest, asking: Asking, shell: Shell) -> None:
    """Make an access token and show it this once."""
    with _open(asking, shell) as client:
        token = client.create_token(request)
    if asking.as_json:
        _print_json(dict(token))
    else:
        click.echo(token["token"])


def revoke_token(token_id: str, asking: Asking, shell: Shell) -> None:
    """Make an access token worthless."""
    with _open(asking, shell) as client:
        client.revoke_token(token_id)
    click.echo(json.dumps({"id": token_id, "revoked": True}) if asking.as_json else f"{token_id} is worth nothing now.")


def watch_job(client: Client, job: Job, shell: Shell, *, with_logs: bool = False) -> Job:
    """Return a job once it has ended, its progress shown on stderr.

    Raises:
        RunCancelledError: The person stopped watching; the job goes on.
    """
    style = choose_style(as_json=False, is_terminal=sys.stderr.isatty(), plain=shell.settings.plain_progress)
    try:
        with build_reporter(style, sys.stderr) as reporter:
            view = JobView(reporter, client.list_trials(job.id), with_logs=with_logs)
            for event in client.follow(job.id):
                view.show(event)
    except KeyboardInterrupt:
        raise RunCancelledError(
            f"No longer watching; the job goes on. Watch it again with `bmtas job {job.id} --follow`, or stop it with "
            f"`bmtas cancel {job.id}`."
        ) from None
    return client.get_job(job.id)


def _open(asking: Asking, shell: Shell, patience: Patience | None = None) -> Client:
    """Return a client of the server that a command asks."""
    if patience is None and asking.follow:
        patience = _WATCHING
    if patience is None:
        return open_client(asking.access, shell.settings)
    return open_client(asking.access, shell.settings, patience=patience)


def _answer(client: Client, job: Job, asking: Asking, shell: Shell) -> None:
    """Say how a job stands after something was asked of it, or watch it to its end."""
    if asking.follow:
        _watch(client, job, asking, shell)
    elif asking.as_json:
        _print_json(dict(job.document))
    else:
        click.echo(f"{job.id} {job.state}")
        if not job.is_terminal:
            click.echo(f"Watch it with `bmtas job {job.id} --follow`.", err=True)


def _watch(client: Client, job: Job, asking: Asking, shell: Shell) -> None:
    """Watch a job to its end and show what it found.

    Raises:
        WaitedJobError: It ended without success.
    """
    if asking.as_json:
        for event in client.follow(job.id):
            click.echo(json.dumps({"seq": event.seq, "kind": event.kind, "data": event.data}))
        ended = client.get_job(job.id)
    else:
        ended = watch_job(client, job, shell, with_logs=asking.with_logs)
        if ended.kind == "search":
            _print_front(client, ended.id, client.get_front(ended.id))
    check_succeeded(ended)


def _print_front(client: Client, job_id: str, front: Front) -> None:
    """Print the networks of a search with their metrics."""
    found = list(client.iterate_architectures({"search": job_id}))
    print_table(build_front_table(front, found), sys.stdout)


def check_succeeded(job: Job) -> None:
    """Refuse a job that ended other than well.

    Raises:
        WaitedJobError: It did; the message says why and how to go on.
    """
    if job.state != "SUCCEEDED":
        why = job.message or job.reason or "no reason is known"
        raise WaitedJobError(f"{job.id} ended as {job.state}: {why}. Go on with it by `bmtas resume {job.id}`.")


def _print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2))
