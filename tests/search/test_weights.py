"""Weight files read without running what they hold, and runs that start from them and survive a stop."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.backbones import get_backbone
from search.architecture import Architecture
from search.errors import RunCancelledError, WeightsError
from search.pipeline import retrain_architecture, run_job
from search.ports import MemoryReporter, MemoryStore, Message, Surroundings, never_cancelled
from search.presets import build_spec
from search.results import Evaluation, Results
from search.spec import JobSpec, WeightsSpec
from search.weights import open_weights, read_state_dict
from search.weights_shelf import WeightsShelf

CANARY = "canary-was-touched"


class Bomb:
    """Runs a command of the test's own when it is unpickled carelessly."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        """Return what a careless reader would call."""
        return os.system, (f"touch {CANARY}",)


def tiny_weights() -> dict[str, Tensor]:
    """Return weights of tiny4 under the names of a file of the whole network."""
    torch.manual_seed(5)
    backbone = get_backbone("tiny4")
    parts = {"stem.": backbone.build_stem(3)} | {f"{layer.name}.": layer.build() for layer in backbone.layers}
    return {prefix + key: tensor for prefix, part in parts.items() for key, tensor in part.state_dict().items()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a weights folder that is also the working directory, where a canary would be seen."""
    monkeypatch.chdir(tmp_path)
    torch.save(tiny_weights(), tmp_path / "tiny.pth")
    return tmp_path


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pt", "plain.safetensors"])
def test_every_format_gives_the_same_tensors(tmp_path: Path, name: str) -> None:
    """Files of torch.save, of its first format and of safetensors hold the same."""
    weights, path = tiny_weights(), tmp_path / name
    if name == "plain.safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=name == "zip.pth")
    found = read_state_dict(path)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)


def write_hostile(path: Path, kind: str) -> None:
    """Write a file that no network should start from."""
    stream = io.BytesIO()
    torch.save(tiny_weights(), stream)
    whole = stream.getvalue()
    if kind == "pickle bomb":
        path.write_bytes(pickle.dumps({"stem.0.weight": Bomb()}))
    elif kind == "bomb of torch":
        torch.save({"stem.0.weight": Bomb()}, path)
    elif kind == "zip bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    elif kind == "lying zip":
        place = whole.rindex(b"PK\x01\x02")  # the last entry of the directory: its size, four bytes from offset 24 on
        path.write_bytes(whole[: place + 24] + struct.pack("<I", 2**31) + whole[place + 28 :])
    elif kind in ("cut", "cut safetensors"):
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "huge header":
        path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    elif kind == "a whole module":
        torch.save(get_backbone("tiny4").build_stem(3), path)
    else:
        torch.save({"a list": [1, 2], "nested": {"state_dict": {"a": torch.zeros(1)}}, "nothing": {}}[kind], path)


@pytest.mark.parametrize(
    ("kind", "suffix", "words"),
    [
        ("pickle bomb", ".pth", "more than tensors"),
        ("bomb of torch", ".pt", "more than tensors"),
        ("zip bomb", ".pth", "unpack to 50000000 bytes"),
        ("lying zip", ".pth", "unpack to|is broken"),
        ("cut", ".pth", "is broken|is cut"),
        ("cut safetensors", ".safetensors", "is broken"),
        ("huge header", ".safetensors", "is broken"),
        ("a whole module", ".pth", "more than tensors"),
        ("a list", ".pth", "it holds a list"),
        ("nested", ".pth", "the entry 'state_dict' is a dict"),
        ("nothing", ".pth", "it holds nothing"),
    ],
)
def test_hostile_and_broken_files_are_refused(folder: Path, kind: str, suffix: str, words: str) -> None:
    """One sentence names file and finding; nothing in the file is run."""
    path = folder / f"hostile{suffix}"
    write_hostile(path, kind)
    with pytest.raises(WeightsError, match=words) as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)
    assert not (folder / CANARY).exists()


def test_the_canary_would_sing(folder: Path) -> None:
    """A careless reader runs what the bomb holds, so that the test above tells something."""
    write_hostile(folder / "bomb.pth", "pickle bomb")
    pickle.loads((folder / "bomb.pth").read_bytes())
    assert (folder / CANARY).exists()


def test_weights_of_another_network_are_refused_by_parameter(folder: Path) -> None:
    """The sentence names the file, the backbone and the first parameter that does not fit."""
    shelf = WeightsShelf(folder)
    with pytest.raises(WeightsError, match=r"tiny\.pth cannot be used: Backbone 'resnet18' has no parameter 'stem\.0"):
        open_weights(shelf.choose("tiny.pth", "resnet18"), "resnet18", shelf)


def small_job(weights: WeightsSpec | None) -> JobSpec:
    """Return a job of a second."""
    spec = build_spec(
        dataset="digits",
        tasks=("left", "right"),
        backbone="tiny4",
        budgets=["70%"],
        preset="smoke",
        weights=weights,
    )
    return spec.model_copy(
        update={
            "data": spec.data.model_copy(update={"num_train": 40, "num_val": 20}),
            "search": spec.search.model_copy(update={"epochs": 3, "warmup_epochs": 1, "batch_size": 8}),
            "retrain": spec.retrain.model_copy(update={"epochs": 2, "batch_size": 20}),
        }
    )


def around(
    folder: Path, store: MemoryStore, reporter: MemoryReporter, cancelled: Callable[[], bool] = never_cancelled
) -> Surroundings:
    """Return what a job is handed, with the weights folder."""
    return Surroundings(
        store=store,
        reporter=reporter,
        cancelled=cancelled,
        device="cpu",
        cache_dir=folder / "cache",
        now=lambda: datetime(2026, 1, 31, tzinfo=UTC),
        weights=WeightsShelf(folder),
    )


def test_a_job_says_what_it_started_from(folder: Path) -> None:
    """Messages count parameters; results, architectures and evaluations name the file and its hash."""
    weights, store, reporter = WeightsShelf(folder).choose("tiny.pth", "tiny4"), MemoryStore(), MemoryReporter()
    run_job(small_job(weights), around(folder, store, reporter))
    messages = [event.text for event in reporter.events if isinstance(event, Message)]
    assert len(messages) == 5  # two single networks, the shared one, the search, the candidate
    assert all("parameters start from tiny.pth" in text and "from the seed" in text for text in messages)
    assert Results.from_json_bytes(store.read("results.json")).study.weights == weights
    document = Architecture.from_json_bytes(store.read("candidates/70pct/architecture.json"))
    assert document.provenance.weights == weights
    note = Evaluation.from_json_bytes(store.read("candidates/70pct/evaluation.json")).weights
    assert note is not None
    assert (note.file, note.loaded + note.new) == (weights, document.params)


def test_a_stopped_job_ends_with_the_same_trees(folder: Path) -> None:
    """Stopped again and again, a job that starts from a file ends with the weights of an undisturbed one."""
    job = small_job(WeightsShelf(folder).choose("tiny.pth", "tiny4"))
    whole, parts = MemoryStore(), MemoryStore()
    run_job(job, around(folder, whole, MemoryReporter()))
    for patience in (10, 30, 60, 100_000):
        reporter = MemoryReporter()
        try:
            run_job(job, around(folder, parts, reporter, lambda: len(reporter.events) > patience))  # noqa: B023
        except RunCancelledError:
            continue
    names = [name for name in whole.contents if name.endswith(("architecture.json", "weights.safetensors"))]
    assert len(names) == 8
    assert all(parts.read(name) == whole.read(name) for name in names)


def test_other_weights_are_another_job(folder: Path) -> None:
    """Random weights and two files give three hashes, and a file that changed is not taken up."""
    torch.save({key: tensor * 2 for key, tensor in tiny_weights().items()}, folder / "other.pth")
    shelf = WeightsShelf(folder)
    jobs = [small_job(shelf.choose(words, "tiny4")) for words in ("none", "tiny.pth", "other.pth")]
    assert len({job.spec_hash for job in jobs}) == 3
    assert '"weights"' not in jobs[0].canonical_json().replace('"weights":{"learning_rate"', "")
    (folder / "tiny.pth").write_bytes((folder / "other.pth").read_bytes())
    with pytest.raises(WeightsError, match="Put the file back"):
        run_job(jobs[1], around(folder, MemoryStore(), MemoryReporter()))


def test_a_retraining_starts_from_weights_too(folder: Path) -> None:
    """The network of a document is trained from the file that the person names."""
    store, reporter = MemoryStore(), MemoryReporter()
    run_job(small_job(None).model_copy(update={"with_retrain": False}), around(folder, store, reporter))
    architecture = Architecture.from_json_bytes(store.read("candidates/70pct/architecture.json"))
    weights = WeightsShelf(folder).choose("tiny.pth", "tiny4")
    ran = MemoryStore()

    def stop_at_the_first_step() -> bool:
        return any(isinstance(event, Message) for event in reporter.events)

    with pytest.raises(RunCancelledError):
        retrain_architecture(
            architecture, "digits", "smoke", 0, around(folder, ran, reporter, stop_at_the_first_step), weights
        )
    assert "tiny.pth" in next(event.text for event in reporter.events if isinstance(event, Message))


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pt", "plain.safetensors"])
def test_random_damage_is_refused_or_harmless(tmp_path: Path, name: str) -> None:
    """Whatever bytes are changed or cut off, reading ends in tensors or in a sentence that names the file."""
    path, random, refusals = tmp_path / name, Random(3), list[str]()
    if name == "plain.safetensors":
        save_file(tiny_weights(), path)
    else:
        torch.save(tiny_weights(), path, _use_new_zipfile_serialization=name == "zip.pth")
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole[: random.choice([len(whole), random.randrange(len(whole))])])
        for _ in range(min(len(damaged), random.choice([1, 8, 50]))):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        path.write_bytes(damaged)
        try:
            assert all(isinstance(tensor, Tensor) for tensor in read_state_dict(path).values())
        except WeightsError as error:
            refusals.append(str(error))
    assert all(str(path) in refusal for refusal in refusals)
