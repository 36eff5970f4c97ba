"""Facts and costs of backbones that other packages bring, asked of a short process of their own.

The web process never imports such a package, nor torch: a child does, for as long as it takes to build the network
once. It takes seconds, so that answers are worth keeping (by name, package and version, tasks, size and channels).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from pydantic import ValidationError

from models.foreign import get_foreign
from search.costs.backbone_facts import BackboneDescription, build_request
from search.data.catalogue import TaskInfo
from service.errors import BackboneDescriptionError

SECONDS_AT_MOST = 120.0
_EXIT_REFUSED = 2
_MAX_SENTENCE = 2000  # characters
_REMEDY = "Mend its entry point: it may do no more than build the network."


def describe_backbone(
    name: str,
    tasks: Sequence[TaskInfo] = (),
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    *,
    seconds_at_most: float = SECONDS_AT_MOST,
) -> BackboneDescription:
    """Return what a backbone of another package is and costs; blocks for seconds, so call it from a thread.

    Args:
        name: Of an entry point of the group "bmtas.backbones".
        tasks: The tasks that get a head.
        size: (H, W) of the images, in pixels; None for the smallest that it takes.
        channels: C of the images; None for those that it takes.
        seconds_at_most: When to give up.

    Raises:
        ModelsError: No such entry point, or one that cannot be used by what its metadata say.
        BackboneDescriptionError: Its code failed, took too long, or gives no network that can be searched.
    """
    foreign = get_foreign(name)
    request = build_request(name, tasks, size, channels)
    found = _ask_child(request.model_dump_json(), seconds_at_most)
    if found is None:
        raise BackboneDescriptionError(
            f"Backbone '{name}' of {foreign.package} was not built within {seconds_at_most:g} seconds. {_REMEDY}"
        )
    code, answer, said = found
    if code == _EXIT_REFUSED:
        raise BackboneDescriptionError(said.strip().rpartition("\n")[2][:_MAX_SENTENCE])
    try:
        return BackboneDescription.model_validate_json(answer)
    except ValidationError:
        raise BackboneDescriptionError(
            f"Backbone '{name}' of {foreign.package} ended the process that built it (exit code {code}). {_REMEDY}"
        ) from None


def _ask_child(request: str, seconds_at_most: float) -> tuple[int, str, str] | None:
    """Return exit code, answer and complaints of a process that runs foreign code; None where it took too long."""
    child = subprocess.Popen(
        [sys.executable, "-m", "search.costs.describing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # what the package starts ends with it
    )
    try:
        answer, said = child.communicate(request, timeout=seconds_at_most)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()
    return child.returncode, answer, said
