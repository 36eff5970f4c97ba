"""`bmtas cost`: the documented keys, the table, and architectures that fit or do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.service.conftest import BuildArchitecture, Run

KEYS = [
    *("dataset", "backbone", "size", "tasks", "stem_madds", "layer_names", "layer_madds", "decoder_madds"),
    *("shared_madds", "split_madds", "single_madds", "architecture_madds", "shared_params", "single_params"),
]
TINY = ("cost", "--dataset", "digits", "--backbone", "tiny4")


def load_costs(run: Run, *arguments: str) -> dict[str, Any]:
    """Return what `bmtas cost --json` prints."""
    outcome = run(*TINY, "--json", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    document = json.loads(outcome.out)
    assert isinstance(document, dict)
    return document


def test_json_has_the_documented_keys(run: Run) -> None:
    """The keys stand as documented, and without an architecture its cost is null."""
    costs = load_costs(run, "--tasks", "left,right", "--size", "24x24")
    assert list(costs) == KEYS
    assert (costs["size"], costs["tasks"]) == ([24, 24], {"left": 10, "right": 10})
    assert costs["architecture_madds"] is None


def test_totals_add_up(run: Run) -> None:
    """Shared, split and single follow from the parts: one stem and one copy, one stem and T copies, T of both."""
    costs = load_costs(run)
    stem, layers, heads = costs["stem_madds"], sum(costs["layer_madds"]), sum(costs["decoder_madds"].values())
    assert costs["shared_madds"] == stem + layers + heads
    assert costs["split_madds"] == stem + 4 * layers + heads
    assert costs["single_madds"] == 4 * (stem + layers) + heads


def test_task_order_does_not_matter(run: Run) -> None:
    """Tasks named in another order give the same document."""
    assert load_costs(run, "--tasks", "right,left") == load_costs(run, "--tasks", "left,right")


def test_architecture_is_counted_by_its_copies(run: Run, build_architecture: BuildArchitecture) -> None:
    """An architecture brings its own tasks; every layer counts once per group."""
    Path("tree.json").write_bytes(build_architecture().to_json_bytes())
    costs = load_costs(run, "--architecture", "tree.json")
    assert list(costs["tasks"]) == ["left", "right", "left_group"]
    assert costs["architecture_madds"] == costs["shared_madds"] + sum(costs["layer_madds"][1:])


def test_table_shows_parts_totals_and_copies(run: Run, build_architecture: BuildArchitecture) -> None:
    """People get a row per part, the copies in the architecture, and totals with their share of single."""
    Path("tree.json").write_bytes(build_architecture().to_json_bytes())
    shown = run(*TINY, "--architecture", "tree.json").out
    for word in (
        "stem",
        "blocks.4",
        "head left_group",
        "copies",
        "architecture",
        "fully shared",
        "single (3 networks)",
    ):
        assert word in shown
    assert "100.0" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "4x4"], ["at least 8x8", "4x4"]),
        (["--size", "0x0"], ["0x0"]),
        (["--size", "24x2049"], ["at most 2048 pixels", "24x2049"]),
        (["--architecture", "tree.json", "--backbone", "tiny8"], ["'tiny4'", "'tiny8'", "--backbone tiny4"]),
        (["--architecture", "tree.json", "--tasks", "left,right"], ["left, right, left_group", "left, right"]),
        (["--architecture", "tree.json", "--dataset", "scenes"], ["no task 'left'", "'digits'"]),
        (["--architecture", "half.json"], ["half.json", "not JSON"]),
        (["--architecture", "empty.json"], ["empty.json", "empty"]),
        (["--architecture", "list.json"], ["list.json", "not an object"]),
        (["--architecture", "newer.json"], ["newer.json", "version 2", "upgrade"]),
        (["--architecture", "."], ["is a folder"]),
    ],
)
def test_what_does_not_fit_gets_one_sentence(
    run: Run, build_architecture: BuildArchitecture, arguments: list[str], words: list[str]
) -> None:
    """Sizes below the strides and architectures of others, or broken ones, are refused."""
    content = build_architecture().to_json_bytes()
    Path("tree.json").write_bytes(content)
    Path("half.json").write_bytes(content[: len(content) // 2])
    Path("empty.json").write_bytes(b"")
    Path("list.json").write_bytes(b"[]")
    Path("newer.json").write_bytes(content.replace(b'"version": 1', b'"version": 2'))
    run(*TINY, *arguments).assert_refused(*words)


def test_costs_are_measured_once(run: Run, tmp_path: Path) -> None:
    """The second call finds the measurement in the cache folder of the settings."""
    first = load_costs(run)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert kept
    assert load_costs(run) == first
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}


def test_odd_sizes_of_the_paper_are_counted_without_data(run: Run) -> None:
    """NYUD-v2's 425x560 pixels with ResNet-50 cost what the paper prints, from the catalogue's facts alone."""
    costs = json.loads(run("cost", "--dataset", "nyud", "--backbone", "resnet50", "--json").out)
    assert costs["size"] == [425, 560]
    assert costs["shared_madds"] / 1e9 == pytest.approx(122.29, rel=5e-4)
    assert costs["single_madds"] / 1e9 == pytest.approx(254.4, rel=5e-4)
