"""Settings every test runs under: passive OpenMP threads, one torch thread, no deadlines, no silent skips in CI.

And what tests of more than one room need: a PostgreSQL of their own, SQLite files, a package that brings backbones.
"""

import importlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis
import psycopg
import pytest
import torch

from db.sql.migration import migrate

IN_CI = os.environ.get("CI", "").strip().lower() not in ("", "0", "false", "no")
NO_GPU = "no CUDA device on this machine"
POSTGRES_PASSWORD = "planted-password"
POSTGRES_PATIENCE_S = 60
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# A busy machine must not fail a property; in CI the examples are the same in every run.
hypothesis.settings.register_profile("bmtas", deadline=None, derandomize=IN_CI, database=None)
hypothesis.settings.load_profile("bmtas")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Keep tests from fighting over two cores."""
    torch.set_num_threads(1)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Return the device under test; the GPU case skips where there is none."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip(NO_GPU)
    return torch.device(str(request.param))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that skips in CI for want of anything but a GPU."""
    return _without_silent_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a file that skips as a whole in CI."""
    return _without_silent_skip((yield))


def _without_silent_skip(report: Report) -> Report:
    """Return the report, a skip turned into a failure unless a GPU is missing or, for a test of that, is there."""
    reason = str(report.longrepr)
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and "CUDA device" not in reason:
        report.outcome = "failed"
        report.longrepr = f"Nothing but a GPU may be missing in CI, but this was skipped: {reason}"
    return report


@dataclass
class PostgresCluster:
    """A PostgreSQL of the tests' own on a free port; when we are root it runs as `postgres`, since it refuses root.

    Attributes:
        folder: Holds the data and the log.
        binaries: Folder of initdb and postgres.
        port: On 127.0.0.1.
        fsync: Whether commits reach the disk; without it tests are faster, and data still outlives a killed process.
    """

    folder: Path
    binaries: Path
    port: int
    fsync: bool = False
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database of this cluster."""
        return f"postgresql://bmtas:{POSTGRES_PASSWORD}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        """Make the data folder."""
        (self.folder / "password").write_text(POSTGRES_PASSWORD)
        if os.geteuid() == 0:
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        words = ["-D", str(self.folder / "data"), "-U", "bmtas", "-A", "password", "-E", "UTF8", "--locale=C"]
        words += ["--no-sync", f"--pwfile={self.folder / 'password'}"]
        command = [*self._as_postgres(), str(self.binaries / "initdb"), *words]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)

    def start(self) -> None:
        """Start the server and return when it answers."""
        words = ["-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder), "-h", "127.0.0.1"]
        if not self.fsync:
            words += ["-c", "fsync=off", "-c", "full_page_writes=off"]
        words += ["-c", "max_connections=200", "-c", "shared_buffers=64MB"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._as_postgres(), str(self.binaries / "postgres"), *words],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline = time.monotonic() + POSTGRES_PATIENCE_S
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self, signal_number: int = signal.SIGINT) -> None:
        """Stop the server: SIGINT in good order, SIGQUIT at once, as after a crash."""
        if self.process is not None:
            self.process.send_signal(signal_number)
            self.process.wait(POSTGRES_PATIENCE_S)
            self.process = None

    def execute(self, *statements: str) -> None:
        """Run statements that need no transaction, such as CREATE DATABASE."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _as_postgres(self) -> list[str]:
        """Return the words that run a command as `postgres`, and end it with us, whatever ends us."""
        if os.geteuid() != 0:
            return []
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=QUIT"]


def find_postgres() -> Path | None:
    """Return the folder of the newest PostgreSQL on this machine, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    on_path = [path for path in [shutil.which("postgres")] if path]
    return found[-1].parent if found else Path(on_path[0]).parent if on_path else None


@contextmanager
def run_postgres(*, fsync: bool = False) -> Iterator[PostgresCluster]:
    """Yield a running cluster and remove it afterwards; skip where PostgreSQL is not installed."""
    binaries = find_postgres()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt install postgresql)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    # Short, since the path of a socket has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="bm", dir="/tmp"))
    cluster = PostgresCluster(folder, binaries, port, fsync)
    try:
        cluster.make()
        cluster.start()
        yield cluster
    finally:
        cluster.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """Return a cluster shared by the tests of this process, with a database of ready tables to copy."""
    with run_postgres() as cluster:
        cluster.execute("CREATE DATABASE ready")
        migrate(cluster.url("ready"))
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """Return the URL of a fresh database with empty tables, in a cluster that must not be stopped."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_cluster.execute(f"CREATE DATABASE {name} TEMPLATE ready")
    yield postgres_cluster.url(name)
    postgres_cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_postgres_url(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """Return the URL of a fresh database without tables, in a cluster that must not be stopped."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_cluster.execute(f"CREATE DATABASE {name}")
    yield postgres_cluster.url(name)
    postgres_cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def own_postgres() -> Iterator[PostgresCluster]:
    """Return a cluster of the test's own, which it may stop and start."""
    with run_postgres() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ready_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file with empty tables, to copy."""
    path = tmp_path_factory.mktemp("ready") / "ready.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, ready_sqlite_file: Path) -> str:
    """Return the URL of a fresh SQLite file with empty tables."""
    return f"sqlite:///{shutil.copy(ready_sqlite_file, tmp_path / 'bmtas.db')}"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh database, once of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@dataclass(frozen=True)
class WildPackage:
    """A package as people publish it: networks, and entry points that name them as backbones.

    Attributes:
        folder: On `sys.path` and in PYTHONPATH while a test runs.
        networks: The imported module with the networks, tests/models/wild_networks.py.
    """

    folder: Path
    networks: ModuleType

    def add(self, name: str, target: str) -> None:
        """Name one more backbone in the package's metadata."""
        with (self.folder / "wild_networks-1.2.dist-info" / "entry_points.txt").open("a") as stream:
            stream.write(f"{name} = {target}\n")

    def write(self, module: str, source: str) -> None:
        """Add a module to the package."""
        (self.folder / f"{module}.py").write_text(source)


@pytest.fixture
def wild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WildPackage:
    """Return an installed package that brings backbones, gone again after the test."""
    folder = tmp_path / "site"
    metadata = folder / "wild_networks-1.2.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "models" / "wild_networks.py", folder)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: wild-networks\nVersion: 1.2\n")
    names = ("vgg16_bn", "MobileNetV3", "ConvNext", "ResNext", "DenseNet", "UNet", "no_norm", "small", "restless")
    lines = [f"{name.lower()} = wild_networks:{name}" for name in names]
    (metadata / "entry_points.txt").write_text("\n".join(["[bmtas.backbones]", *lines, ""]))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return WildPackage(folder, importlib.import_module("wild_networks"))
