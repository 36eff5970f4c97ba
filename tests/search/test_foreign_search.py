"""The method on networks of other packages: searches that can be stopped, trees as documents, exported files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from models import foreign
from models.backbones import get_backbone
from models.branching import Branching
from models.catalogue import HeadSpec
from models.supergraph import Supergraph
from search.architecture import Architecture, HeadShape, Provenance, layers_of
from search.compute import Compute
from search.costs.lut import measure_costs
from search.data.shelf import BUILT_IN
from search.errors import ArchitectureFileError
from search.export import export_network
from search.method.bilevel import SearchOutcome
from search.networks import build_network, load_network
from search.presets import get_recipe
from search.training.lesson import pack_weights

if TYPE_CHECKING:
    from tests.conftest import WildPackage
    from tests.search.conftest import Lab

TASKS = ("a", "b")


def describe(backbone_name: str, package: str | None, channels: int = 3) -> Architecture:
    """Return the document of a tree of two label tasks that part behind the first layer."""
    backbone = get_backbone(backbone_name)
    names = [layer.name for layer in backbone.layers]
    tree = Branching(TASKS, ((TASKS,), *((("a",), ("b",)) for _ in names[1:])))
    side = backbone.info.min_size
    return Architecture(
        tasks=TASKS,
        backbone=backbone_name,
        input_size=(side, side),
        image_channels=channels,
        layers=layers_of(tree, names),
        heads={task: HeadShape(kind="classification", channels=3) for task in TASKS},
        madds=1,
        params=1,
        budget_madds=None,
        provenance=Provenance(
            dataset="mine",
            dataset_fingerprint="0",
            seed=0,
            objective="exact",
            spec_hash="0",
            code_version="0",
            created="2026-01-31T12:00:00+00:00",
        ),
        backbone_package=package,
    )


def test_search_with_random_blocks_can_be_stopped(lab: Lab, wild: WildPackage) -> None:
    """Stochastic depth draws from torch's own generator, and a resumed search ends where an undisturbed one does."""
    study = replace(lab, backbone="restless")
    ends = [study.run_interrupted(study.search, stops)[1] for stops in ([], [3, 5])]
    first, second = (end for end in ends if isinstance(end, SearchOutcome))
    assert torch.equal(first.arch_logits_LTK, second.arch_logits_LTK)
    assert first.branching == second.branching


def test_supergraph_of_a_foreign_network_finds_ops_alike(wild: WildPackage) -> None:
    """All ops of a layer start alike, with norms at their ends or without."""
    network = Supergraph(get_backbone("convnext"), {"a": HeadSpec(True, 2), "b": HeadSpec(True, 2)}, 3).eval()
    image_BCHW = torch.randn(1, 3, 64, 64)
    mixes = [torch.eye(2)[op].expand(network.num_layers, 2) for op in range(2)]
    assert torch.equal(network(image_BCHW, "a", mixes[0]), network(image_BCHW, "a", mixes[1]))


def test_costs_of_the_parts_are_those_of_the_network(wild: WildPackage) -> None:
    """Stem and layers together cost what fvcore counts for the network in one piece, but for head and pyramid."""
    costs = measure_costs("no_norm", (), (32, 32), 3)
    side, pixels = (3, 8, 8, 16, 16), (32 * 32, 16 * 16, 16 * 16, 8 * 8, 8 * 8)
    given = (8, 8, 16, 16, 16)
    expected = [9 * taken * out * area for taken, out, area in zip(side, given, pixels, strict=True)]
    assert [costs.stem_madds, *costs.layer_madds[:-1]] == expected


def test_changed_code_is_measured_anew(wild: WildPackage) -> None:
    """A kept measurement names the code it is of."""
    cache = wild.folder / "cache"
    first = measure_costs("no_norm", (), (32, 32), 3, cache)
    assert measure_costs("no_norm", (), (32, 32), 3, cache) == first
    (kept,) = cache.iterdir()
    assert get_backbone("no_norm").definition in kept.read_text()


@pytest.mark.parametrize("preset", ["smoke", "quick", "paper"])
def test_foreign_networks_get_the_recipes_of_large_ones(preset: str) -> None:
    """They train as ResNets do."""
    info = BUILT_IN.get("scenes")
    assert get_recipe(preset, "whatever", info) == get_recipe(preset, "resnet50", info)


def test_document_names_the_package_and_survives_without_it(wild: WildPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing the tree can be read, and building it says what to install."""
    content = describe("no_norm", "wild-networks 1.2").to_json_bytes()
    assert b'"backbone_package": "wild-networks 1.2"' in content
    build_network(Architecture.from_json_bytes(content))
    monkeypatch.undo()
    read = Architecture.from_json_bytes(content)
    with pytest.raises(ArchitectureFileError, match=r"pip install wild-networks==1\.2"):
        build_network(read)


def test_document_without_a_package_keeps_its_keys(wild: WildPackage) -> None:
    """Trees on built-in backbones have the bytes they always had; unknown names are refused as ever."""
    with pytest.raises(ArchitectureFileError, match="Unknown backbone 'nobody'"):
        Architecture.from_json_bytes(describe("no_norm", None).to_json_bytes().replace(b"no_norm", b"nobody"))
    assert b"backbone_package" not in describe("no_norm", None).to_json_bytes()


@pytest.mark.parametrize("package", ["x", "evil 1; rm -rf", "a 1\u001b[2J", "a b c"])
def test_package_of_a_document_is_a_name_and_a_version(wild: WildPackage, package: str) -> None:
    """What a hostile document says there would end on somebody's terminal."""
    document = describe("no_norm", "wild-networks 1.2").to_json_bytes()
    forged = document.replace(b'"wild-networks 1.2"', json.dumps(package).encode())
    with pytest.raises(ArchitectureFileError, match="backbone_package"):
        Architecture.from_json_bytes(forged)


def test_network_that_was_cut_otherwise_is_refused(wild: WildPackage) -> None:
    """A newer version of the package may have other layers."""
    content = describe("no_norm", "wild-networks 1.1").to_json_bytes().replace(b'"name": "4"', b'"name": "5"')
    with pytest.raises(ArchitectureFileError, match=r"not the 5 that it is cut into here. Install wild-networks 1.1"):
        build_network(Architecture.from_json_bytes(content))


def test_document_that_names_code_runs_none(wild: WildPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a person's own words admit code."""
    monkeypatch.setattr(foreign, "_ADMITTED", set())
    content = describe("no_norm", None).to_json_bytes().replace(b'"no_norm"', b'"wild_networks:no_norm"')
    read = Architecture.from_json_bytes(content)
    with pytest.raises(ValueError, match="runs only where a person names it"):
        build_network(read)
    foreign.admit_code("wild_networks:no_norm")
    assert build_network(read).tasks == TASKS


@pytest.mark.parametrize("name", ["mobilenetv3", pytest.param("convnext", marks=pytest.mark.soak)])
@pytest.mark.parametrize("file_format", ["onnx", "pt2"])
def test_networks_run_elsewhere(wild: WildPackage, name: str, file_format: str) -> None:
    """Squeeze-excite, hard swish, layer scale: exported files give torch's numbers."""
    architecture = describe(name, "wild-networks 1.2")
    torch.manual_seed(0)
    network = build_network(architecture).eval()
    exported = export_network(network, architecture, fmt="onnx" if file_format == "onnx" else "pt2")
    assert exported.max_relative_difference < 1e-4


def test_trained_weights_load_again(wild: WildPackage) -> None:
    """Names inside the pieces are stable from build to build."""
    architecture = describe("resnext", "wild-networks 1.2")
    network = Compute(torch.device("cpu")).place(build_network(architecture)).eval()
    loaded = load_network(architecture, pack_weights(network))
    image_BCHW = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(image_BCHW)["a"], network(image_BCHW)["a"])
