"""From an architecture document to a torch network, fresh or with its trained weights, and the device it runs on."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.catalogue import HeadSpec
from search.architecture import Architecture
from search.errors import ArchitectureFileError, DeviceError
from search.tasks import KINDS


def build_network(architecture: Architecture) -> BranchedNetwork:
    """Return the network of an architecture with fresh random weights."""
    heads = {task: HeadSpec(KINDS[shape.kind].dense, shape.channels) for task, shape in architecture.heads.items()}
    return BranchedNetwork(
        get_backbone(architecture.backbone), heads, architecture.image_channels, architecture.branching
    )


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
    return torch.device("cuda")
