"""The command line as a whole: help at once, names and versions, one sentence and exit code 2 for what cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
import pytest

from search.presets import PRESETS
from search.spec import Objective
from service.cli import bmtas
from service.commands.cli_local import split_names

if TYPE_CHECKING:
    from tests.service.conftest import Run

LOCAL = ["backbones", "cost", "dataset", "datasets", "demo", "evaluate", "export", "predict", "retrain", "search"]
SERVED = ["cancel", "fetch", "front", "job", "jobs", "kill", "resume", "retry", "submit", "submit-retrain", "tokens"]
COMMANDS = sorted([*LOCAL, *SERVED, "serve", "weights", "work"])
SEARCH = ("search", "--dataset", "digits", "--backbone", "tiny4")


def test_help_lists_every_command(run: Run) -> None:
    """`bmtas --help` names the commands, each with a line of its own."""
    outcome = run("--help")
    assert outcome.code == 0
    assert sorted(bmtas.commands) == COMMANDS
    assert all(f"  {command} " in outcome.out for command in COMMANDS)
    assert "..." not in outcome.out.split("Commands:")[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Run, command: str) -> None:
    """`bmtas COMMAND --help` ends well and shows its options."""
    outcome = run(command, "--help")
    assert outcome.code == 0
    assert f"Usage: bmtas {command} [OPTIONS]" in outcome.out


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    """Help loads neither torch nor pydantic nor rich, so that it answers at once."""
    code = (
        "import sys; from service.cli import main; code = main([*sys.argv[1:], '--help'])\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'rich', 'jinja2', 'fvcore'} & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if heavy or code else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_process_is_prepared_before_torch() -> None:
    """The thread policy is in the environment once a command has run, whatever was there before."""
    code = (
        "import os; from service.cli import main; main(['datasets']); assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={}, stdout=subprocess.DEVNULL)


def test_version_is_that_of_the_package(run: Run) -> None:
    """`bmtas --version` prints name and version."""
    assert run("--version").out.startswith("bmtas 0.")


def test_lists_for_people_name_everything(run: Run) -> None:
    """The tables of datasets and backbones hold every name and task."""
    assert all(word in run("datasets").out for word in ("digits", "scenes", "left_group", "normals"))
    assert all(word in run("backbones").out for word in ("tiny4", "mobilenet_v2", "resnet101"))


def test_lists_for_programs_are_json(run: Run) -> None:
    """`--json` gives lists with the same names, tasks with their channels."""
    datasets = {entry["name"]: entry for entry in json.loads(run("datasets", "--json").out)}
    assert {task["name"]: task["channels"] for task in datasets["digits"]["tasks"]}["left"] == 10
    assert (datasets["scenes"]["embedded"], datasets["pascal_context"]["embedded"]) == (True, False)
    assert "mobilenet_v2" in [entry["name"] for entry in json.loads(run("backbones", "--json").out)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serach",), ["No such command 'serach'", "Did you mean 'search'"]),
        (("search", "--budget", "60%"), ["Missing option '--dataset'", "bmtas search --help"]),
        ((*SEARCH,), ["Missing option '--budget'"]),
        ((*SEARCH, "--budget", "60%", "--seed", "-1"), ["--seed", "-1"]),
        ((*SEARCH, "--budget", "60%", "--seed", "x"), ["--seed", "'x'"]),
        ((*SEARCH, "--budget", "60%", "--preset", "fast"), ["--preset", "'fast'", "smoke"]),
        ((*SEARCH, "--budget", "60%", "--objective", "best"), ["--objective", "'best'"]),
        ((*SEARCH, "--budget", "60%", "--device", "tpu"), ["--device", "'tpu'"]),
        ((*SEARCH, "--budget", "60%", "--nope"), ["--nope"]),
        (("search", "--dataset", "x", "--backbone", "tiny4", "--budget", "60%"), ["Unknown dataset 'x'", "digits"]),
        (
            ("search", "--dataset", "nyud", "--backbone", "tiny4", "--budget", "60%"),
            ["The files of 'nyud' are not here", "bmtas cost"],
        ),
        (("search", "--dataset", "digits", "--backbone", "x", "--budget", "60%"), ["Unknown backbone 'x'", "tiny4"]),
        ((*SEARCH, "--budget", "60%", "--tasks", "left,depth"), ["no task 'depth'", "right_group"]),
        ((*SEARCH, "--budget", "60%", "--tasks", "left"), ["at least two tasks", "got left"]),
        ((*SEARCH, "--budget", "60%", "--tasks", ""), ["at least two tasks", "got none"]),
        ((*SEARCH, "--budget", "60%", "--tasks", "left,right,left"), ["named once", "left"]),
        ((*SEARCH, "--budget", "60%", "--tasks", "left,,right"), ["no task ''"]),
        ((*SEARCH, "--budget", "sixty"), ["A budget is", "'sixty'"]),
        ((*SEARCH, "--budget", "0%"), ["A budget is", "'0%'"]),
        ((*SEARCH, "--budget", "-5M"), ["A budget is", "'-5M'"]),
        ((*SEARCH, "--budget", "60%", "--budget", "1e9"), ["A budget is", "'1e9'"]),
        (("cost", "--dataset", "digits", "--backbone", "tiny4", "--size", "24y24"), ["A size is", "'24y24'"]),
        (("retrain", "--architecture", "no.json", "--dataset", "digits"), ["no file or folder no.json"]),
        (("evaluate", "nowhere"), ["none at nowhere"]),
        (("export", "nowhere", "--format", "onnx", "--out", "x.onnx"), ["none at nowhere"]),
        (("export", "nowhere", "--format", "tflite", "--out", "x"), ["--format", "'tflite'"]),
    ],
)
def test_requests_that_cannot_be_get_one_sentence(run: Run, arguments: tuple[str, ...], words: list[str]) -> None:
    """Bad input is refused without torch, with what was seen and what to do, and leaves no file."""
    run(*arguments).assert_refused(*words)
    assert list(Path.cwd().iterdir()) == []


def test_no_command_shows_the_help(run: Run) -> None:
    """`bmtas` alone is no error worth a riddle: it shows what there is."""
    outcome = run()
    assert outcome.code == 2
    assert "Commands" in outcome.err + outcome.out


def test_choices_are_those_of_the_method() -> None:
    """The names that click checks, so that help needs no pydantic, are the ones the method knows."""
    choices = {option.name: option.type for option in bmtas.commands["search"].params}
    assert isinstance(choices["preset"], click.Choice)
    assert isinstance(choices["objective"], click.Choice)
    assert tuple(choices["preset"].choices) == PRESETS
    assert tuple(choices["objective"].choices) == get_args(Objective)


def test_a_closed_pipe_is_no_error() -> None:
    """A reader such as `head` that leaves early gets no traceback."""
    command = f"{sys.executable} -m service.cli datasets --json | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_names_are_split_and_trimmed() -> None:
    """A list of names is split at commas; an empty one is empty, an absent one absent."""
    assert split_names(" left, right ") == ("left", "right")
    assert split_names("") == ()
    assert split_names(None) is None
