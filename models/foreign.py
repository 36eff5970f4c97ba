"""Backbones that other packages bring, found by name without importing them. No torch.

A package names them in its entry points of the group "bmtas.backbones"; a person may also write module:callable on the
command line. Only `load_foreign` runs their code. Neighbours: `models.catalogue` has the built-in ones, `models.chain`
cuts what is loaded here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

from models.catalogue import BACKBONES, Family
from models.errors import ForeignBackboneError, UnknownBackboneError

GROUP = "bmtas.backbones"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_ADMITTED: set[str] = set()


@dataclass(frozen=True)
class ForeignBackbone:
    """Where a backbone comes from that is not built in.

    Attributes:
        name: What it is called here.
        target: "module:callable", the code that gives the network.
        package: Name and version of the package that brings it; None for one named as module:callable.
        problem: Why it cannot be used, as a sentence; None where nothing is known against it.
    """

    name: str
    target: str
    package: str | None
    problem: str | None = None


def list_foreign(found: Iterable[EntryPoint] | None = None) -> tuple[ForeignBackbone, ...]:
    """Return the backbones that installed packages bring, by name; nothing is imported.

    Args:
        found: Their entry points; None for those of this environment.
    """
    points = list(_read_points() if found is None else found)
    listed: dict[str, ForeignBackbone] = {}
    for point in points:
        twins = [other for other in points if other.name == point.name]
        listed[point.name] = ForeignBackbone(
            point.name, point.value, _describe_package(point), _find_problem(point, twins)
        )
    return tuple(listed[name] for name in sorted(listed))


def find_foreign(name: str) -> ForeignBackbone | None:
    """Return the backbone of that name that is not built in; None where no package and no admitted code has it."""
    if name in _ADMITTED:
        return ForeignBackbone(name, name, None)
    return next((foreign for foreign in list_foreign() if foreign.name == name), None)


def find_package(name: str) -> str | None:
    """Return name and version of the package that brings a backbone; None for one that is built in or code."""
    foreign = None if name in BACKBONES else find_foreign(name)
    return None if foreign is None else foreign.package


def is_code_name(name: str) -> bool:
    """Return whether a name says module:callable, which stands for code and not for an entry in a table."""
    return ":" in name


def admit_code(name: str, folder: Path | None = None) -> None:
    """Let this process run the code that a person named as a backbone; documents that name code stay refused.

    Args:
        name: "module:callable".
        folder: Where the module may lie, beside what is installed.

    Raises:
        UnknownBackboneError: It is not of this form.
    """
    if not _TARGET.fullmatch(name):
        raise UnknownBackboneError(
            f"Code that gives a backbone is named as module:callable, such as my_networks:vgg16, got {name[:100]!r}."
        )
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    _ADMITTED.add(name)


def list_admitted() -> tuple[str, ...]:
    """Return the names of the code that may run here, for a process that is to continue this one's work."""
    return tuple(sorted(_ADMITTED))


def get_family(name: str) -> Family:
    """Return the family of a backbone, which decides its recipes: "custom" for all that is not built in.

    A document may name one that is not installed here; `check_backbone_name` says so.
    """
    return BACKBONES[name].family if name in BACKBONES else "custom"


def check_backbone_name(name: str) -> None:
    """Refuse a name that no backbone here has.

    Raises:
        UnknownBackboneError: No such backbone.
        ForeignBackboneError: It is there and cannot be used.
    """
    if name not in BACKBONES:
        get_foreign(name)


def get_foreign(name: str) -> ForeignBackbone:
    """Return the backbone of that name that is not built in.

    Raises:
        UnknownBackboneError: No such backbone.
        ForeignBackboneError: It is there and cannot be used.
    """
    foreign = find_foreign(name)
    if foreign is None:
        raise UnknownBackboneError(_explain_unknown(name))
    if foreign.problem is not None:
        raise ForeignBackboneError(foreign.problem)
    return foreign


def load_foreign(foreign: ForeignBackbone) -> object:
    """Return what the entry point of a backbone stands for; this imports the package.

    Raises:
        ForeignBackboneError: It cannot be imported, or has no such callable.
    """
    point = EntryPoint(foreign.name, foreign.target, GROUP)
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise ForeignBackboneError(
            f"Backbone '{foreign.name}' could not be imported from {foreign.target} ({describe_error(error)}). "
            f"{f'Mend or reinstall {foreign.package}' if foreign.package else 'Check the name of module and callable'}."
        ) from error


def describe_error(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    line = (str(error).strip().splitlines() or [""])[0][:200].rstrip(". ")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _read_points() -> Iterator[EntryPoint]:
    """Yield the entry points of the installed packages; one whose metadata are broken hides no other."""
    seen: set[str] = set()
    for package in distributions():
        try:
            name = re.sub(r"[-_.]+", "-", package.name).lower()
            points = list(package.entry_points.select(group=GROUP))
        except Exception:  # files that are cut, or were never text
            continue
        if name not in seen:  # the first on the path is the one that Python imports
            seen.add(name)
            yield from points


def _find_problem(point: EntryPoint, twins: list[EntryPoint]) -> str | None:
    """Return why an entry point cannot be used as it stands in the metadata; None where it can."""
    package = _describe_package(point)
    if not _NAME.fullmatch(point.name):
        return (
            f"A backbone is named by letters, digits, '.', '_' and '-', got {point.name[:100]!r} from {package}. "
            "Rename its entry point."
        )
    if point.name in BACKBONES:
        return f"Backbone '{point.name}' of {package} has the name of a built-in one. Rename its entry point."
    if len(twins) > 1:
        names = " and ".join(sorted({_describe_package(twin) for twin in twins}))
        return f"Backbone '{point.name}' is brought by {names}, so its name says too little. Uninstall all but one."
    if not _TARGET.fullmatch(point.value):
        return f"Backbone '{point.name}' of {package} must name module:callable, got {point.value[:100]!r}. Mend it."
    return None


def _describe_package(point: EntryPoint) -> str:
    """Return name and version of the package that an entry point belongs to."""
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _explain_unknown(name: str) -> str:
    """Return the sentence for a name that nothing here has."""
    if is_code_name(name):
        return (
            f"Backbone '{name[:100]}' is code in a module, which runs only where a person names it. "
            f"Give --backbone {name[:100]} on the command line."
        )
    known = ", ".join([*BACKBONES, *(foreign.name for foreign in list_foreign() if foreign.problem is None)])
    return (
        f"Unknown backbone '{name[:100]}'. Choose one of: {known}; or install the package that brings it "
        f"(entry points of the group {GROUP})."
    )
