"""`bmtas serve` and `bmtas work`: options are parsed here, `service.commands.serve` does what they ask."""

# ruff: noqa: PLC0415 - imports inside commands keep uvicorn, sqlalchemy and ray out of `bmtas --help`
# ruff: noqa: PLR0913, PLR0917 - click hands every option over by name

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.commands.shell import Shell
from service.settings import DEFAULT_HOST, DEFAULT_PORT

if TYPE_CHECKING:
    from service.commands.work import Device, Executor

_PATH = click.Path(path_type=Path)
_executor = click.option(
    "--executor",
    type=click.Choice(["ray", "local"]),
    default="ray",
    show_default=True,
    help="Run trials by Ray Tune, several at a time, or one after another in child processes.",
)
_device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
# For whoever starts the process: it ends when the pipe that is its stdin closes.
_end_with_stdin = click.option("--end-with-stdin", is_flag=True, hidden=True)
_json = click.option("--json", "as_json", is_flag=True, help="Print what is announced as JSON.")
_datasets = click.option(
    "--datasets", "datasets_dir", type=_PATH, metavar="DIR", help="Folder of datasets; BMTAS_DATASETS without it."
)
_weights = click.option(
    "--weights", "weights_dir", type=_PATH, metavar="DIR", help="Folder of weight files; BMTAS_WEIGHTS without it."
)


@click.command(short_help="Serve searches over HTTP.")
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="0 takes a free one."
)
@click.option("--data", "data_dir", type=_PATH, metavar="DIR", help="The server's folder; BMTAS_DATA without it.")
@click.option("--database", metavar="URL", help="postgresql://...; BMTAS_DATABASE, or SQLite in DIR, without it.")
@click.option("--storage", metavar="ROOT", help="Folder or fsspec URL for files of trials; DIR/storage without it.")
@_datasets
@_weights
@click.option("--no-worker", is_flag=True, help="Start no worker beside the server.")
@_executor
@_device
@click.option("--insecure-bind", is_flag=True, help="Offer plain HTTP to other machines: a proxy in front encrypts.")
@click.option("--tls-cert", type=_PATH, metavar="FILE", help="Encrypt with this PEM certificate chain.")
@click.option("--tls-key", type=_PATH, metavar="FILE", help="Its PEM private key.")
@click.option(
    "--allowed-host", "allowed_hosts", multiple=True, metavar="NAME", help="Another name of this server; repeatable."
)
@click.option("--log-requests", is_flag=True, help="Write a line to stderr for every request.")
@_json
@_end_with_stdin
@click.pass_obj
def serve(
    shell: Shell,
    host: str,
    port: int,
    data_dir: Path | None,
    database: str | None,
    storage: str | None,
    datasets_dir: Path | None,
    weights_dir: Path | None,
    no_worker: bool,
    executor: str,
    device: str,
    insecure_bind: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    allowed_hosts: tuple[str, ...],
    log_requests: bool,
    as_json: bool,
    end_with_stdin: bool,
) -> None:
    """Serve searches over HTTP, with a database, a worker and a local Ray of its own."""
    gc.disable()  # While so much is loaded nothing becomes garbage; the server enables it when it answers.
    from service.commands.serve import serve as run
    from service.serve import ServeRequest, TlsFiles

    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    settings = shell.settings
    request = ServeRequest(
        host=host,
        port=port,
        data_dir=(data_dir or settings.data_dir).expanduser().absolute(),
        database_url=database or settings.database_url,
        storage_root=_absolute(storage or settings.storage_root),
        datasets_dir=_folder(datasets_dir or settings.datasets_dir),
        weights_dir=_folder(weights_dir or settings.weights_dir),
        tls=TlsFiles(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None,
        insecure_bind=insecure_bind,
        allowed_hosts=allowed_hosts,
        worker_options=None if no_worker else ("--executor", executor, "--device", device),
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        backoff_seconds=settings.backoff_seconds,
        log_requests=log_requests,
        end_with_stdin=end_with_stdin,
    )
    run(request, as_json=as_json)


def _folder(path: Path | None) -> Path | None:
    """Return a folder that means the same from every working directory."""
    return None if path is None else path.expanduser().absolute()


def _absolute(root: str | None) -> str | None:
    """Return a storage root that means the same from every working directory."""
    return root if root is None or "://" in root else str(Path(root).expanduser().absolute())


@click.command(short_help="Take jobs from a server and run them.")
@click.option("--server", metavar="URL", help="Server to work for; BMTAS_SERVER, or this machine's, without it.")
@click.option("--token-file", type=_PATH, metavar="FILE", help="File that holds a worker's token.")
@click.option("--name", default="", help="What people read of this worker; this machine's name without it.")
@_executor
@click.option("--ray-address", metavar="HOST:PORT", help="Join this Ray cluster; a local Ray of its own without it.")
@_device
@click.option("--cpus", type=click.FloatRange(min=0, min_open=True), help="CPU cores that one trial may occupy.")
@click.option("--gpus", type=click.FloatRange(min=0), help="GPUs that one trial may occupy; those found without it.")
@click.option("--slots", type=click.IntRange(1, 64), default=1, show_default=True, help="Jobs at a time.")
@click.option("--max-trials", type=click.IntRange(1, 64), help="Trials taken at once; 8 on Ray, 1 without it.")
@click.option("--storage", metavar="ROOT", help="Folder or fsspec URL for files of trials; the server's without it.")
@_datasets
@_weights
@click.option(
    "--stop-seconds",
    type=click.FloatRange(min=2, max=3600),
    default=20.0,
    show_default=True,
    help="Asked to stop, time for running trials to save their state.",
)
@_end_with_stdin
@click.pass_obj
def work(
    shell: Shell,
    server: str | None,
    token_file: Path | None,
    name: str,
    executor: Executor,
    ray_address: str | None,
    device: Device,
    cpus: float | None,
    gpus: float | None,
    slots: int,
    max_trials: int | None,
    storage: str | None,
    datasets_dir: Path | None,
    weights_dir: Path | None,
    stop_seconds: float,
    end_with_stdin: bool,
) -> None:
    """Take jobs from a server and run them, until stopped."""
    from service.client_access import ServerAccess
    from service.commands.work import WorkerWishes
    from service.commands.work import work as run

    if ray_address is not None and executor != "ray":
        raise click.UsageError("--ray-address goes with --executor ray.")
    wishes = WorkerWishes(
        name=name,
        executor=executor,
        ray_address=ray_address,
        device=device,
        cpus=cpus,
        gpus=gpus,
        slots=slots,
        # What runs one trial after another must leave the others to other workers.
        max_trials=max_trials or (8 if executor == "ray" else 1),
        storage=_absolute(storage or shell.settings.storage_root),
        datasets_dir=_folder(datasets_dir or shell.settings.datasets_dir),
        weights_dir=_folder(weights_dir or shell.settings.weights_dir),
        stop_seconds=stop_seconds,
        end_with_stdin=end_with_stdin,
    )
    run(ServerAccess(server, token_file), wishes, shell)


SERVE_COMMANDS: tuple[click.Command, ...] = (serve, work)
