"""What can be said of the containers without an engine: pins, users, secrets, networks, and the scripts inside."""

import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from service.working.work_orders import RunSettings

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
ONE_SHOTS = {"secrets", "worker-token"}
# Answers every import of a distribution that a requirements file leaves out as if it were not installed.
IMPORT_ONLY = """
import importlib, sys
from importlib.metadata import packages_distributions
from packaging.utils import canonicalize_name
listed = set(sys.argv[1].split(","))
owners = {name: {canonicalize_name(owner) for owner in found} for name, found in packages_distributions().items()}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if "." not in name and owners.get(name) and not owners[name] & listed:
            raise ModuleNotFoundError(f"{name} belongs to {owners[name]}, which the image has not", name=name)

for name in [name for name in sys.modules if name.partition(".")[0] == "packaging"]:
    del sys.modules[name]
sys.meta_path.insert(0, Absent())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""


def load_yaml(path: Path) -> dict[str, Any]:
    """Return a compose file with its anchors resolved."""
    document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return document


COMPOSE = load_yaml(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def read_pins(path: Path) -> dict[str, str]:
    """Return {canonical name: version} of a requirements file, every line of which must be an exact pin."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    matches = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line) for line in lines]
    assert all(matches), f"{path.name} holds a line that is no exact pin"
    return {canonicalize_name(match[1]): match[2] for match in matches if match}


def read_steps(path: Path) -> list[str]:
    """Return the instructions of a Dockerfile, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", path.read_text("utf-8"))
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("path", sorted(DOCKER.glob("requirements-*.txt")), ids=lambda path: path.stem)
def test_pins_are_those_of_the_project(path: Path) -> None:
    """An image runs the versions that the tests run."""
    project = read_pins(ROOT / "requirements.txt")
    pins = read_pins(path)
    assert pins
    assert {name: project.get(name) for name in pins} == pins


@pytest.mark.parametrize("name", ["api", "worker"])
def test_pins_are_complete(name: str) -> None:
    """Whatever a pinned package needs is pinned too: the images install without looking for dependencies."""
    pins = read_pins(DOCKER / f"requirements-{name}.txt")
    needed = {
        canonicalize_name(requirement.name)
        for pin in pins
        for requirement in map(Requirement, distribution(pin).requires or [])
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }
    # On Linux torch's own build of the CUDA image names more; it is installed with them there.
    assert needed - set(pins) - {"triton"} <= {name for name in needed if name.startswith(("nvidia-", "cuda-"))}


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("api", ["service.cli", "service.serve", "service.app", "service.commands.serve", "psycopg", "psycopg_binary"]),
        (
            "worker",
            [
                "service.cli",
                "service.working.worker",
                "service.working.driver",
                "service.working.trial_process",
                "search.tune",
            ],
        ),
    ],
)
def test_an_image_holds_what_its_program_imports(name: str, modules: list[str]) -> None:
    """The server loads with its own share of the packages, and so does the worker with its own."""
    pins = read_pins(DOCKER / f"requirements-{name}.txt")
    command = [sys.executable, "-c", IMPORT_ONLY, ",".join([*pins, "bmtas"]), *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-1500:]


def test_the_installed_project_holds_every_package() -> None:
    """Images install the project, where a folder that pyproject.toml does not list is missing."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    rooms = ("models", "search", "db", "service")
    found = {path.parent.relative_to(ROOT) for room in rooms for path in (ROOT / room).rglob("*.py")}
    assert sorted(listed) == sorted(".".join(folder.parts) for folder in found)


def test_the_server_image_has_nothing_that_trains() -> None:
    """Neither torch nor Ray nor their large companions come with the web server."""
    heavy = {
        "torch",
        "ray",
        "numpy",
        "scipy",
        "scikit-image",
        "scikit-learn",
        "onnx",
        "onnxruntime",
        "fvcore",
        "pandas",
    }
    assert not heavy & set(read_pins(DOCKER / "requirements-api.txt"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_images_run_as_an_ordinary_user_and_say_whether_they_live(path: Path) -> None:
    """The last user is a number above the system's own, and there is a health check."""
    steps = read_steps(path)
    users = [step.split()[1] for step in steps if step.startswith("USER ")]
    assert users == ["10001:10001"]
    assert sum(step.startswith("HEALTHCHECK ") for step in steps) == 1
    assert not any(step.startswith("ADD ") or "sudo" in step or "curl" in step for step in steps)


def test_base_images_name_their_version() -> None:
    """No image is taken as it happens to be today: each names a version, and both stages build on the same one."""
    for path in DOCKERFILES:
        steps = read_steps(path)
        assert steps[0] == "ARG PYTHON_IMAGE=python:3.11-slim-bookworm"
        assert [step.split()[1] for step in steps if step.startswith("FROM ")] == ["${PYTHON_IMAGE}"] * 2
    foreign = {service["image"] for service in SERVICES.values() if "build" not in service}
    assert foreign == {"postgres:15-bookworm"}


def test_the_worker_images_differ_in_torchs_index_alone() -> None:
    """What is learnt of the CPU image in tests holds for the CUDA one."""
    cpu, cuda = (read_steps(DOCKER / f"worker-{name}.Dockerfile") for name in ("cpu", "cuda"))
    assert [step for step in cpu if step not in cuda] == [
        "ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"
    ]
    assert [step for step in cuda if step not in cpu] == []


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_hardened(name: str) -> None:
    """No capabilities, no way to more rights, nothing writable but volumes and tmpfs."""
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & set(service)
    assert service.get("user", "10001:10001") not in ("0", "root", "0:0")
    sources = [re.sub(r"\$\{[A-Z_]+:-([a-z-]+)\}", r"\1", volume).split(":")[0] for volume in service["volumes"]]
    assert all(source in COMPOSE["volumes"] for source in sources)
    assert all(volume.endswith(":ro") for volume in service["volumes"] if volume.startswith("$"))
    if name not in ONE_SHOTS:
        assert service["restart"] == "unless-stopped"
        assert service["pids_limit"] > 0


def test_workers_have_the_time_to_save_their_trials() -> None:
    """The engine waits longer than a worker takes to save what it runs, with what Ray's node needs after that."""
    assert (
        float(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) >= RunSettings(cache_dir="c").stop_seconds + 15
    )
    assert float(SERVICES["server"]["stop_grace_period"].removesuffix("s")) >= 15


def test_only_the_server_is_published_and_only_to_this_machine() -> None:
    """PostgreSQL and Ray stand in networks without a way out; one port is open, on 127.0.0.1."""
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"server": ["127.0.0.1:${BMTAS_PORT:-8642}:8642"]}
    networks = COMPOSE["networks"]
    assert {name for name, network in networks.items() if not network.get("internal")} == {"edge"}
    assert [name for name, service in SERVICES.items() if "edge" in service.get("networks", ())] == ["server"]
    assert set(SERVICES["worker"]["networks"]).isdisjoint(SERVICES["db"]["networks"])


def test_no_service_sees_more_secrets_than_its_own() -> None:
    """The worker sees neither the database's password nor the server's folder; PostgreSQL no token of Ray."""
    mounted = {
        name: {volume.split(":")[0] for volume in service["volumes"]} & {"db-secret", "ray-secret", "state"}
        for name, service in SERVICES.items()
    }
    assert mounted["worker"] == mounted["ray-head"] == {"ray-secret"}
    assert mounted["server"] == {"state", "db-secret"}
    assert mounted["db"] == {"db-secret"}


def test_no_secret_stands_in_a_file() -> None:
    """Passwords and tokens are named by the files that hold them, which are made at the first start."""
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"pass|token|secret|key", variable, re.IGNORECASE):
                assert str(value).startswith("/secrets/"), f"{name} is given {variable} itself"
    for path in (ROOT / "docker-compose.yml", *DOCKER.glob("*.*")):
        assert not re.search(r"nas_[A-Za-z0-9]|://[^/\s:@]+:[^/\s@]+@|PRIVATE KEY", path.read_text("utf-8")), path.name


def test_compose_files_suit_old_and_new_engines() -> None:
    """docker-compose 1.29 refuses a top-level name, and newer ones warn of a version."""
    for path in (ROOT / "docker-compose.yml", DOCKER / "compose.cuda.yml"):
        keys = {key for key in load_yaml(path) if not key.startswith("x-")}
        assert keys <= {"services", "networks", "volumes"}


def test_the_build_context_holds_the_sources_and_nothing_else() -> None:
    """Everything is kept out of it by name of what goes in: no repository, no runs, no tests, no secrets."""
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    let_in = {line[1:].split("/")[0] for line in lines if line.startswith("!")}
    assert let_in == {"LICENSE", "README.md", "pyproject.toml", "models", "search", "db", "service", "docker"}


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, Path]:
    """Return {name: path} of the secrets that a first start makes."""
    for folder in ("db", "ray"):
        (tmp_path / folder).mkdir()
    make_secrets(tmp_path)
    return {path.name: path for path in tmp_path.glob("*/*")}


def make_secrets(folder: Path) -> None:
    """Run the script, which must not print anything."""
    environment = {"PATH": "/usr/bin:/bin", "SECRETS_FOLDER": str(folder)}
    script = [DOCKER / "make-secrets.sh"]
    done = subprocess.run(script, env=environment, capture_output=True, check=True, timeout=20)
    assert done.stdout == done.stderr == b""


def test_secrets_are_long_and_their_owners_alone(secrets: dict[str, Path]) -> None:
    """256 random bits each; nobody but their owner, or for PostgreSQL its group, may read them."""
    assert {name: stat.S_IMODE(path.stat().st_mode) for name, path in secrets.items()} == {
        "password": 0o440,
        "pgpass": 0o600,
        "token": 0o600,
    }
    password, token = secrets["password"].read_text(), secrets["token"].read_text()
    assert password != token
    assert all(re.fullmatch("[0-9a-f]{64}", text) for text in (password, token))
    assert secrets["pgpass"].read_text() == f"db:5432:bmtas:bmtas:{password}\n"


def test_secrets_are_made_once(secrets: dict[str, Path]) -> None:
    """A later start changes nothing."""
    before = {name: path.read_bytes() for name, path in secrets.items()}
    make_secrets(secrets["password"].parents[1])
    assert {name: path.read_bytes() for name, path in secrets.items()} == before


@pytest.fixture
def node() -> Iterator[dict[str, str]]:
    """Return an environment in which `ray` and `bmtas` note how they are called and run until told to stop."""
    with tempfile.TemporaryDirectory(prefix="bm", dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as raylet:
        for name in ("ray", "bmtas"):
            script = Path(folder) / name
            script.write_text(
                "#!/bin/bash\n"
                f'echo "$*" > "$NOTES/{name}.started"\n'
                f"trap 'echo > \"$NOTES/{name}.stopped\"; exit 0' TERM\n"
                f'until [ -e "$NOTES/{name}.fall" ]; do sleep 0.05; done\n'
                "exit 3\n"
            )
            script.chmod(0o755)
        raylet.bind(f"{folder}/raylet")
        raylet.listen()
        path = f"{folder}:/usr/bin:/bin"
        yield {"PATH": path, "NOTES": folder, "RAY_SOCKETS": folder, "RAY_HEAD": "127.0.0.1:6379"}


def start_node(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Return a worker's node once both of its programs run."""
    process = subprocess.Popen([DOCKER / "ray-node.sh", "worker", "--server=http://s"], env=environment)
    notes = Path(environment["NOTES"])
    deadline = time.monotonic() + 20
    while not ((notes / "ray.started").exists() and (notes / "bmtas.started").exists()):
        assert time.monotonic() < deadline, "the node did not start"
        time.sleep(0.05)
    return process


def test_a_node_stops_when_it_is_asked_to(node: dict[str, str]) -> None:
    """SIGTERM reaches the worker, which may save its work; then the node of Ray is ended."""
    process = start_node(node)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    notes = Path(node["NOTES"])
    assert "--server=http://s" in (notes / "bmtas.started").read_text()
    assert "--ray-address 127.0.0.1:6379" in (notes / "bmtas.started").read_text()
    assert "--node-ip-address 127.0.0.1" in (notes / "ray.started").read_text()
    assert (notes / "bmtas.stopped").exists()
    assert (notes / "ray.stopped").exists()


@pytest.mark.parametrize(("fallen", "other"), [("ray", "bmtas"), ("bmtas", "ray")])
def test_a_node_falls_when_one_of_its_halves_falls(node: dict[str, str], fallen: str, other: str) -> None:
    """A worker without Ray, or Ray without its worker, is ended with a failure, so that the engine starts both anew."""
    process = start_node(node)
    (Path(node["NOTES"]) / f"{fallen}.fall").touch()
    assert process.wait(20) == 3
    assert (Path(node["NOTES"]) / f"{other}.stopped").exists()


def test_a_node_refuses_an_unknown_role() -> None:
    """The sentence names the roles."""
    done = subprocess.run([DOCKER / "ray-node.sh", "king"], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert "head, worker or health, got 'king'" in done.stderr


def test_a_node_lives_as_long_as_its_raylet_answers(node: dict[str, str]) -> None:
    """The health check finds a socket that listens, and fails where there is none."""
    check = [str(DOCKER / "ray-node.sh"), "health"]
    assert subprocess.run(check, env=node, check=False, timeout=20).returncode == 0
    gone = {**node, "RAY_SOCKETS": "/nowhere"}
    assert subprocess.run(check, env=gone, check=False, capture_output=True, timeout=20).returncode == 1
