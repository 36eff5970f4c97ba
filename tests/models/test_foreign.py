"""Backbones of other packages: listed without importing, refused by name, code only where a person named it."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import foreign
from models.errors import ForeignBackboneError, ModelsError, UnknownBackboneError
from models.foreign import (
    admit_code,
    check_backbone_name,
    find_foreign,
    find_package,
    get_family,
    get_foreign,
    list_foreign,
    load_foreign,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import WildPackage


def point(name: str, target: str = "package:build") -> EntryPoint:
    """Return an entry point of the group."""
    return EntryPoint(name, target, foreign.GROUP)


def test_backbones_of_a_package_are_listed_without_importing_it(wild: WildPackage) -> None:
    """Name, target and version come from metadata; a package that cannot be imported is listed like any other."""
    wild.add("bomb", "bomb_module:build")
    wild.write("bomb_module", "raise SystemExit(3)")
    listed = {backbone.name: backbone for backbone in list_foreign()}
    assert listed["bomb"].target == "bomb_module:build"
    assert listed["resnext"].package == "wild-networks 1.2"
    assert listed["resnext"].problem is None
    assert "bomb_module" not in sys.modules


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([point("tiny4")], "has the name of a built-in one. Rename"),
        ([point("../x")], "named by letters, digits"),
        ([point("a" * 200)], "named by letters, digits"),
        ([point("mine"), point("mine", "other:build")], "Uninstall all but one"),
        ([point("mine", "package")], "must name module:callable"),
        ([point("mine", "pack age:build")], "must name module:callable"),
    ],
)
def test_names_that_cannot_be_used_say_why(points: list[EntryPoint], words: str) -> None:
    """The sentence stands in the list, so that a person sees it before asking for the backbone."""
    (listed,) = list_foreign(points)
    assert listed.problem is not None
    assert words in listed.problem


@given(name=st.text(max_size=50), target=st.text(max_size=50))
def test_any_metadata_can_be_listed(name: str, target: str) -> None:
    """Whatever stands in a package's metadata, listing ends in a value."""
    (listed,) = list_foreign([point(name, target)])
    assert (listed.name, listed.target) == (name, target)


@pytest.mark.parametrize("content", [b"[bmtas.backbones]\nno equals sign\n", b"\xff\xfe\x00", b"[[[", b""])
def test_package_with_broken_metadata_hides_no_other(wild: WildPackage, content: bytes) -> None:
    """It is left out, and all others are listed."""
    metadata = wild.folder / "broken-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (metadata / "entry_points.txt").write_bytes(content)
    assert "resnext" in {backbone.name for backbone in list_foreign()}


def test_clash_is_refused_when_asked_for(wild: WildPackage) -> None:
    """A name that nothing else has is refused with the reason of the list."""
    wild.add("flat", "wild_networks")
    with pytest.raises(ForeignBackboneError, match="must name module:callable"):
        get_foreign("flat")


def test_unknown_name_lists_what_there_is(wild: WildPackage) -> None:
    """Built-in and brought backbones are offered."""
    with pytest.raises(UnknownBackboneError, match=r"tiny4.*resnext.*install the package"):
        get_foreign("resnet152")


def test_families() -> None:
    """Built-in backbones have their own; of the others a document says enough, installed or not."""
    assert get_family("resnet18") == "resnet"
    assert get_family("resnet152") == "custom"


def test_names_are_checked_where_a_person_gives_them(wild: WildPackage) -> None:
    """Built-in and brought ones pass, others are refused."""
    for name in ("tiny4", "resnext"):
        check_backbone_name(name)
    with pytest.raises(UnknownBackboneError):
        check_backbone_name("resnet152")


def test_brought_backbones_are_of_the_custom_family(wild: WildPackage) -> None:
    """They know their package."""
    assert get_family("convnext") == "custom"
    assert find_package("convnext") == "wild-networks 1.2"
    assert find_package("tiny4") is None


def test_code_runs_only_where_a_person_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document may name any module; nothing is imported before `admit_code` has seen the name."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(foreign, "_ADMITTED", set())
    (tmp_path / "my_nets.py").write_text("def build():\n    return 1\n")
    with pytest.raises(UnknownBackboneError, match="runs only where a person names it"):
        get_foreign("my_nets:build")
    admit_code("my_nets:build", tmp_path)
    found = get_foreign("my_nets:build")
    assert (found.package, find_package("my_nets:build")) == (None, None)
    built = load_foreign(found)
    assert callable(built)
    assert built() == 1
    assert find_foreign("my_nets:other") is None


@pytest.mark.parametrize("name", ["a:", ":b", "a b:c", "a:b:c", "/etc/x:y", "a.:b", "../a:b", "a:b()"])
def test_code_is_named_as_module_and_callable(name: str) -> None:
    """Anything else is refused before an import is tried."""
    with pytest.raises(UnknownBackboneError, match="module:callable"):
        admit_code(name)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("x = 1", "has no attribute 'build'"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_package_that_cannot_be_imported_is_one_sentence(wild: WildPackage, source: str, words: str) -> None:
    """It says what happened and whose package it is."""
    module = f"odd_{abs(hash(source))}"
    wild.write(module, source)
    wild.add("odd", f"{module}:build")
    with pytest.raises(ForeignBackboneError, match=words) as caught:
        load_foreign(get_foreign("odd"))
    assert "wild-networks 1.2" in str(caught.value)
    assert isinstance(caught.value, ModelsError)
