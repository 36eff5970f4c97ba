"""From an architecture document to a torch network, fresh or with its trained weights, and the device it runs on."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.catalogue import BACKBONES, HeadSpec
from models.encoder import Backbone
from models.errors import UnknownBackboneError
from models.foreign import is_code_name
from search.architecture import Architecture
from search.compute import Compute
from search.errors import ArchitectureFileError, DeviceError
from search.judging.tasks import KINDS
from search.ports import Surroundings


def build_network(architecture: Architecture) -> BranchedNetwork:
    """Return the network of an architecture with fresh random weights.

    Raises:
        ArchitectureFileError: Its backbone is of a package that is not installed, or has other layers by now.
        ModelsError: Its backbone is code that nobody named, or cannot be used.
    """
    heads = {task: HeadSpec(KINDS[shape.kind].dense, shape.channels) for task, shape in architecture.heads.items()}
    return BranchedNetwork(find_backbone(architecture), heads, architecture.image_channels, architecture.branching)


def find_backbone(architecture: Architecture) -> Backbone:
    """Return the backbone that an architecture stands on.

    Raises:
        ArchitectureFileError: It is of a package that is not installed, or has other layers by now.
        ModelsError: It is code that nobody named, or cannot be used.
    """
    name, package = architecture.backbone, architecture.backbone_package
    try:
        backbone = get_backbone(name)
    except UnknownBackboneError:
        if package is None or is_code_name(name):
            raise
        raise ArchitectureFileError(
            f"The network stands on backbone '{name}' of the package {package}, which is not installed here. "
            f"Install it, such as by pip install {package.replace(' ', '==')}."
        ) from None
    layers = tuple(layer.name for layer in backbone.layers)
    if name not in BACKBONES and layers != architecture.layer_names:
        raise ArchitectureFileError(
            f"The network was made of {len(architecture.layer_names)} layers of backbone '{name}', which are not the "
            f"{len(layers)} that it is cut into here. Install {package or 'the code'} as it was then."
        )
    return backbone


def load_network(architecture: Architecture, weights: bytes) -> BranchedNetwork:
    """Return the trained network of an architecture, on the CPU and in evaluation mode.

    Args:
        architecture: What to build.
        weights: Content of its weights.safetensors.

    Raises:
        ArchitectureFileError: The weights are corrupt or of another network.
    """
    network = build_network(architecture)
    try:
        network.load_state_dict(load_safetensors(weights))
    except (SafetensorError, RuntimeError) as error:
        first_line = str(error).splitlines()[0]
        raise ArchitectureFileError(
            f"The weights do not fit the architecture ({first_line.rstrip(':. ')}). "
            "Use the weights.safetensors that stands beside its architecture.json."
        ) from None
    return network.eval()


def choose_device(name: str) -> torch.device:
    """Return the device of a name; "auto" takes a GPU where there is one.

    Raises:
        DeviceError: "cuda" where torch sees none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("No CUDA device was found on this machine. Use --device cpu, or auto to take what there is.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.deterministic = True  # the same seed must give the same tree
    # What is called float32 is float32, not a shorter format.
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # its stub is behind
    return torch.device("cuda")


def choose_compute(around: Surroundings) -> Compute:
    """Return how a run computes: in bfloat16 where a GPU has it, or as asked.

    Raises:
        DeviceError: What was asked for is not there.
    """
    device = choose_device(around.device)
    if around.gpus > 1 and (device.type != "cuda" or torch.cuda.device_count() < around.gpus):
        found = torch.cuda.device_count() if device.type == "cuda" else 0
        raise DeviceError(
            f"{around.gpus} GPUs were asked for, but this run has {found}. Ask for fewer with --gpus, or leave it out."
        )
    on_gpu = device.type == "cuda"
    has_bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if around.precision == "bf16" and on_gpu and not has_bf16:
        raise DeviceError("This GPU does not compute in bfloat16. Use --precision fp32, or auto to take what there is.")
    in_bf16 = around.precision == "bf16" or (around.precision == "auto" and has_bf16)
    return Compute(
        device,
        autocast=torch.bfloat16 if in_bf16 else None,
        channels_last=on_gpu and in_bf16,
        compiler="inductor" if around.compiled else None,
        num_processes=around.gpus,
    )
