"""`bmtas dataset fetch`: a dataset downloaded or brought as an archive, unpacked, looked at, and moved into place.

Nothing is in place before all of it is right; what has arrived stays until then, and the same command goes on with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import click

from search.data.catalogue import DATASETS, DatasetInfo
from search.data.files.manifest import MANIFEST_NAME, load_manifest
from search.data.files.paper_layouts import NYUD, PAPER_CONTENTS, PAPER_FOLDERS, PASCAL_CONTEXT, describe_paper_dataset
from search.errors import DatasetError, RunCancelledError, UnknownNameError
from search.ports import Message, Reporter, StageFinished, StageProgress, StageStarted
from service.commands.datasets.addresses import AddressRule
from service.commands.datasets.archives import find_root, unpacked
from service.commands.datasets.downloading import Download, UnreachableError, Wanted
from service.commands.interruption import stop_requests
from service.commands.shell import Shell
from service.commands.terminal import build_reporter, choose_style
from service.errors import ChecksumError

KNOWN_URLS = {
    PASCAL_CONTEXT: "https://data.vision.ee.ethz.ch/kmaninis/share/MTL/PASCAL_MT.tgz",
    NYUD: "https://data.vision.ee.ethz.ch/kmaninis/share/MTL/NYUD_MT.tgz",
}
"""Where the authors of ASTMT (Maninis et al., CVPR 2019) publish them, as their loaders say; without checksums.
NYUD-v2's layout B is published on a drive that needs a browser: it is brought by --from."""

_WORK_FOLDER = ".fetch"
_MIB = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class FetchRequest:
    """What to fetch.

    Attributes:
        name: Of one of the paper's datasets, or of the dataset.yaml in the archive.
        source: URL or path of the archive; None for the one that is known.
        to: Folder of datasets to put it in; None for this machine's.
        sha256: Of the archive, in hexadecimal; None where nobody has published it.
    """

    name: str
    source: str | None = None
    to: Path | None = None
    sha256: str | None = None


def run_fetch(request: FetchRequest, shell: Shell) -> None:
    """Fetch a dataset and say where it lies.

    Raises:
        SearchError, ServiceError: It cannot be had, or is not what its name says; nothing is in its place then.
        RunCancelledError: The person stopped it.
    """
    _check_request(request)
    folder = request.to or shell.settings.datasets_dir
    if folder is None:
        raise DatasetError("There is no folder of datasets. Name one by --to, or set BMTAS_DATASETS.")
    folder = folder.expanduser().absolute()
    target = folder / PAPER_FOLDERS.get(request.name, request.name)
    if target.exists():
        click.echo(f"Nothing to fetch. {_describe(request.name, target)}")
        return
    style = choose_style(as_json=False, is_terminal=sys.stderr.isatty(), plain=shell.settings.plain_progress)
    with (
        build_reporter(style, sys.stderr) as reporter,
        stop_requests(lambda sentence: reporter.emit(Message(sentence))) as cancelled,
        _alone(folder / _WORK_FOLDER, request.name) as work,
    ):
        digest = _Fetch(request, target, work, reporter, cancelled).run()
    click.echo(f"{_describe(request.name, target)} SHA-256 of the archive: {digest}.")
    if folder != shell.settings.datasets_dir:
        click.echo(f"Other commands find it there with BMTAS_DATASETS={folder}.", err=True)


@dataclass(frozen=True)
class _Fetch:
    """One dataset on its way."""

    request: FetchRequest
    target: Path
    work: Path
    reporter: Reporter
    cancelled: Callable[[], bool]
    _started: set[str] = field(default_factory=set)

    def run(self) -> str:
        """Put the dataset in its place and return the SHA-256 of its archive in hexadecimal."""
        source = self.request.source or KNOWN_URLS[self.request.name]
        if "://" not in source:
            path = Path(source).expanduser()
            digest = self._compare(path)
            self._unpack(path)
            return digest
        part = self.work / f"{self.request.name}-{hashlib.sha256(source.encode()).hexdigest()[:8]}.part"
        rule = AddressRule(named=self.request.source)
        stage = f"download {self.request.name} (MiB)"
        try:
            digest = Download(Wanted(source, self.request.sha256), part, rule, self._follow(stage)).run()
        except UnreachableError as error:
            raise UnreachableError(f"{error} {self._tell_what_to_bring(source)}") from error
        self.reporter.emit(StageFinished(stage))
        self._unpack(part)
        for path in (part, part.with_name(f"{part.name}.json")):
            path.unlink(missing_ok=True)
        return digest

    def _unpack(self, archive: Path) -> None:
        """Unpack an archive, look whether it is the dataset, and move it into its place in one step."""
        stage = f"unpack {self.request.name} (MiB)"
        follow = self._follow(stage)
        with unpacked(archive, self.work, progress=lambda num_bytes: follow(num_bytes, None)) as folder:
            named = folder / self.target.name
            root = named if named.is_dir() else find_root(folder)
            _look_at(self.request.name, root, archive)
            root.rename(self.target)
        self.reporter.emit(StageFinished(stage))

    def _compare(self, archive: Path) -> str:
        """Return the SHA-256 of an archive that was brought, or refuse another one than was promised."""
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if self.request.sha256 is not None and digest != self.request.sha256.lower():
            raise ChecksumError(
                f"{archive} was to have the SHA-256 {self.request.sha256[:12]}..., but has {digest[:12]}... "
                f"Bring it again."
            )
        return digest

    def _follow(self, stage: str) -> Callable[[int, int | None], None]:
        """Return what to call with the bytes that are done and all of them; it stops where asked to."""

        def follow(done: int, total: int | None) -> None:
            """Report bytes as MiB."""
            if self.cancelled():
                raise RunCancelledError("Stopped; the same command goes on with what has arrived.")
            step, steps = done // _MIB, max(done, total or done) // _MIB + 1
            if stage not in self._started:
                self._started.add(stage)
                self.reporter.emit(StageStarted(stage, step, steps))
            self.reporter.emit(StageProgress(stage, step, steps))

        return follow

    def _tell_what_to_bring(self, source: str) -> str:
        """Return what a person without a network can do."""
        archive = source.rsplit("/", 1)[-1] or "the archive"
        contents = PAPER_CONTENTS.get(self.request.name)
        unpacking = "" if contents is None else f", or unpack it so that {self.target} holds {contents}"
        command = f"bmtas dataset fetch {self.request.name} --from PATH"
        return f"Without a network, bring {archive} from elsewhere and say `{command}`{unpacking}."


def _check_request(request: FetchRequest) -> None:
    """Raise where a request cannot be right, whatever the network says."""
    if request.name in DATASETS and DATASETS[request.name].embedded:
        raise DatasetError(f"Dataset '{request.name}' is built in, so there is nothing to fetch.")
    if not _NAME.fullmatch(request.name):
        raise UnknownNameError(f"A dataset's name holds letters, digits, - and _, got {request.name[:60]!r}.")
    if request.name not in KNOWN_URLS and request.source is None:
        known = " and ".join(KNOWN_URLS)
        raise UnknownNameError(
            f"Where to fetch {known} is known, but not '{request.name}'. Name the URL or path of its archive by --from."
        )
    if request.sha256 is not None and not _SHA256.fullmatch(request.sha256):
        raise ChecksumError(f"A SHA-256 has 64 hexadecimal digits, got {request.sha256[:70]!r}.")


def _look_at(name: str, root: Path, archive: Path) -> DatasetInfo:
    """Return the facts of an unpacked dataset, or refuse what is none or another one."""
    try:
        if name in PAPER_FOLDERS:
            return describe_paper_dataset(name, root)
        info = load_manifest(root / MANIFEST_NAME).info
    except DatasetError as error:
        # Where it was unpacked is no place that a person knows.
        reason = str(error).replace(f"{root}/", "").replace(str(root), "the archive")
        raise DatasetError(f"{archive} does not hold dataset '{name}': {reason}") from error
    if info.name != name:
        raise DatasetError(f"{archive} holds dataset '{info.name}' rather than '{name}'. Fetch it under that name.")
    return info


def _describe(name: str, target: Path) -> str:
    """Return what lies in the place of a dataset."""
    info = _look_at(name, target, target)
    return f"Dataset '{name}' lies in {target}: {info.num_train} training and {info.num_val} validation samples."


@contextmanager
def _alone(work: Path, name: str) -> Iterator[Path]:
    """Yield the folder that a dataset is fetched in, for this process alone; it goes when nothing is left in it."""
    work.mkdir(parents=True, exist_ok=True)
    lock_path = work / f"{name}.lock"
    with lock_path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"Another process is fetching '{name}' into {work.parent}. Wait for it.") from None
        try:
            yield work
        finally:
            lock_path.unlink(missing_ok=True)
            with suppress(OSError):
                work.rmdir()
