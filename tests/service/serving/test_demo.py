"""`bmtas demo` as processes: a service of its own, a kill in mid-run, the same job to its end, the report."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from search.results import Results

CODE = """
import sys
from pathlib import Path
from service.commands.demo import DemoPlace, DemoPlan, run_demo
from service.settings import load_settings
from service.commands.shell import Shell, load_pipeline
plan = DemoPlan(tasks=("left", "right"), budgets=("60%",), preset="smoke")
place = DemoPlace(Path(sys.argv[1]), executor="local", once="--once" in sys.argv)
run_demo(place, Shell(load_settings(), load_pipeline), plan)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a short path for a demonstration."""
    made = Path(tempfile.mkdtemp(prefix="bm", dir="/tmp"))
    yield made / "demo"
    shutil.rmtree(made, ignore_errors=True)


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a small demonstration."""
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CI": "1"},
    )


def read_until(process: subprocess.Popen[str], word: str) -> None:
    """Read what a demonstration says until a word comes."""
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"the demonstration ended before it said {word!r}")


def find_server(folder: Path) -> int:
    """Return the process id of the demonstration's server."""
    return int((folder / "service" / "bmtas.db.lock").read_text())


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended."""
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the server outlived its demonstration"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_killed_demonstration_goes_on_with_the_same_job(folder: Path) -> None:
    """Killed, stopped and finished, it leaves one job, the table and a report that needs nothing else."""
    with start(folder) as first:
        read_until(first, "single-left: done")
        first.kill()
    wait_until_gone(find_server(folder))
    with start(folder) as second:
        read_until(second, "single-left: done")
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) == 1  # the sentence is main's to print
        assert "Go on with `bmtas demo" in second.communicate()[1]
    with start(folder, "--once") as third:
        out, err = third.communicate(timeout=300)
        assert third.returncode == 0, err
    assert "60pct-s0" in out
    assert err.count("single-left: done") == 1
    results = Results.from_json_bytes((folder / "results.json").read_bytes())
    assert [candidate.name for candidate in results.candidates] == ["60pct-s0"]
    report = (folder / "report.html").read_text()
    assert "<svg" in report
    assert "data:image/png" in report
    assert "http://" not in report.replace("http://www.w3.org", "")
    assert json.loads((folder / results.candidates[0].architecture).read_text())["format"] == "bmtas-architecture"
    assert not Path(f"/proc/{find_server(folder)}").exists()
    check_stays(folder)


def check_stays(folder: Path) -> None:
    """Check that without --once the service of a finished demonstration answers until it is stopped."""
    with start(folder) as stays:
        assert stays.stdout is not None
        address = next(line for line in stays.stdout if line.startswith("Study: ")).split()[1]
        token = (folder / "service" / "admin-token").read_text().strip()
        server = address.partition("/studies/")[0]
        answer = httpx.get(f"{server}/api/v1/searches", headers={"Authorization": f"Bearer {token}"})
        assert [job["study_key"] for job in answer.json()["items"]] == [address.rpartition("/")[2]]
        stays.send_signal(signal.SIGTERM)  # as Ctrl-C, which a shell in the background may have turned off
        assert stays.wait(60) == 0
        assert "has ended and keeps the search" in stays.stdout.read()
    assert list_processes(folder) == []


def list_processes(folder: Path) -> list[bytes]:
    """Return the command lines of all processes that name a folder: the demonstration, its server, worker, trials."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes())
    return [line for line in lines if str(folder).encode() in line]
