"""Facts and costs of other packages' backbones from a child process, whatever their code does."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from models.errors import ForeignBackboneError, UnknownBackboneError
from search.costs.lut import measure_costs
from search.data.catalogue import DATASETS
from service.errors import BackboneDescriptionError
from service.serving.described_backbones import describe_backbone

if TYPE_CHECKING:
    from tests.conftest import WildPackage

TASKS = DATASETS["scenes"].tasks[:2]


def test_description_is_what_the_process_itself_would_measure(wild: WildPackage) -> None:
    """Facts and costs travel whole."""
    described = describe_backbone("no_norm", TASKS, (32, 48), 3)
    assert described.costs == measure_costs("no_norm", TASKS, (32, 48), 3)
    assert described.info.family == "custom"
    assert (described.info.num_layers, described.image_channels) == (5, 3)


def test_description_needs_only_a_name(wild: WildPackage) -> None:
    """Size and channels are then what the backbone takes."""
    described = describe_backbone("small")
    assert (described.image_channels, described.input_size) == (1, (8, 8))
    assert described.decoder_madds == {}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os\ndef build(): os._exit(7)", "ended the process that built it .exit code 7."),
        ("def build():\n    print('{}' * 9)\n    raise ValueError('first\\nsecond')", "ValueError: first"),
    ],
)
def test_code_that_fails_is_one_sentence(wild: WildPackage, source: str, words: str) -> None:
    """The process that asks lives on and reads why."""
    wild.write("failing", source)
    wild.add("failing", "failing:build")
    with pytest.raises(BackboneDescriptionError, match=words) as caught:
        describe_backbone("failing")
    assert "\n" not in str(caught.value)


def test_code_that_takes_too_long_is_ended(wild: WildPackage) -> None:
    """With all that it has started."""
    wild.write("slow", "import time\ntime.sleep(600)")
    wild.add("slow", "slow:build")
    began = time.monotonic()
    with pytest.raises(BackboneDescriptionError, match="not built within 3 seconds"):
        describe_backbone("slow", seconds_at_most=3)
    assert time.monotonic() - began < 30


def test_what_metadata_forbid_starts_no_process(wild: WildPackage) -> None:
    """Unknown names, code and entry points of no use are refused at once."""
    wild.add("tiny4", "wild_networks:ResNext")
    with pytest.raises(ForeignBackboneError, match="built-in"):
        describe_backbone("tiny4")
    for name in ("resnet152", "os:getcwd"):
        with pytest.raises(UnknownBackboneError):
            describe_backbone(name)


def test_asking_loads_no_torch() -> None:
    """The web process asks, and stays light."""
    code = "import sys, service.serving.described_backbones; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
