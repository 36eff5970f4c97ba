"""`bmtas serve`: settings and store, the first tokens, the web application on its socket, the local worker beside it.

The one place that wires the server together. Asked to stop, it is not ready any more, hands out no work and ends the
event streams; the local worker saves its work and goes; then the process ends with 0, within ten seconds.
"""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import uvicorn

from db.sql.store import open_store
from db.stores import Store
from search.data.shelf import DatasetShelf
from service.app import create_app
from service.errors import ServerStartError
from service.server_settings import ServerSettings
from service.serving.dataset_checker import DatasetChecker
from service.serving.described_backbones import describe_backbone
from service.serving.local_worker import LocalWorker
from service.serving.memory_arenas import share_memory_arenas
from service.serving.server_files import ServerFiles
from service.serving.storage_sweeper import StorageSweeper
from service.settings import child_environment
from service.web.planning.backbone_offers import BackboneOffers

WORKER_SECONDS = 6.5
"""How long the local worker may take to save its work; with what follows, the server ends within ten seconds."""
_WORKER_STOP_SECONDS = 4.5  # from its being asked to stop until it ends what still runs
_CONNECTION_SECONDS = 2
_BACKLOG = 512
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True)
class TlsFiles:
    """Certificate chain and private key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class ServeRequest:
    """What a person asks of `bmtas serve`.

    Attributes:
        host: Address to listen on.
        port: Port to listen on, 0 for a free one.
        data_dir: Folder of the server's own files.
        database_url: None for SQLite in the data folder.
        storage_root: Where the files of trials lie; None for a folder in the data folder.
        datasets_dir: Folder of the datasets made of files; None for none.
        weights_dir: Folder of the files that networks can start from; None for none.
        tls: Certificate to encrypt with; None for plain HTTP.
        insecure_bind: Whether plain HTTP may be offered to other machines.
        allowed_hosts: Further names under which the server may be addressed.
        worker_options: Command-line options of the local worker; None for no local worker.
        lease_seconds: How long a trial belongs to a worker that is not heard of.
        heartbeat_seconds: How often a worker is heard of.
        backoff_seconds: How long a trial waits after its first counted failure; doubled by each further one.
        log_requests: Whether every request gets a line on stderr.
        end_with_stdin: Whether the end of stdin asks for a stop, for a server that another command started.
    """

    host: str
    port: int
    data_dir: Path
    database_url: str | None = None
    storage_root: str | None = None
    datasets_dir: Path | None = None
    weights_dir: Path | None = None
    tls: TlsFiles | None = None
    insecure_bind: bool = False
    allowed_hosts: tuple[str, ...] = ()
    worker_options: tuple[str, ...] | None = ()
    lease_seconds: float = 90.0
    heartbeat_seconds: float = 10.0
    backoff_seconds: float = 10.0
    log_requests: bool = False
    end_with_stdin: bool = False


@dataclass(frozen=True)
class Ready:
    """What a server says once it answers: its address, its data folder, and on a first start the admin token."""

    address: str
    data_dir: Path
    admin_token: str | None


def run_server(request: ServeRequest, announce: Callable[[Ready], None]) -> None:
    """Serve until the process is asked to stop.

    Args:
        request: How to serve.
        announce: Gets the address once the server answers.

    Raises:
        ServerStartError: It cannot start as asked.
        DbError: The database is away or belongs to another version.
    """
    logging.basicConfig(level=logging.INFO, format=_LOG_FORMAT, stream=sys.stderr)
    for chatty in ("alembic", *(() if request.log_requests else ("service.requests",))):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    share_memory_arenas()
    files = ServerFiles(request.data_dir)
    check_host(request)
    files.prepare()
    database_url = request.database_url or files.default_database_url
    opened = open_store(database_url, backoff_seconds=request.backoff_seconds)
    with closing(opened) as store, closing(_bind(request.host, request.port)) as listener:
        admin_token = files.issue_first_admin_token(store)
        files.ensure_worker_token(store)
        settings = build_settings(request, files)
        address = _address_of(listener, request)
        ready = Ready(address, request.data_dir, admin_token)
        with files.announced(address), _looked_after(settings, store), _local_worker(request, files, address) as worker:
            server = _Server(_configure(request, settings, store), settings.draining, worker)
            server.on_ready = lambda: announce(ready)
            if request.end_with_stdin:
                threading.Thread(target=_stop_with_stdin, name="stdin", daemon=True).start()
            gc.freeze()  # What is loaded stays: looking through it ever again takes a quarter of long answers' time.
            gc.enable()
            server.run(sockets=[listener])


def build_settings(request: ServeRequest, files: ServerFiles) -> ServerSettings:
    """Return the settings of the application that a request stands for."""
    own = () if _is_wildcard(request.host) else (request.host,)
    names = (socket.gethostname(),) if request.insecure_bind or request.tls else ()
    defaults = ServerSettings.allowed_hosts
    return ServerSettings(
        storage_root=request.storage_root or str(request.data_dir / "storage"),
        data_dir=request.data_dir,
        datasets_dir=request.datasets_dir,
        weights_dir=request.weights_dir,
        secret=files.load_secret(),
        code_version=version("bmtas"),
        lease_seconds=request.lease_seconds,
        heartbeat_seconds=request.heartbeat_seconds,
        allowed_hosts=tuple(dict.fromkeys((*defaults, *own, *names, *request.allowed_hosts))),
    )


def check_host(request: ServeRequest) -> None:
    """Refuse to offer plain HTTP to other machines unless the person says that this is meant.

    Raises:
        ServerStartError: It was not said.
    """
    if request.tls is not None or request.insecure_bind or _is_loopback(request.host):
        return
    raise ServerStartError(
        f"Over plain HTTP everybody on the way can read the access tokens, so only this machine (127.0.0.1) is served, "
        f"got --host {request.host}. Encrypt with --tls-cert and --tls-key, or, where a proxy encrypts or the network "
        "is trusted, add --insecure-bind."
    )


class _Server(uvicorn.Server):
    """A uvicorn server that ends in the order that a queue needs: no new work, worker gone, connections closed."""

    def __init__(self, config: uvicorn.Config, draining: threading.Event, worker: LocalWorker | None) -> None:
        super().__init__(config)
        self.on_ready: Callable[[], None] = lambda: None
        self._draining = draining
        self._worker = worker
        self._stop_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        self.on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Look after the local worker ten times a second; return whether to end."""
        if self._worker is not None:
            self._worker.tend()
        if self._draining.is_set() and (
            self._worker is None or self._worker.has_ended or time.monotonic() > self._stop_at
        ):
            self.should_exit = True
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a request to stop; the second one does not wait for the worker."""
        if self._draining.is_set():
            self.should_exit = self.force_exit = True
            return
        self._stop_at = time.monotonic() + WORKER_SECONDS
        self._draining.set()
        if self._worker is not None:
            self._worker.ask_to_stop()


def _configure(request: ServeRequest, settings: ServerSettings, store: Store) -> uvicorn.Config:
    """Return how uvicorn serves the application."""
    tls = request.tls
    try:
        config = uvicorn.Config(
            create_app(settings, store, describe_backbone),
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_CONNECTION_SECONDS,
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else str(tls.key),
        )
        config.load()
    except (ssl.SSLError, FileNotFoundError) as error:
        raise ServerStartError(
            f"--tls-cert and --tls-key must name a PEM certificate and its key, but they cannot be used: {error}."
        ) from None
    return config


def _stop_with_stdin() -> None:
    """Ask this process to stop when the one that started it is gone."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _looked_after(settings: ServerSettings, store: Store) -> Iterator[None]:
    """Sweep the storage, check people's datasets and get to know their backbones in the background."""
    chores = {
        "storage-sweeper": StorageSweeper(settings.storage_root, store).run,
        "backbone-describer": BackboneOffers(store, describe_backbone).describe_all,
    }
    if settings.datasets_dir is not None:
        chores["dataset-checker"] = DatasetChecker(DatasetShelf(settings.datasets_dir), store).run
    threads = [
        threading.Thread(target=chore, args=(settings.draining,), name=name, daemon=True)
        for name, chore in chores.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        settings.draining.set()
        for thread in threads:
            thread.join(timeout=1.0)


@contextmanager
def _local_worker(request: ServeRequest, files: ServerFiles, address: str) -> Iterator[LocalWorker | None]:
    """Yield the local worker, which starts with the first look at it, and end it at last; None where none is wanted."""
    if request.worker_options is None:
        yield None
        return
    access = ("--server", address, "--token-file", str(files.worker_token_path))
    end = ("--end-with-stdin", "--stop-seconds", str(_WORKER_STOP_SECONDS))
    folders = {"--datasets": request.datasets_dir, "--weights": request.weights_dir}
    where = [word for option, folder in folders.items() if folder is not None for word in (option, str(folder))]
    command = (sys.executable, "-m", "service.cli", "work", *access, *end, *where, *request.worker_options)
    # The worker needs neither the database nor anybody's token: what is not there cannot leak into trials.
    environment = child_environment({}, without=("BMTAS_DATABASE", "BMTAS_TOKEN", "BMTAS_TOKEN_FILE", "BMTAS_SERVER"))
    worker = LocalWorker(command, environment)
    try:
        yield worker
    finally:
        worker.end_now()


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ServerStartError: The address is not this machine's, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise ServerStartError(
            f"The server cannot listen on {host}, port {port}: {error.strerror or error}. Choose another --port (0 for "
            "a free one) or --host."
        ) from None
    return listener


def _address_of(listener: socket.socket, request: ServeRequest) -> str:
    """Return the address under which commands on this machine reach a socket."""
    host, port = listener.getsockname()[:2]
    if _is_wildcard(request.host):
        host = "127.0.0.1" if listener.family is socket.AF_INET else "::1"
    scheme = "http" if request.tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _is_wildcard(host: str) -> bool:
    """Return whether an address stands for all interfaces."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    """Return whether an address reaches no further than this machine, whatever name it goes by."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
        return all(ipaddress.ip_address(address).is_loopback for address in found)
    except (OSError, ValueError):
        return False
