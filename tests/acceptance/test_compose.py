"""The containers on a real Docker engine, from a clean checkout: `make compose-test`.

Where no base image can be pulled, Debian packages stand in for it. Engine, images, containers and volumes that these
tests made are gone afterwards.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).parent / "stand_ins"
PYTHON_IMAGE = "python:3.11-slim-bookworm"
POSTGRES_IMAGE = "postgres:15-bookworm"
# What stands in for a base image is a Debian with these packages.
PACKAGES = {PYTHON_IMAGE: "python3-venv", POSTGRES_IMAGE: "postgresql-15"}
BUILD_SECONDS = 1200
LASTING = ("db", "server", "ray-head", "worker")
SEARCH = {"dataset": "digits", "tasks": ["left", "right"], "backbone": "tiny4", "preset": "smoke"}

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


def wait_until(check: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once a check holds; fail with the sentence when it does not in time."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.5)


def find_listeners() -> set[tuple[str, int]]:
    """Return (address in hexadecimal, port) of every TCP socket on which containers can be reached from this machine.

    That is a socket of Docker's proxy, or of a container that shares this machine's network; what other programs of
    this machine listen on is none of ours.
    """
    listening, inodes = "0A", find_container_sockets()
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text("ascii").splitlines()[1:]
    ]
    return {
        (row[1].split(":")[0], int(row[1].split(":")[1], 16))
        for row in rows
        if row[3] == listening and row[9] in inodes
    }


def find_container_sockets() -> set[str]:
    """Return the inodes of all sockets held by Docker's proxies and by processes with another root than this one."""
    own_mounts = os.readlink("/proc/self/ns/mnt")
    inodes = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended
            if (process / "comm").read_text().strip() != "docker-proxy" and os.readlink(
                process / "ns" / "mnt"
            ) == own_mounts:
                continue
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
            inodes |= {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    return inodes


@dataclass(frozen=True)
class Engine:
    """A Docker engine.

    Attributes:
        environment: Of the processes that speak to it.
    """

    environment: Mapping[str, str]

    def run(self, *words: str, seconds: float = 120, folder: Path | None = None) -> str:
        """Return what a command that must succeed prints."""
        done = subprocess.run(
            words, env=dict(self.environment), cwd=folder, capture_output=True, text=True, check=False, timeout=seconds
        )
        assert done.returncode == 0, f"{' '.join(words[:8])} ended with {done.returncode}: {done.stderr[-3000:]}"
        return done.stdout

    def works(self, *words: str) -> bool:
        """Return whether a command succeeds."""
        with suppress(OSError, subprocess.TimeoutExpired):
            return not subprocess.run(
                words, env=dict(self.environment), capture_output=True, check=False, timeout=60
            ).returncode
        return False

    def inspect(self, name: str) -> Any:
        """Return what the engine knows of an image or a container."""
        return json.loads(self.run("docker", "inspect", name))[0]


@contextmanager
def open_engine() -> Iterator[Engine]:
    """Yield the engine that DOCKER_HOST or the system offers, or else one started for this run alone."""
    offered = Engine(dict(os.environ))
    if offered.works("docker", "info"):
        yield offered
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None or shutil.which("docker") is None:
        pytest.skip("no Docker engine answers, and none can be started: that needs root and dockerd")
    folder = Path(tempfile.mkdtemp(prefix="bm", dir="/tmp"))
    host = f"unix://{folder}/docker.sock"
    words = ["dockerd", "-H", host, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*words, "--pidfile", f"{folder}/pid"], stdout=log, stderr=log)
    engine = Engine({**os.environ, "DOCKER_HOST": host})
    try:
        wait_until(lambda: engine.works("docker", "info"), 60, f"the engine answers; {folder}/log says why")
        yield engine
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def ensure_base_image(engine: Engine, image: str) -> None:
    """See to it that a base image is there: pulled, or where no registry can be reached, made of Debian's packages."""
    if engine.works("docker", "image", "inspect", image) or engine.works("docker", "pull", image):
        return
    if shutil.which("debootstrap") is None:
        pytest.skip(f"{image} cannot be pulled, and without debootstrap nothing can stand in for it")
    folder = Path(tempfile.mkdtemp(prefix="bm", dir="/tmp"))
    try:
        include = f"--include=ca-certificates,{PACKAGES[image]}"
        engine.run("debootstrap", "--variant=minbase", include, "bookworm", str(folder / "root"), seconds=BUILD_SECONDS)
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
            shutil.rmtree(folder / "root" / waste, ignore_errors=True)
        files = image if image == PYTHON_IMAGE else "bmtas-stand-in-postgres-files"
        engine.run("bash", "-c", f"tar -C {folder}/root -c . | docker import - {files}", seconds=BUILD_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if image == POSTGRES_IMAGE:
        dockerfile = str(STAND_INS / "postgres.Dockerfile")
        engine.run("docker", "build", "--tag", image, "--file", dockerfile, str(STAND_INS), seconds=BUILD_SECONDS)


def check_out(folder: Path) -> Path:
    """Return a clean checkout of the last commit; BMTAS_CHECKOUT names another one."""
    if "BMTAS_CHECKOUT" in os.environ:
        return Path(os.environ["BMTAS_CHECKOUT"])
    checkout = folder / "bmtas"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True, timeout=120)
    return checkout


def build_image(engine: Engine, checkout: Path, name: str) -> None:
    """Build an image of the project from its pinned packages.

    With the images' Python on this machine, pip fetches the packages here, where it is set up for the network.
    """
    arguments: list[str] = []
    requirements = f"docker/requirements-{name.partition('-')[0]}.txt"
    if sys.version_info[:2] == (3, 11):
        pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "docker/wheels")
        files = ("-r", "docker/requirements-build.txt", "-r", requirements)
        engine.run(*pip, *files, folder=checkout, seconds=BUILD_SECONDS)
        arguments = ["--build-arg", "PIP_NO_INDEX=1"]
    tags = ["--tag", f"bmtas-{name}", "--file", f"docker/{name}.Dockerfile"]
    engine.run("docker", "build", *arguments, *tags, ".", folder=checkout, seconds=BUILD_SECONDS)


class Stack:
    """The services of docker-compose.yml under a project name of their own.

    Args:
        engine: Runs them.
        checkout: Holds the compose file.
        port: On which the server is published.
    """

    def __init__(self, engine: Engine, checkout: Path, port: int) -> None:
        self.engine = Engine({**engine.environment, "BMTAS_PORT": str(port), "BMTAS_LEASE_SECONDS": "15"})
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._checkout = checkout
        self._project = f"bmtas-test-{port}"
        self.new_listeners: set[tuple[str, int]] = set()
        self._program = ["docker", "compose"] if engine.works("docker", "compose", "version") else ["docker-compose"]

    def compose(self, *words: str, seconds: float = 300) -> str:
        """Return what a command of compose prints."""
        return self.engine.run(*self._program, "-p", self._project, *words, folder=self._checkout, seconds=seconds)

    def container(self, service: str) -> str:
        """Return the id of the container of a service, ended ones too."""
        label = ("--filter", f"label=com.docker.compose.project={self._project}")
        own = (*label, "--filter", f"label=com.docker.compose.service={service}")
        return self.engine.run("docker", "ps", "--all", "--quiet", "--no-trunc", *own).strip()

    def read(self, service: str, *words: str) -> str:
        """Return what a command inside the container of a service prints."""
        return self.engine.run("docker", "exec", self.container(service), *words)

    def health(self, service: str) -> str:
        """Return how the engine judges a service, e.g. "healthy"."""
        return str(self.engine.inspect(self.container(service))["State"]["Health"]["Status"])

    def wait_healthy(self, services: Sequence[str]) -> None:
        """Return once all of these are healthy."""
        for service in services:
            wait_until(lambda: self.health(service) == "healthy", 180, f"{service} is healthy")  # noqa: B023

    def open_client(self) -> httpx.Client:
        """Return a client that holds the admin token."""
        token = self.read("server", "cat", "/data/admin-token").strip()
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)


def find_free_port() -> int:
    """Return a TCP port that is free on 127.0.0.1 at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return the running services; everything is taken down again."""
    with open_engine() as engine:
        checkout = check_out(tmp_path_factory.mktemp("checkout"))
        for image in PACKAGES:
            ensure_base_image(engine, image)
        for name in ("api", "worker-cpu"):
            build_image(engine, checkout, name)
        before = find_listeners()
        stack = Stack(engine, checkout, find_free_port())
        try:
            stack.compose("up", "--detach", "--no-build", seconds=600)
            stack.wait_healthy(LASTING)
            stack.new_listeners = find_listeners() - before
            yield stack
        finally:
            stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """Return a client that holds the admin token."""
    with stack.open_client() as client:
        yield client


def submit(client: httpx.Client, **changes: object) -> str:
    """Return the id of a search that was just submitted."""
    answer = client.post("/api/v1/searches", json={**SEARCH, **changes})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def get_json(client: httpx.Client, path: str) -> Any:
    """Return a resource."""
    return client.get(path).raise_for_status().json()


def wait_for_end(client: httpx.Client, job_id: str, seconds: float) -> Any:
    """Return a search once it has ended, well or badly."""
    path = f"/api/v1/searches/{job_id}"
    ended = ("SUCCEEDED", "FAILED", "CANCELLED")
    wait_until(lambda: get_json(client, path)["state"] in ended, seconds, f"{job_id} ends")
    return get_json(client, path)


def test_the_server_image_stays_small(stack: Stack) -> None:
    """The image of the web server has less than 300 MB, and nothing in it can train."""
    assert stack.engine.inspect("bmtas-api")["Size"] < 300e6
    seek = "import importlib.util as u; print([n for n in ('torch', 'ray', 'numpy', 'pip') if u.find_spec(n)])"
    assert stack.read("server", "python3", "-c", seek).strip() == "[]"


@pytest.mark.parametrize("service", LASTING)
def test_no_process_is_root_or_could_become_it(stack: Stack, service: str) -> None:
    """Every process runs as an ordinary user, without capabilities, on a file system that it cannot write."""
    rows = stack.engine.run("docker", "top", stack.container(service), "-eo", "uid,pid,comm").splitlines()[1:]
    assert {row.split()[0] for row in rows} == {"999" if service == "db" else "10001"}
    status = stack.read(service, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert not stack.engine.works("docker", "exec", stack.container(service), "touch", "/etc/written")


def test_only_the_documented_port_is_open(stack: Stack) -> None:
    """This machine listens on one new port, on 127.0.0.1; the other services publish none."""
    loopback = "0100007F"
    assert stack.new_listeners == {(loopback, stack.port)}
    for service in set(LASTING) - {"server"}:
        assert not any((stack.engine.inspect(stack.container(service))["NetworkSettings"]["Ports"] or {}).values())


def test_networks_part_who_need_not_meet(stack: Stack) -> None:
    """The worker finds neither the database nor a way out, and Ray has no dashboard."""
    reach = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)"
    worker = ("docker", "exec", stack.container("worker"), "python3", "-c", reach)
    database = stack.engine.inspect(stack.container("db"))["NetworkSettings"]["Networks"]
    addresses = [network["IPAddress"] for network in database.values()]
    assert stack.engine.works(*worker, "server", "8642")
    assert not any(stack.engine.works(*worker, address, "5432") for address in ("db", *addresses))
    assert not stack.engine.works(*worker, "1.1.1.1", "443")
    assert not stack.engine.works(*worker, "ray-head", "8265")


def test_ray_takes_nobody_without_its_token(stack: Stack) -> None:
    """A process in the worker's container that holds another token is turned away by the head."""
    ask = (
        "import os; os.environ.update(RAY_AUTH_MODE='token', RAY_AUTH_TOKEN='0' * 64); "
        "os.environ.pop('RAY_AUTH_TOKEN_PATH', None); import ray; "
        "ray.init(address='ray-head:6379', log_to_driver=False)"
    )
    assert stack.engine.works("docker", "exec", stack.container("worker"), "ray-node", "health")
    assert not stack.engine.works("docker", "exec", stack.container("worker"), "python3", "-c", ask)


def test_a_search_over_http_ends_with_a_front(client: httpx.Client) -> None:
    """Submitted to the server, run on Ray, kept in PostgreSQL: a front, and an architecture to take home."""
    job = wait_for_end(client, submit(client, budgets=["60%", "80%"]), 300)
    assert job["state"] == "SUCCEEDED", job
    front = get_json(client, f"/api/v1/searches/{job['id']}/front")
    assert front["front"]
    assert set(front["baselines"]) == {"single", "shared"}
    architecture = get_json(client, f"/api/v1/architectures/{front['front'][0]}/architecture.json")
    assert architecture["tasks"] == SEARCH["tasks"]


def test_a_killed_worker_loses_nothing(stack: Stack, client: httpx.Client) -> None:
    """`docker kill` in mid-run: the next worker goes on, and every trial ends with exactly one result."""
    job_id = submit(client, budgets=["60%", "80%"], seeds=[1, 2, 3])
    path = f"/api/v1/searches/{job_id}/trials"

    def runs() -> list[str]:
        """Return the ids of the trials that have made some steps and are not done."""
        return [
            trial["id"] for trial in get_json(client, path)["items"] if trial["state"] == "RUNNING" and trial["step"]
        ]

    wait_until(lambda: bool(runs()), 120, "a trial runs")
    stack.engine.run("docker", "kill", stack.container("worker"))
    hit = runs()
    stack.compose("up", "--detach", "--no-build", "worker")
    assert wait_for_end(client, job_id, 400)["state"] == "SUCCEEDED"
    trials = get_json(client, path)["items"]
    assert all(trial["state"] == "SUCCEEDED" and trial["result"] for trial in trials)
    for trial in trials:
        states = [attempt["state"] for attempt in get_json(client, f"{path}/{trial['id']}/attempts")["items"]]
        assert trial["reused_from"] or states.count("SUCCEEDED") == 1
    assert any(trial["attempts"] > 1 for trial in trials if trial["id"] in hit)


def test_secrets_stay_in_their_files(stack: Stack) -> None:
    """No log, environment or command line holds the tokens or the password."""
    files = {"server": ["/data/admin-token", "/data/worker-token"], "db": ["/secrets/db/password"]}
    files["ray-head"] = ["/secrets/ray/token"]
    found = {stack.read(service, "cat", name).strip() for service, names in files.items() for name in names}
    told = stack.compose("logs", "--no-color")
    told += "".join(str(stack.engine.inspect(stack.container(service))) for service in LASTING)
    assert all(len(secret) >= 32 and secret not in told for secret in found)
    assert not re.search(r"nas_\w{8,}", told)


def test_everything_is_kept_over_a_restart(stack: Stack, client: httpx.Client) -> None:
    """Taken down and brought up again, the services know the same token, the same searches and the same secrets."""
    before = {job["id"]: job["state"] for job in get_json(client, "/api/v1/searches")["items"]}
    password = stack.read("db", "cat", "/secrets/db/password")
    stack.compose("down", "--timeout", "20")
    stack.compose("up", "--detach", "--no-build", seconds=600)
    stack.wait_healthy(LASTING)
    assert {job["id"]: job["state"] for job in get_json(client, "/api/v1/searches")["items"]} == before
    assert stack.read("db", "cat", "/secrets/db/password") == password
    assert wait_for_end(client, submit(client, budgets=["70%"]), 300)["state"] == "SUCCEEDED"
