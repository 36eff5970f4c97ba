"""What test_tune.py runs in a process of its own, which Ray fills with threads and files: one JSON object per scenario.

Called as: tune_scenarios.py ADDRESS FOLDER. What Ray runs imports inside, since it travels without this file.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search import tune
from search.errors import UnschedulableError

SECRET = "bmta_planted-secret"
RunOne = Callable[[str, threading.Event], None]


class Diary:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.begun: set[str] = set()
        self.fallen: set[str] = set()

    def began(self, key: str) -> None:
        """Note that an attempt runs."""
        self.begun.add(key)

    def fell(self, key: str, message: str) -> None:
        """Note that an attempt fell."""
        self.fallen.add(key)


def write_into(folder: Path) -> RunOne:
    """Return what notes its process and what it sees of GPUs; the second word of an order may end it badly."""
    target = str(folder)

    def write(order: str, stop: threading.Event) -> None:
        import os
        from pathlib import Path

        name, _, word = order.partition(" ")
        (Path(target) / name).write_text(f"{os.getpid()} [{os.environ.get('CUDA_VISIBLE_DEVICES')}]")
        if word == "fall":
            os._exit(1)
        if word == "raise":
            raise ValueError("a fault of ours")

    return write


def wait_in(folder: Path) -> RunOne:
    """Return what waits for the request to stop and notes whether it came."""
    target = str(folder)

    def wait(order: str, stop: threading.Event) -> None:
        from pathlib import Path

        (Path(target) / f"began-{order}").touch()
        (Path(target) / f"told-{order}").write_text(str(stop.wait(30)))

    return wait


def describe(address: str, folder: Path, cpus: float = 1.0, gpus: float = 0.0) -> tune.TuneRun:
    """Return a run with a name of its own."""
    name = f"run-{os.urandom(4).hex()}"
    return tune.TuneRun(name, address, str(folder / "tune"), cpus, gpus, {"CUDA_VISIBLE_DEVICES": ""})


def run(orders: dict[str, str], run_one: RunOne, how: tune.TuneRun) -> dict[str, Any]:
    """Run attempts and return what was told of them, or the sentence of a refusal."""
    diary = Diary()
    try:
        tune.run_trials(orders, run_one, diary, how)
    except UnschedulableError as error:
        return {"refused": str(error)}
    return {"begun": sorted(diary.begun), "fallen": sorted(diary.fallen)}


def stop_soon(how: tune.TuneRun, folder: Path) -> dict[str, Any]:
    """Ask a run to stop once its first attempt has begun, and return how long it took to end."""
    asked_at: list[float] = []

    def ask() -> None:
        while not list(folder.glob("began-*")):
            time.sleep(0.05)
        asked_at.append(time.monotonic())
        tune.ask_to_stop(how)

    thread = threading.Thread(target=ask)
    thread.start()
    told = run({"x": "x", "y": "y"}, wait_in(folder), how)
    thread.join()
    return told | {
        "seconds": time.monotonic() - asked_at[0],
        "told": [path.read_text() for path in folder.glob("told-*")],
    }


def main(address: str, folder: Path) -> None:
    """Run all scenarios."""
    write = write_into(folder)
    tune.join(describe(address, folder))
    report: dict[str, Any] = {
        "all": run({key: f"{key} {SECRET}" for key in "abcd"}, write, describe(address, folder)),
        "some fall": run(
            {"good": "good", "fallen": "fallen fall", "raised": "raised raise", "late": "late"},
            write,
            describe(address, folder),
        ),
        "too many gpus": run({"a": "a"}, write, describe(address, folder, gpus=4.0)),
        "too many cpus": run({"a": "a"}, write, describe(address, folder, cpus=1000.0)),
        "stopped": stop_soon(describe(address, folder, cpus=2.0), folder),
    }
    report["notes"] = {key: (folder / key).read_text() for key in "abcd"}
    report["files"] = [str(path) for path in (folder / "tune").rglob("*") if path.is_file()]
    tune.leave()
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
