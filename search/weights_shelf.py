"""The weight files that this machine can start networks from, by name and SHA-256; `search.weights` reads them.

A job names a file and its hash, so that the same words on other weights are another job. No torch: the web process asks
here too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from search.errors import WeightsError
from search.spec import WeightsSpec

NO_WEIGHTS, PUBLISHED = "none", "imagenet"
SUFFIXES = (".pth", ".pt", ".safetensors")
PUBLISHED_WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "mobilenet_v2": ("mobilenet_v2-b0353104.pth", "mobilenet_v2-7ebf99e0.pth"),
    "resnet18": ("resnet18-f37072fd.pth", "resnet18-5c106cde.pth"),
    "resnet34": ("resnet34-b627a593.pth", "resnet34-333f7ec4.pth"),
    "resnet50": ("resnet50-0676ba61.pth", "resnet50-11ad3fa6.pth", "resnet50-19c8e357.pth"),
    "resnet101": ("resnet101-63fe2227.pth", "resnet101-cd907fc2.pth", "resnet101-5d3b4d8f.pth"),
}
"""torchvision's files by backbone: the weights that papers start from, then its newer recipe and its older files."""
MAX_BYTES = 8 * 2**30
PUBLISHER = "https://download.pytorch.org/models"
"""Where torchvision's own functions fetch their files; a file NAME-12345678.pth has a SHA-256 that begins so."""


@dataclass(frozen=True)
class WeightsFile:
    """One file of the shelf.

    Attributes:
        name: What jobs call it.
        num_bytes: Its size.
        backbone: The backbone whose ImageNet weights torchvision published under this name; None for other files.
    """

    name: str
    num_bytes: int
    backbone: str | None


@dataclass(frozen=True)
class WeightsShelf:
    """The weight files that a process can find.

    Attributes:
        folder: The weights folder; it need not exist. None where there is none.
        files: Files that lie elsewhere and were named one by one.
        published: Names of torchvision's files by backbone, the preferred one first.
    """

    folder: Path | None = None
    files: Sequence[Path] = ()
    published: Mapping[str, Sequence[str]] = field(default_factory=lambda: PUBLISHED_WEIGHTS)

    def list(self) -> tuple[WeightsFile, ...]:
        """Return the files of the folder and those named, by name."""
        names = {path.name: path for path in (*_list_folder(self.folder), *self.files)}
        backbones = {name: backbone for backbone, known in self.published.items() for name in known}
        return tuple(
            WeightsFile(name, names[name].stat().st_size, backbones.get(name)) for name in sorted(names, key=str.lower)
        )

    def choose(self, words: str, backbone: str) -> WeightsSpec | None:
        """Return the file that "imagenet" or a name stands for, with its hash; None for "none".

        Args:
            words: What the person said.
            backbone: Name of the backbone that is to start from it.

        Raises:
            WeightsError: There is no such file here, or it is not what its name says.
        """
        if words == NO_WEIGHTS:
            return None
        name = self._find_published(backbone) if words == PUBLISHED else words
        return WeightsSpec(file=name, sha256=self._hash(self.path(name)))

    def path(self, name: str) -> Path:
        """Return where the file of that name lies.

        Raises:
            WeightsError: There is none.
        """
        paths = {path.name: path for path in (*_list_folder(self.folder), *self.files)}
        if name not in paths:
            held = ", ".join(sorted(paths)) or "none"
            raise WeightsError(
                f"A weight file is named as it stands in the weights folder {self.folder}, and there is no "
                f"{name[:80]!r} (there: {held}). Put it there, or take 'imagenet' or 'none'."
            )
        return paths[name]

    def locate(self, weights: WeightsSpec) -> Path:
        """Return where the file of a job lies.

        Raises:
            WeightsError: It is not here, or another file lies under its name.
        """
        path = self.path(weights.file)
        found = self._hash(path)
        if found != weights.sha256:
            raise WeightsError(
                f"The job starts from the {weights.file} whose SHA-256 begins {weights.sha256[:12]}, but {path} has "
                f"{found[:12]}. Put the file back that the job was started with, or start a new job."
            )
        return path

    def _find_published(self, backbone: str) -> str:
        """Return the name of torchvision's file of a backbone that is here."""
        names = self.published.get(backbone, ())
        if not names:
            known = ", ".join(sorted(self.published))
            raise WeightsError(
                f"ImageNet weights are published for {known}, not for '{backbone}'. Name a file of your own, or take "
                f"none."
            )
        held = {file.name for file in self.list()}
        found = next((name for name in names if name in held), None)
        if found is None:
            others = "".join(f" (or {name})" for name in names[1:])
            raise WeightsError(
                f"The ImageNet weights of '{backbone}' are torchvision's file {names[0]}{others}, and the weights "
                f"folder {self.folder} does not hold it. Fetch {PUBLISHER}/{names[0]} where there is a network and put "
                f"it there, or take none."
            )
        return found

    def _hash(self, path: Path) -> str:
        """Return the SHA-256 of a file that may be used; refuse a broken download of a published one."""
        digest = hash_file(path)
        published = {name for names in self.published.values() for name in names}
        wanted = path.stem.rpartition("-")[2]
        if path.name in published and not digest.startswith(wanted):
            raise WeightsError(
                f"{path} is named like torchvision's file, whose SHA-256 begins {wanted}, but it has {digest[:8]}. "
                f"Fetch it again from {PUBLISHER}/{path.name}, or give a file of your own another name."
            )
        return digest


EMPTY_SHELF = WeightsShelf()


def list_weights(folder: Path | None) -> tuple[WeightsFile, ...]:
    """Return the files of a weights folder by name; nothing where the folder is missing."""
    return WeightsShelf(folder).list()


def shelf_with(words: str, folder: Path | None) -> tuple[WeightsShelf, str]:
    """Return a shelf of the folder and of the file that a person's words name, and the words as the shelf knows them.

    Args:
        words: "none", "imagenet", the name of a file in the folder, or a path.
        folder: The weights folder.

    Raises:
        WeightsError: The path leads to no weight file.
    """
    shelf = WeightsShelf(folder)
    if words in (NO_WEIGHTS, PUBLISHED) or any(words == file.name for file in shelf.list()):
        return shelf, words
    path = Path(words)
    if not path.exists():
        raise WeightsError(
            f"--weights takes 'imagenet', 'none', a file, or the name of one in {folder}, and there is no {words!r}. "
            f"`bmtas weights` lists what there is."
        )
    if not path.is_file():
        raise WeightsError(f"--weights takes a file, but {words!r} is none. Name a {', '.join(SUFFIXES)} file.")
    return WeightsShelf(folder, (path,)), path.name


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a weight file in hexadecimal, computed once as long as the file stays as it is.

    Raises:
        WeightsError: It is no weight file by its name or size.
    """
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"A weight file ends in {', '.join(SUFFIXES)}, and {path.name} does not. Name another file.")
    facts = path.stat()
    if not 0 < facts.st_size <= MAX_BYTES:
        size = "is empty" if facts.st_size == 0 else f"has {facts.st_size} bytes, more than {MAX_BYTES}"
        raise WeightsError(f"A weight file holds the parameters of a network, but {path} {size}. Name another file.")
    return _hash(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@lru_cache(maxsize=64)
def _hash(path: Path, num_bytes: int, changed_ns: int, number: int) -> str:
    """Return the SHA-256 of a file; the other arguments tell its versions apart."""
    del num_bytes, changed_ns, number
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _list_folder(folder: Path | None) -> tuple[Path, ...]:
    """Return the weight files of a folder; what is hidden, no plain file or leads out of the folder is not listed."""
    if folder is None or not folder.is_dir():
        return ()
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file() and not path.is_symlink()
    )
