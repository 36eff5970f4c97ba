"""The layers networks are made of: conv-norm-activation, residual blocks, ASPP and its reduced form.

Parameter names inside stems and blocks are torchvision's, so that its ImageNet weights load. Each class that serves as
a searchable op names its last batch norm of the main path in `last_norm`. Sources: Sandler et al., CVPR 2018
(MobileNetV2, R-ASPP); He et al., CVPR 2016; Chen et al., ECCV 2018 (ASPP). Shapes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.dropout import _DropoutNd

Activation = type[nn.ReLU] | type[nn.ReLU6]
_M = TypeVar("_M", bound=nn.Module)

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)
"""Norms whose affine parameters `without_last_affine` can take away."""
ASPP_DROPOUT = 0.1  # the paper's value in retraining; the search sets it to 0


def conv3x3(in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution without bias that keeps the size up to its stride."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


def conv1x1(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a 1x1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch norm, activation, under the names 0, 1 and 2.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: Odd side of the kernel, in pixels; the padding keeps the size.
        stride: Input pixels per output pixel.
        dilation: Distance of the kernel's taps, in pixels.
        groups: Channel groups of the convolution; `in_channels` makes it depthwise.
        activation: Class of the activation, applied in place.
    """

    last_norm = "1"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: Activation = nn.ReLU,
    ) -> None:
        convolution = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        super().__init__(convolution, nn.BatchNorm2d(out_channels), activation(inplace=True))


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 and pointwise 1x1 convolution, each followed by batch norm and activation."""

    last_norm = "1.1"

    def __init__(self, in_channels: int, out_channels: int, *, activation: Activation = nn.ReLU6) -> None:
        super().__init__(
            ConvNormAct(in_channels, in_channels, groups=in_channels, activation=activation),
            ConvNormAct(in_channels, out_channels, kernel_size=1, activation=activation),
        )


class InvertedResidual(nn.Module):
    """The block of MobileNetV2: expand, depthwise 3x3, project linearly; added to its input where the shapes agree.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        stride: Stride of the depthwise convolution, in pixels.
        expand: Channels of the depthwise convolution per input channel; 1 leaves the expansion out.
        dilation: Dilation of the depthwise convolution, in pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expand: int, dilation: int = 1) -> None:
        super().__init__()
        hidden = in_channels * expand
        steps: list[nn.Module] = []
        if expand != 1:
            steps.append(ConvNormAct(in_channels, hidden, kernel_size=1, activation=nn.ReLU6))
        steps.append(ConvNormAct(hidden, hidden, stride=stride, dilation=dilation, groups=hidden, activation=nn.ReLU6))
        steps += [conv1x1(hidden, out_channels), nn.BatchNorm2d(out_channels)]
        self.conv = nn.Sequential(*steps)
        self.last_norm = f"conv.{len(steps) - 1}"
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the block's output, smaller than the input by the stride."""
        out_BCHW: Tensor = self.conv(x_BCHW)
        return x_BCHW + out_BCHW if self.adds_input else out_BCHW


class BasicBlock(nn.Module):
    """The two-convolution residual block of ResNet-18 and -34.

    Args:
        in_channels: C of the input.
        width: C of the output.
        stride: Stride of the first convolution, in pixels.
        dilation: Dilation of both convolutions, in pixels.
    """

    expansion = 1
    last_norm = "bn2"

    def __init__(self, in_channels: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride=stride, dilation=dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(width, width, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(in_channels, width, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the block's output, smaller than the input by the stride."""
        out_BCHW = self.relu(self.bn1(self.conv1(x_BCHW)))
        out_BCHW = self.bn2(self.conv2(out_BCHW))
        shortcut_BCHW = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        result_BCHW: Tensor = self.relu(out_BCHW + shortcut_BCHW)
        return result_BCHW


class Bottleneck(nn.Module):
    """The three-convolution residual block of ResNet-50 and -101, version 1.5: the stride sits in the 3x3.

    Args:
        in_channels: C of the input.
        width: C of the 3x3 convolution; the output has four times as many.
        stride: Stride of the 3x3 convolution, in pixels.
        dilation: Dilation of the 3x3 convolution, in pixels.
    """

    expansion = 4
    last_norm = "bn3"

    def __init__(self, in_channels: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = conv1x1(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride=stride, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(in_channels, out_channels, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the block's output, smaller than the input by the stride."""
        out_BCHW = self.relu(self.bn1(self.conv1(x_BCHW)))
        out_BCHW = self.relu(self.bn2(self.conv2(out_BCHW)))
        out_BCHW = self.bn3(self.conv3(out_BCHW))
        shortcut_BCHW = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        result_BCHW: Tensor = self.relu(out_BCHW + shortcut_BCHW)
        return result_BCHW


class ResNetStem(nn.Module):
    """The start of every ResNet: 7x7 convolution of stride 2, batch norm, ReLU, 3x3 max pooling of stride 2."""

    def __init__(self, image_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(image_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return 64 feature maps of a quarter of the image's height and width."""
        features_BCHW: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(image_BCHW))))
        return features_BCHW


class PooledBatchNorm2d(nn.BatchNorm2d):
    """Batch norm for 1x1 maps: a training batch of one image is normalised by the running statistics.

    One value per channel has no variance, and torch refuses it. Falling back keeps the norm and lets a last, lonely
    image of an epoch train; the running statistics stay as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised maps, shape as given."""
        lonely = input.shape[0] * input.shape[2] * input.shape[3] == 1
        if self.training and lonely and self.running_mean is not None:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


class ImagePooling(nn.Module):
    """Average over the whole image, 1x1 convolution, batch norm, activation, spread over all pixels again."""

    def __init__(self, in_channels: int, out_channels: int, *, activation: Activation) -> None:
        super().__init__()
        self.conv = conv1x1(in_channels, out_channels)
        self.norm = PooledBatchNorm2d(out_channels)
        self.activation = activation(inplace=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the same value at every pixel, height and width as given."""
        pooled_BC11: Tensor = self.activation(self.norm(self.conv(x_BCHW.mean((2, 3), keepdim=True))))
        return pooled_BC11.expand(-1, -1, x_BCHW.shape[2], x_BCHW.shape[3])


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1 branch, dilated 3x3 branches and image pooling, joined by a 1x1 projection.

    With no rates it is the reduced form, R-ASPP, of MobileNetV2. Its dropout is set by `set_dropout`.

    Args:
        in_channels: C of the input.
        out_channels: C of every branch and of the output.
        rates: Dilations of the 3x3 branches, in pixels of the feature map.
        activation: Class of every activation.
    """

    last_norm = "project.1"

    def __init__(self, in_channels: int, out_channels: int, *, rates: Sequence[int], activation: Activation) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvNormAct(in_channels, out_channels, kernel_size=1, activation=activation)])
        for rate in rates:
            self.branches.append(ConvNormAct(in_channels, out_channels, dilation=rate, activation=activation))
        self.pooling = ImagePooling(in_channels, out_channels, activation=activation)
        joined = (len(rates) + 2) * out_channels
        self.project = ConvNormAct(joined, out_channels, kernel_size=1, activation=activation)
        self.dropout = nn.Dropout(ASPP_DROPOUT)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the joined context of every pixel, height and width as given."""
        joined_BCHW = torch.cat([*(branch(x_BCHW) for branch in self.branches), self.pooling(x_BCHW)], dim=1)
        out_BCHW: Tensor = self.dropout(self.project(joined_BCHW))
        return out_BCHW


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Return the shortcut that brings the input to the output's shape, None where it has that shape."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(conv1x1(in_channels, out_channels, stride=stride), nn.BatchNorm2d(out_channels))


def init_like_torchvision(module: _M) -> _M:
    """Return the module with its bias-free convolutions drawn anew: normal, variance 2 / fan-out, as torchvision does.

    Convolutions with a bias are logits and keep torch's own initialisation, and so do linear layers.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.bias is None:
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return module


def without_last_affine(op: _M) -> _M:
    """Return the op with the affine parameters of the last norm of its main path taken away, in place.

    The search does so to bring all ops of a layer to one scale. Blocks of other packages may have no norm there (their
    `last_norm` is None); they stay as they are, and their ops start on one scale since they start alike.
    Source: Bruggemann et al., BMVC 2020, Sec. 4.
    """
    path: object = op.last_norm
    if path is None:
        return op
    assert isinstance(path, str), f"{type(op).__name__} names no last_norm, so it is no searchable op."
    norm = op.get_submodule(path)
    assert isinstance(norm, NORMS)
    norm.register_parameter("weight", None)
    norm.register_parameter("bias", None)
    if isinstance(norm, nn.LayerNorm):
        norm.elementwise_affine = False
    else:
        norm.affine = False
    return op


def set_dropout(module: nn.Module, p: float) -> None:
    """Set the drop probability of every ASPP inside a network; 0 switches all other dropout off too.

    Blocks of other packages keep the dropout of their own authors as long as there is to be any.

    Args:
        module: A network or a part of one.
        p: Share of values set to zero in training, in [0, 1).
    """
    for part in module.modules():
        if isinstance(part, ASPP):
            part.dropout.p = p
        elif p == 0 and isinstance(part, _DropoutNd):
            part.p = p
