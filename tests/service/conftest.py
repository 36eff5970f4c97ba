"""The command line under test: run in this process, with an engine that the test chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.cli import main
from service.settings import Settings
from service.shell import Engine, Shell


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: its exit code and both streams."""

    code: int
    out: str
    err: str

    def assert_refused(self, *words: str) -> None:
        """Check for one sentence on stderr that holds the words, nothing on stdout, exit code 2."""
        assert (self.code, self.out) == (2, "")
        assert self.err.startswith("bmtas: ")
        assert self.err.count("\n") == 1
        missing = [word for word in words if word not in self.err]
        assert not missing, self.err


Run = Callable[..., Outcome]


def refuse_to_load() -> Engine:
    """Fail: the command under test must answer without the method."""
    raise AssertionError("this command must not load the engine")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Return a function that runs one command in an empty working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def call(*arguments: str, load_engine: Callable[[], Engine] = refuse_to_load) -> Outcome:
        code = main(arguments, Shell(Settings(tmp_path / "cache"), load_engine))
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call
