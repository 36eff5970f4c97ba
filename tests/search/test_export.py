"""Export: the file that is handed out gives torch's outputs, with the branches that were asked for and no others."""

import hashlib
import io
from collections.abc import Sequence

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from search.architecture import Architecture, HeadShape, Provenance, layers_of
from search.errors import ExportError
from search.export import Format, export_network

TASKS = ("depth", "edge", "label")
MADDS = {"stem": 3 * 4 * 9 * 64, "depth": 4 * 64, "edge": 4 * 64, "label": 4 * 5}


class TinyNetwork(nn.Module):
    """A stand-in for the branched network: one convolution, and a head per task of its own shape."""

    def __init__(self, stem: nn.Module, heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.stem = stem
        self.heads = nn.ModuleDict(heads)

    def forward(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        """Return every task's output, in the reverse of the architecture's order."""
        features_BCHW = self.stem(image_BCHW).relu()
        return {task: head(features_BCHW) for task, head in reversed(list(self.heads.items()))}

    def restricted_to(self, tasks: Sequence[str]) -> nn.Module:
        """Return the network of fewer tasks with the same weights."""
        return TinyNetwork(self.stem, {task: self.heads[task] for task in tasks}).eval()


class Doubling(nn.Module):
    """A head whose output changes from one call to the next, so that no export can reproduce it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Return the features times the number of calls."""
        self.calls += 1
        return features_BCHW * self.calls


def _network() -> TinyNetwork:
    """Return a stand-in with two dense tasks and one label."""
    torch.manual_seed(0)
    label = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    heads: dict[str, nn.Module] = {"depth": nn.Conv2d(4, 1, 1), "edge": nn.Conv2d(4, 1, 1), "label": label}
    network = TinyNetwork(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)), heads)
    return network.eval()


def _architecture() -> Architecture:
    """Return an architecture of the stand-in's tasks."""
    tree = Branching.shared(TASKS, 5)
    heads = {
        "depth": HeadShape(kind="depth", channels=1),
        "edge": HeadShape(kind="edge", channels=1),
        "label": HeadShape(kind="classification", channels=5),
    }
    provenance = Provenance(
        dataset="mine",
        dataset_fingerprint="",
        seed=0,
        objective="exact",
        spec_hash="",
        code_version="0",
        created="2026-01-31T12:00:00+00:00",
    )
    return Architecture(
        tasks=TASKS,
        backbone="tiny4",
        input_size=(8, 8),
        image_channels=3,
        layers=layers_of(tree, [f"block{index}" for index in range(5)]),
        heads=heads,
        madds=sum(MADDS.values()),
        params=100,
        budget_madds=10_000,
        provenance=provenance,
    )


@pytest.mark.parametrize("fmt", ["onnx", "pt2"])
def test_an_exported_network_gives_the_outputs_of_torch(fmt: Format) -> None:
    """The difference that was measured is tiny, and the hash is that of the bytes."""
    result = export_network(_network(), _architecture(), fmt=fmt)
    assert (result.format, result.tasks) == (fmt, TASKS)
    assert result.max_abs_difference < 1e-5
    assert result.max_relative_difference < 1e-5
    assert result.sha256 == hashlib.sha256(result.content).hexdigest()


def test_onnx_has_a_dynamic_batch_and_outputs_in_task_order() -> None:
    """Input and outputs are named, sizes but the batch are fixed, and a batch of five runs."""
    content = export_network(_network(), _architecture(), fmt="onnx").content
    onnx.checker.check_model(content)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [put.name for put in session.get_inputs()] == ["image"]
    assert session.get_inputs()[0].shape[1:] == [3, 8, 8]
    assert isinstance(session.get_inputs()[0].shape[0], str)
    assert [put.name for put in session.get_outputs()] == list(TASKS)
    assert [put.shape[1:] for put in session.get_outputs()] == [[1, 8, 8], [1, 8, 8], [5]]
    image_BCHW = torch.randn(5, 3, 8, 8)
    got = torch.from_numpy(session.run(["label"], {"image": image_BCHW.numpy()})[0])
    torch.testing.assert_close(got, _network()(image_BCHW)["label"], rtol=1e-4, atol=1e-5)


def test_pt2_loads_without_our_code_and_names_its_outputs() -> None:
    """What torch reads back maps an image of any batch size to a tensor per task."""
    program = torch.export.load(io.BytesIO(export_network(_network(), _architecture(), fmt="pt2").content)).module()
    image_BCHW = torch.randn(5, 3, 8, 8)
    outputs = program(image_BCHW)
    assert list(outputs) == list(TASKS)
    assert torch.equal(outputs["depth"], _network()(image_BCHW)["depth"])


def test_json_is_the_architecture_file() -> None:
    """The JSON export is what the run stored, byte for byte."""
    result = export_network(_network(), _architecture(), fmt="json")
    assert result.content == _architecture().to_json_bytes()
    assert result.max_abs_difference == 0


def test_json_of_fewer_tasks_counts_what_is_left() -> None:
    """A part of the tree has its own cost and no budget."""
    network = _network()
    content = export_network(network, _architecture(), fmt="json", tasks=["label", "depth"]).content
    part = Architecture.from_json_bytes(content)
    assert part.tasks == ("depth", "label")
    assert part.madds == MADDS["stem"] + MADDS["depth"] + MADDS["label"]
    assert part.params == sum(p.numel() for p in network.parameters()) - 5  # the edge head: 4 weights and a bias
    assert part.budget_madds is None
    assert part.branching == Branching.shared(("depth", "label"), 5)


@pytest.mark.parametrize("fmt", ["onnx", "pt2"])
def test_fewer_tasks_give_a_smaller_file_with_their_outputs_only(fmt: Format) -> None:
    """The branches that nobody asked for are not in the file, and task order is the architecture's."""
    network = _network()
    network.heads["edge"] = nn.Sequential(nn.Conv2d(4, 4096, 1), nn.Conv2d(4096, 1, 1)).eval()
    whole = export_network(network, _architecture(), fmt=fmt)
    part = export_network(network, _architecture(), fmt=fmt, tasks=["label", "depth"])
    assert part.tasks == ("depth", "label")
    assert len(part.content) < len(whole.content) - 4 * 4 * 4096


def test_outputs_that_differ_are_refused() -> None:
    """A file that does not do what the network does is never handed out."""
    network = _network()
    network.heads["edge"] = Doubling().eval()
    with pytest.raises(ExportError, match="must give torch's outputs"):
        export_network(network, _architecture(), fmt="pt2")


def test_outputs_that_are_not_finite_are_refused() -> None:
    """A network with a NaN weight is no export."""
    network = _network()
    with torch.no_grad():
        next(network.heads["edge"].parameters()).fill_(float("nan"))
    with pytest.raises(ExportError, match="'edge' is not finite"):
        export_network(network, _architecture(), fmt="pt2")


@pytest.mark.parametrize("tasks", [["depth", "depth"], ["speed"], []])
def test_wrong_tasks_are_refused(tasks: list[str]) -> None:
    """Repeated, unknown and no tasks get one sentence with the tasks there are."""
    with pytest.raises(ExportError, match=r"distinct tasks of the network \(depth, edge, label\)"):
        export_network(_network(), _architecture(), fmt="json", tasks=tasks)


def test_a_task_named_like_the_input_is_refused_for_onnx() -> None:
    """Inputs and outputs of an ONNX graph share one space of names."""
    network = TinyNetwork(_network().stem, {"image": nn.Conv2d(4, 1, 1)}).eval()
    part = {"tasks": ("image",), "heads": {"image": HeadShape(kind="depth", channels=1)}}
    with pytest.raises(ExportError, match="no task may be"):
        export_network(network, _architecture().model_copy(update=part), fmt="onnx")


def test_an_unknown_format_is_refused() -> None:
    """The formats there are are named."""
    with pytest.raises(ExportError, match="Choose one of: json, onnx, pt2"):
        export_network(_network(), _architecture(), fmt="tflite")  # type: ignore[arg-type]


def test_a_branched_network_loses_the_branches_nobody_asked_for() -> None:
    """The real network cut down to two tasks counts as the architecture of those two, and its ONNX agrees."""
    tree = Branching.from_routing(TASKS, [[0, 0, 0], *[[0, 0, 1]] * 4])
    heads = {"depth": HeadSpec(False, 2), "edge": HeadSpec(False, 3), "label": HeadSpec(False, 5)}
    torch.manual_seed(0)
    network = BranchedNetwork(get_backbone("tiny4"), heads, 3, tree).eval()
    whole = _architecture().model_copy(update={"layers": layers_of(tree, _architecture().layer_names)})
    part = export_network(network, whole, fmt="json", tasks=["depth", "edge"])
    part_tree = Architecture.from_json_bytes(part.content).branching
    assert part_tree == Branching.shared(("depth", "edge"), 5)
    assert export_network(network, whole, fmt="onnx", tasks=["depth", "edge"]).max_relative_difference < 1e-5


class Unexportable(nn.Module):
    """A head whose output depends on the value of a tensor, which no exporter can trace."""

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Return the features or their negative."""
        return features_BCHW if features_BCHW.sum().item() > 0 else -features_BCHW


@pytest.mark.parametrize("fmt", ["onnx", "pt2"])
def test_an_exporter_that_fails_is_explained(fmt: Format) -> None:
    """The exporter's trace becomes one sentence."""
    network = _network()
    network.heads["edge"] = Unexportable()
    with pytest.raises(ExportError, match="cannot be written as") as caught:
        export_network(network, _architecture(), fmt=fmt)
    assert "\n" not in str(caught.value)
