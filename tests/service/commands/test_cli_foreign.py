"""A person's own network on the command line: listed, counted, searched, trained, exported, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models import foreign
from search.architecture import Architecture
from service.cli import main

if TYPE_CHECKING:
    from tests.conftest import WildPackage


def say(*words: str) -> int:
    """Return the exit code of a command."""
    return main(words)


def test_list_names_them_without_importing(wild: WildPackage, capsys: pytest.CaptureFixture[str]) -> None:
    """People read where a backbone comes from or why it is of no use; programs get the same."""
    wild.write("bomb", "raise SystemExit(9)")
    wild.add("bomb", "bomb:build")
    wild.add("tiny8", "wild_networks:small")
    assert say("backbones") == 0
    printed = capsys.readouterr().out
    assert "wild_networks:ResNext of wild-networks 1.2" in printed
    assert "Rename its entry point" in " ".join(printed.split())
    assert say("backbones", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["bomb"] == {
        "name": "bomb",
        "target": "bomb:build",
        "package": "wild-networks 1.2",
        "problem": None,
        "family": "custom",
    }


def test_search_from_end_to_end(
    wild: WildPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installed network is searched under a budget, retrained, exported; without its package a sentence helps."""
    out = tmp_path / "run"
    words = ("--dataset", "digits", "--backbone", "small", "--tasks", "left,right", "--budget", "80%")
    assert say("search", *words, "--preset", "smoke", "--out", str(out)) == 0
    tree = Architecture.from_json_bytes((out / "candidates" / "80pct" / "architecture.json").read_bytes())
    assert (tree.backbone, tree.backbone_package) == ("small", "wild-networks 1.2")
    assert say("export", str(out), "--format", "pt2", "--out", str(tmp_path / "tree.pt2")) == 0
    assert say("evaluate", str(out)) == 0
    monkeypatch.undo()
    capsys.readouterr()
    for command in (("evaluate", str(out)), ("export", str(out), "--format", "pt2", "--out", str(tmp_path / "b.pt2"))):
        assert say(*command) == 2
        assert "pip install wild-networks==1.2" in capsys.readouterr().err


def test_code_is_named_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wild: WildPackage
) -> None:
    """module:callable needs no package; a file in the working folder will do."""
    monkeypatch.setattr(foreign, "_ADMITTED", set())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_own_net.py").write_text("from wild_networks import small as build\n")
    assert say("cost", "--dataset", "digits", "--backbone", "my_own_net:build", "--json") == 0
    costs = json.loads(capsys.readouterr().out)
    assert costs["layer_names"] == ["3", "4", "5", "6", "aspp"]


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ("nobody", "Unknown backbone 'nobody'"),
        ("nobody:build", "No module named 'nobody'"),
        ("a:", "named as module:callable"),
        ("resnext", "takes images of 3 channels, got 1"),
        ("unet", "Bring the encoder without its decoder"),
        ("math:pi", "a callable without arguments"),
        ("os:getcwd", "must return an nn.Module or a list of them, got str"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    wild: WildPackage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], backbone: str, words: str
) -> None:
    """No traceback, exit code 2."""
    monkeypatch.setattr(foreign, "_ADMITTED", set())
    assert say("cost", "--dataset", "digits", "--backbone", backbone) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
