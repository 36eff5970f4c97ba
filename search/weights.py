"""From a weight file to networks that start from it: read without running what it holds, cut, loaded, accounted for.

`search.weights_shelf` finds the file and its hash; `models.pretrained` knows which parameter belongs where.
"""

from __future__ import annotations

import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.errors import PretrainedWeightsError
from models.pretrained import PretrainedParts, split_pretrained, start_from
from models.supergraph import Supergraph
from search.errors import WeightsError
from search.ports import Message, Reporter
from search.results import WeightsNote
from search.spec import WeightsSpec
from search.weights_shelf import WeightsShelf

_ZIP = b"PK\x03\x04"
_MAX_ENTRIES = 20_000  # tensors of a file; resnet101 has 626


@dataclass(frozen=True)
class StartWeights:
    """The weights that the encoders of a run start from.

    Attributes:
        spec: Name and hash of the file.
        parts: Its content, by the parts of the backbone.
    """

    spec: WeightsSpec
    parts: PretrainedParts


def open_weights(weights: WeightsSpec | None, backbone: str, shelf: WeightsShelf) -> StartWeights | None:
    """Return the weights that a job starts from, checked against its backbone; None where it starts at random.

    Raises:
        WeightsError: The file is not on the shelf, is another one than the job names, is broken or does not fit.
    """
    if weights is None:
        return None
    path = shelf.locate(weights)
    state_dict = read_state_dict(path)
    try:
        parts = split_pretrained(get_backbone(backbone), state_dict)
    except PretrainedWeightsError as error:
        raise WeightsError(f"{path.name} cannot be used: {error}") from None
    return StartWeights(weights, parts)


def begin_from(
    network: Supergraph | BranchedNetwork, weights: StartWeights | None, reporter: Reporter
) -> WeightsNote | None:
    """Give a fresh network its start weights, in place, say so, and return a note of it; None without any."""
    if weights is None:
        return None
    account = start_from(network, weights.parts)
    reporter.emit(
        Message(
            f"{account.loaded:,} parameters start from {weights.spec.file} and {account.new:,} from the seed (what it "
            f"has no counterpart for, such as heads); {weights.parts.num_dropped:,} of its own are not used."
        )
    )
    return WeightsNote(file=weights.spec, loaded=account.loaded, new=account.new, unused=weights.parts.num_dropped)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors that a weight file holds by their names, on the CPU; nothing in it is ever run.

    Args:
        path: A .pth or .pt file that holds a state dict, or a .safetensors file.

    Raises:
        WeightsError: It is cut, corrupt, hostile, or holds something else than a state dict.
    """
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(found, dict) or not found:
        raise _refusal(path, f"it holds {'nothing' if not found else f'a {type(found).__name__}'}")
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise _refusal(path, f"the entry {str(key)[:60]!r} is a {type(value).__name__}, not a tensor")
    return dict(found)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise _refusal(path, f"it is broken ({_first_line(error)})") from None


def _read_torch(path: Path) -> object:
    """Return what a file of torch.save holds, as long as it is made of tensors and plain values."""
    _check_archive(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # files of old torch versions are read with remarks on how they were written
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError:
            raise _refusal(path, "it holds more than tensors, or is cut") from None
        except Exception as error:  # a hostile pickle can raise anything on its way
            raise _refusal(path, f"it is broken ({_first_line(error)})") from None


def _check_archive(path: Path) -> None:
    """Refuse a zip that would grow when it is read; torch.save compresses nothing."""
    with path.open("rb") as stream:
        if stream.read(len(_ZIP)) != _ZIP:  # as torch itself tells its formats apart
            return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _refusal(path, f"it is broken ({_first_line(error)})") from None
    grown = sum(entry.file_size for entry in entries)
    if len(entries) > _MAX_ENTRIES or grown > path.stat().st_size or any(entry.compress_type for entry in entries):
        raise _refusal(path, f"its {len(entries)} entries unpack to {grown} bytes from {path.stat().st_size}")


def _refusal(path: Path, finding: str) -> WeightsError:
    """Return the error that says why a file is not read."""
    return WeightsError(
        f"A weight file holds the tensors of a state dict by name, but {path}: {finding}. Give a file written by "
        f"torch.save(network.state_dict(), ...) or by safetensors."
    )


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120].rstrip(":. ")
