"""What a search would be: the same body as JSON, curl and command line, and its scale."""

import json
import shlex
from typing import Any

import pytest
from click.testing import CliRunner

from db.memory.store import MemoryStore
from search.data.shelf import BUILT_IN
from search.weights_shelf import EMPTY_SHELF
from service.commands.cli_jobs import _read_search, submit
from service.dashboard.submit_preview import (
    describe_estimate,
    find_scale,
    write_command,
    write_curl,
    write_json,
)
from service.schemas.requests import SearchBody
from service.schemas.results import Estimate, MaddsRange
from service.web.planning.backbone_offers import BackboneOffers
from service.web.planning.offers import Offers

OFFERS = Offers(BUILT_IN, EMPTY_SHELF, BackboneOffers(MemoryStore(), None))
BODY: dict[str, Any] = {
    "dataset": "digits",
    "tasks": ["left", "right"],
    "backbone": "tiny4",
    "budgets": ["60%", 280000],
    "seeds": [0, 7],
    "preset": "smoke",
    "name": "it's $HOME `id`",
    "objective": "paper",
    "input_size": [24, 24],
    "retrain": False,
    "weights": "my weights.pth",
    "labels": {"team": "a b"},
    "priority": -3,
    "deadline_seconds": 90.5,
    "resources": {"cpus": 0.5, "gpus": 1.0},
}


def test_the_json_is_the_body() -> None:
    """One line per field."""
    assert json.loads(write_json(BODY)) == BODY
    assert write_json(BODY).count("\n") == len(BODY) + 1


def test_curl_sends_the_body_and_no_secret() -> None:
    """A shell makes one word of it, whatever quotes a name holds; the token stays a variable."""
    line = write_curl(BODY, "http://127.0.0.1:8642")
    words = shlex.split(line.replace("\\\n", " "))
    assert json.loads(words[words.index("-d") + 1]) == BODY
    assert "Bearer $TOKEN" in line
    assert words[3] == "http://127.0.0.1:8642/api/v1/searches"


def test_the_command_line_asks_for_the_same() -> None:
    """Its own parser reads the same search back."""
    words = shlex.split(write_command(BODY, "http://127.0.0.1:8642").replace("\\\n", " "))
    assert words[:3] == ["BMTAS_TOKEN=$TOKEN", "bmtas", "submit"]
    context = submit.make_context("submit", words[3:])
    asked = _read_search(context.params).to_json()
    assert SearchBody.model_validate(json.loads(json.dumps(asked))) == SearchBody.model_validate(BODY)
    assert CliRunner().invoke(submit, ["--help"]).exit_code == 0


def test_what_the_command_line_cannot_say_is_said() -> None:
    """Nobody submits something else unawares."""
    assert "max_attempts" in write_command({**BODY, "max_attempts": 5}, "http://x")


@pytest.mark.parametrize(
    "change",
    [{"dataset": "nyud"}, {"dataset": 3}, {"backbone": "none"}, {"tasks": ["left"]}, {"input_size": [4, 4, 4]}],
)
def test_what_is_no_network_has_no_scale(change: dict[str, Any]) -> None:
    """No range without a study."""
    assert find_scale({**BODY, **change}, OFFERS) is None


def test_the_scale_shows_also_budgets_that_are_refused() -> None:
    """Precisely then one wants to see how far off they are; what cannot be read is left out."""
    scale = find_scale({**BODY, "budgets": ["5%", "x", "60%"]}, OFFERS)
    assert scale is not None
    assert [budget.label for budget in scale.budgets] == ["5%", "60%"]
    assert scale.budgets[0].madds < scale.costs.shared_madds < scale.costs.split_madds <= scale.costs.single_madds


def test_the_estimate_is_told_in_words() -> None:
    """Seconds and bytes to the order of magnitude."""
    span = MaddsRange(shared_madds=1, split_madds=2, single_madds=3)
    estimate = Estimate(madds=span, budgets_madds=[2], num_trials=4, seconds_on_one_cpu=700, disk_bytes=1_500_000)
    assert describe_estimate(estimate) == [
        ("Trials", "4"),
        ("Time", "about 12 min on one CPU core"),
        ("Disk", "about 1.5 MB"),
    ]
