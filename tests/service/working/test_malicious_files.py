"""E4: files that would run code when they are read do not, whoever put them there; a sentence says what happened."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from search.architecture import Architecture
from search.trial_plan import plan_export
from service.working.trial_process import EXIT_ENDED, run_attempt

if TYPE_CHECKING:
    from tests.service.working.conftest import FakeTrial, Workplace


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.canary,)


def plant(workplace: Workplace, name: str, content: bytes) -> dict[str, object]:
    """Put a file under the storage root and return a row that vouches for it."""
    digest = hashlib.sha256(content).hexdigest()
    path = f"trials/planted/1/{name}.{digest[:12]}"
    target = workplace.server.storage_root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return {"name": name, "path": path, "sha256": digest, "num_bytes": len(content)}


def as_state(content: bytes) -> bytes:
    """Return content behind the header that a state file begins with."""
    return b"bmtas-state 1 " + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def export_of(workplace: Workplace, weights: bytes) -> FakeTrial:
    """Queue an export of a network whose weights were planted."""
    source = workplace.add("shared")
    assert run_attempt(workplace.attempt_order(), threading.Event()) == EXIT_ENDED
    content = (workplace.server.storage_root / str(source.files["architecture.json"]["path"])).read_bytes()
    (planned,) = plan_export(Architecture.from_json_bytes(content), "onnx", study_key="k").trials
    trial = workplace.server.add(planned)
    trial.inputs = [plant(workplace, "weights.safetensors", weights)]
    return trial


@pytest.mark.parametrize("kind", ["torch", "pickle", "state"])
def test_a_checkpoint_that_would_run_code_is_passed_over(workplace: Workplace, kind: str) -> None:
    """The trial begins anew, says so, and ends well."""
    canary = workplace.folder / "canary"
    buffer = io.BytesIO()
    torch.save({"network": Bomb(canary)}, buffer)
    content = {"torch": buffer.getvalue(), "pickle": pickle.dumps(Bomb(canary)), "state": as_state(buffer.getvalue())}
    trial = workplace.add("shared")
    trial.files["training.state"] = plant(workplace, "training.state", content[kind])
    assert run_attempt(workplace.attempt_order(), threading.Event()) == EXIT_ENDED
    assert trial.state == "SUCCEEDED"
    assert any("Begins anew" in line for line in trial.lines)
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["pickle", "huge header", "wrong size"])
def test_weights_that_are_none_fail_their_export(workplace: Workplace, kind: str) -> None:
    """Reading them runs nothing and takes no memory; the reason is the file."""
    canary = workplace.folder / "canary"
    header = b'{"stem":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4]}}'
    content = {
        "pickle": pickle.dumps(Bomb(canary)),
        "huge header": struct.pack("<Q", 2**62) + b"{}",
        "wrong size": struct.pack("<Q", len(header)) + header + b"\0" * 4,
    }
    trial = export_of(workplace, content[kind])
    assert run_attempt(workplace.attempt_order(), threading.Event()) == EXIT_ENDED
    assert (trial.state, trial.attempts[0].reason) == ("FAILED", "bad_spec")
    assert "weights" in trial.attempts[0].message
    assert not canary.exists()


def test_an_export_says_where_its_file_lies(workplace: Workplace) -> None:
    """Sound weights are written as a file under the storage root, whose hash the result names."""
    source = workplace.add("single-left")
    assert run_attempt(workplace.attempt_order(), threading.Event()) == EXIT_ENDED
    weights = workplace.server.storage_root / str(source.files["weights.safetensors"]["path"])
    content = (workplace.server.storage_root / str(source.files["architecture.json"]["path"])).read_bytes()
    (planned,) = plan_export(Architecture.from_json_bytes(content), "pt2", study_key="k").trials
    trial = workplace.server.add(planned)
    trial.inputs = [plant(workplace, "weights.safetensors", weights.read_bytes())]
    assert run_attempt(workplace.attempt_order(), threading.Event()) == EXIT_ENDED
    assert trial.result is not None
    written = workplace.server.storage_root / trial.result["path"]
    assert hashlib.sha256(written.read_bytes()).hexdigest() == trial.result["sha256"]
    assert trial.architecture is None
