"""Networks as people write them, after the papers: what `models.chain` must cut, and what it must refuse.

Widths and depths are small enough for tests; the structure is that of the papers and of how they are commonly coded.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class Vgg(nn.Module):
    """VGG with batch norm (Simonyan and Zisserman, ICLR 2015): one flat Sequential, then a classifier of its own."""

    def __init__(self, plan: tuple[int | str, ...], num_classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for entry in plan:
            if isinstance(entry, str):
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(channels, entry, 3, padding=1), nn.BatchNorm2d(entry), nn.ReLU(inplace=True)]
                channels = entry
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(channels * 49, 64), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(64, num_classes)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return one score per class."""
        maps = self.avgpool(self.features(image))
        scores: Tensor = self.classifier(torch.flatten(maps, 1))
        return scores


def vgg16_bn() -> nn.Module:
    """Return VGG16 with batch norm, an eighth as wide."""
    plan: tuple[int | str, ...] = (8, 8, "M", 16, 16, "M", 32, 32, 32, "M", 64, 64, 64, "M", 64, 64, 64, "M")
    return Vgg(plan)


class SqueezeExcite(nn.Module):
    """Channels weighed by what the whole image says (Hu et al., CVPR 2018), with a hard sigmoid."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, reduced, 1)
        self.fc2 = nn.Conv2d(reduced, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the weighed maps."""
        scale = functional.hardsigmoid(self.fc2(functional.relu(self.fc1(self.avgpool(maps)))))
        return scale * maps


class MobileBlock(nn.Module):
    """The inverted residual of MobileNetV3 (Howard et al., ICCV 2019)."""

    def __init__(self, channels: tuple[int, int, int], kernel: int, stride: int, squeeze: bool, hard: bool) -> None:
        super().__init__()
        taken, inner, given = channels
        activation: Callable[..., nn.Module] = nn.Hardswish if hard else nn.ReLU
        steps: list[nn.Module] = []
        if inner != taken:
            steps.append(_conv_norm(taken, inner, 1, 1, 1, activation))
        steps.append(_conv_norm(inner, inner, kernel, stride, inner, activation))
        if squeeze:
            steps.append(SqueezeExcite(inner, max(8, inner // 4)))
        steps.append(_conv_norm(inner, given, 1, 1, 1, nn.Identity))
        self.block = nn.Sequential(*steps)
        self.use_res_connect = stride == 1 and taken == given

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's maps."""
        result: Tensor = self.block(maps)
        if self.use_res_connect:
            result += maps
        return result


def _conv_norm(
    taken: int, given: int, kernel: int, stride: int, groups: int, activation: Callable[..., nn.Module]
) -> nn.Sequential:
    """Return convolution, norm and activation as one Sequential."""
    steps: list[nn.Module] = [
        nn.Conv2d(taken, given, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(given, eps=0.001, momentum=0.01),
    ]
    if activation is not nn.Identity:
        steps.append(activation(inplace=True))
    return nn.Sequential(*steps)


class MobileNetV3(nn.Module):
    """MobileNetV3-Small's sequence of blocks, with the last convolution and the classifier."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        blocks = (
            ((8, 8, 8), 3, 2, True, False),
            ((8, 36, 12), 3, 2, False, False),
            ((12, 44, 12), 3, 1, False, False),
            ((12, 48, 20), 5, 2, True, True),
            ((20, 60, 20), 5, 1, True, True),
            ((20, 60, 24), 5, 1, True, True),
            ((24, 72, 24), 5, 1, True, True),
            ((24, 72, 48), 5, 2, True, True),
            ((48, 144, 48), 5, 1, True, True),
        )
        steps: list[nn.Module] = [_conv_norm(3, 8, 3, 2, 1, nn.Hardswish)]
        steps += [MobileBlock(*block) for block in blocks]
        steps.append(_conv_norm(48, 96, 1, 1, 1, nn.Hardswish))
        self.features = nn.Sequential(*steps)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(96, 64), nn.Hardswish(inplace=True), nn.Dropout(p=0.2, inplace=True), nn.Linear(64, num_classes)
        )
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out")
            elif isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, 0, 0.01)

    def forward(self, image: Tensor) -> Tensor:
        """Return one score per class."""
        maps = self.avgpool(self.features(image))
        scores: Tensor = self.classifier(torch.flatten(maps, 1))
        return scores


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of maps, which stand in the second place."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalised maps."""
        last = functional.layer_norm(maps.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return last.permute(0, 3, 1, 2)


class StochasticDepth(nn.Module):
    """A branch left out at random, image by image, in training only (Huang et al., ECCV 2016)."""

    def __init__(self, drop: float) -> None:
        super().__init__()
        self.drop = drop

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps, those of some images set to zero."""
        if not self.training or self.drop == 0.0:
            return maps
        kept = torch.rand(maps.shape[0], 1, 1, 1, dtype=maps.dtype, device=maps.device) >= self.drop
        return maps * kept / (1 - self.drop)


class ConvNextBlock(nn.Module):
    """The block of ConvNeXt (Liu et al., CVPR 2022): depthwise 7x7, layer norm, two linear layers, layer scale."""

    def __init__(self, channels: int, drop: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(1e-6 * torch.ones(channels))
        self.drop_path = StochasticDepth(drop)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's maps."""
        last = self.dwconv(maps).permute(0, 2, 3, 1)
        last = self.gamma * self.pwconv2(self.act(self.pwconv1(self.norm(last))))
        dropped: Tensor = self.drop_path(last.permute(0, 3, 1, 2))
        return maps + dropped


class ConvNext(nn.Module):
    """ConvNeXt: stages behind downsampling layers that are kept in lists beside them."""

    def __init__(self, depths: tuple[int, ...] = (1, 1, 3, 1), widths: tuple[int, ...] = (8, 16, 32, 64)) -> None:
        super().__init__()
        self.downsample_layers = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=4), ChannelNorm(widths[0], eps=1e-6))]
        )
        for before, after in pairwise(widths):
            self.downsample_layers.append(
                nn.Sequential(ChannelNorm(before, eps=1e-6), nn.Conv2d(before, after, 2, stride=2))
            )
        rates = [rate.item() for rate in torch.linspace(0, 0.2, sum(depths))]
        self.stages = nn.ModuleList()
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            first = sum(depths[:stage])
            self.stages.append(nn.Sequential(*(ConvNextBlock(width, rates[first + at]) for at in range(depth))))
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], 10)
        self.apply(self._init_weights)

    def _init_weights(self, part: nn.Module) -> None:
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            assert part.bias is not None
            nn.init.constant_(part.bias, 0)

    def forward(self, image: Tensor) -> Tensor:
        """Return one score per class."""
        maps = image
        for stage in range(4):
            maps = self.downsample_layers[stage](maps)
            maps = self.stages[stage](maps)
        scores: Tensor = self.head(self.norm(maps.mean([-2, -1])))
        return scores


class ResNextBlock(nn.Module):
    """The grouped bottleneck of ResNeXt (Xie et al., CVPR 2017)."""

    def __init__(self, taken: int, width: int, given: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(taken, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, given, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(given)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or taken != given:
            self.downsample = nn.Sequential(nn.Conv2d(taken, given, 1, stride, bias=False), nn.BatchNorm2d(given))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's maps."""
        identity = maps
        out = self.relu(self.bn1(self.conv1(maps)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(maps)
        out += identity
        result: Tensor = self.relu(out)
        return result


class ResNext(nn.Module):
    """ResNeXt with the last norm of every residual at zero, as large-batch training likes it."""

    def __init__(self, depths: tuple[int, ...] = (2, 2, 2, 1), groups: int = 4) -> None:
        super().__init__()
        self.inplanes = 16
        self.conv1 = nn.Conv2d(3, 16, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._make_layer(8, depths[0], 1, groups)
        self.layer2 = self._make_layer(16, depths[1], 2, groups)
        self.layer3 = self._make_layer(32, depths[2], 2, groups)
        self.layer4 = self._make_layer(64, depths[3], 2, groups)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(self.inplanes, 10)
        for part in self.modules():
            if isinstance(part, ResNextBlock):
                nn.init.constant_(part.bn3.weight, 0)

    def _make_layer(self, width: int, depth: int, stride: int, groups: int) -> nn.Sequential:
        blocks = []
        for index in range(depth):
            blocks.append(ResNextBlock(self.inplanes, width, 4 * width, stride if index == 0 else 1, groups))
            self.inplanes = 4 * width
        return nn.Sequential(*blocks)

    def forward(self, image: Tensor) -> Tensor:
        """Return one score per class."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        scores: Tensor = self.fc(torch.flatten(self.avgpool(maps), 1))
        return scores


class DenseLayer(nn.Module):
    """One layer of a dense block, fed with all maps before it."""

    def __init__(self, taken: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(taken)
        self.conv1 = nn.Conv2d(taken, 2 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * growth)
        self.conv2 = nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return the new maps."""
        narrow = self.conv1(functional.relu(self.norm1(torch.cat(maps, 1))))
        new: Tensor = self.conv2(functional.relu(self.norm2(narrow)))
        return functional.dropout(new, p=0.1, training=self.training)


class DenseBlock(nn.ModuleDict):
    """Layers that all see each other (Huang et al., CVPR 2017)."""

    def __init__(self, num_layers: int, taken: int, growth: int) -> None:
        super().__init__()
        for index in range(num_layers):
            self.add_module(f"denselayer{index + 1}", DenseLayer(taken + index * growth, growth))

    def forward(self, maps: Tensor) -> Tensor:
        """Return all maps, old and new."""
        collected = [maps]
        for layer in self.values():
            collected.append(layer(collected))
        return torch.cat(collected, 1)


class DenseNet(nn.Module):
    """Three dense blocks with transitions between them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        channels = 16
        for index, depth in enumerate((2, 3, 2)):
            self.features.add_module(f"denseblock{index + 1}", DenseBlock(depth, channels, 8))
            channels += 8 * depth
            if index < 2:
                transition = nn.Sequential(
                    nn.BatchNorm2d(channels),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(channels, channels // 2, 1, bias=False),
                    nn.AvgPool2d(2, 2),
                )
                self.features.add_module(f"transition{index + 1}", transition)
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return one score per class."""
        maps = functional.relu(self.features(image), inplace=True)
        scores: Tensor = self.classifier(torch.flatten(functional.adaptive_avg_pool2d(maps, (1, 1)), 1))
        return scores


class UNet(nn.Module):
    """A U-shaped network (Ronneberger et al., MICCAI 2015): early maps are needed until the very end."""

    def __init__(self) -> None:
        super().__init__()
        self.inc = _double(3, 8)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), _double(8, 16))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), _double(16, 16))
        self.up1 = _double(32, 8)
        self.up2 = _double(16, 8)
        self.outc = nn.Conv2d(8, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return one score per pixel and class."""
        first = self.inc(image)
        second = self.down1(first)
        third = self.down2(second)
        wide = functional.interpolate(third, scale_factor=2.0)
        wide = self.up1(torch.cat([second, wide], 1))
        wide = functional.interpolate(wide, scale_factor=2.0)
        scores: Tensor = self.outc(self.up2(torch.cat([first, wide], 1)))
        return scores


def _double(taken: int, given: int) -> nn.Sequential:
    """Return two convolutions with norms and activations."""
    return nn.Sequential(
        *(nn.Conv2d(taken, given, 3, padding=1, bias=False), nn.BatchNorm2d(given), nn.ReLU(inplace=True)),
        *(nn.Conv2d(given, given, 3, padding=1, bias=False), nn.BatchNorm2d(given), nn.ReLU(inplace=True)),
    )


class ShuffleBlock(nn.Module):
    """The block of ShuffleNet V2 (Ma et al., ECCV 2018): half of the channels pass, then all are shuffled."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        half = channels // 2
        self.stride = stride
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(
                *(nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), nn.BatchNorm2d(channels)),
                *(nn.Conv2d(channels, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True)),
            )
        self.branch2 = nn.Sequential(
            *(nn.Conv2d(channels if stride > 1 else half, half, 1, bias=False), nn.BatchNorm2d(half)),
            *(nn.ReLU(inplace=True), nn.Conv2d(half, half, 3, stride, 1, groups=half, bias=False)),
            *(nn.BatchNorm2d(half), nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True)),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the shuffled maps."""
        if self.stride == 1:
            kept, changed = maps.chunk(2, dim=1)
            out = torch.cat((kept, self.branch2(changed)), dim=1)
        else:
            out = torch.cat((self.branch1(maps), self.branch2(maps)), dim=1)
        batch, channels, height, width = out.size()
        out = out.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return out.view(batch, channels, height, width)


def shufflenet() -> nn.Module:
    """Return a small ShuffleNet V2."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)),
        *(ShuffleBlock(16, 2), ShuffleBlock(16, 1), ShuffleBlock(16, 2), ShuffleBlock(16, 1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )


class AuxiliaryNet(ResNext):
    """A ResNeXt whose classifier gives one score more in training."""

    def forward(self, image: Tensor) -> Tensor:
        """Return scores, and in training pooled features beside them."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        pooled = torch.flatten(self.avgpool(maps), 1)
        if self.training:
            return self.fc(pooled), pooled  # type: ignore[return-value]
        scores: Tensor = self.fc(pooled)
        return scores


def no_norm() -> nn.Module:
    """Return a plain chain of convolutions without any norm."""
    steps: list[nn.Module] = []
    for taken, given, stride in ((3, 8, 1), (8, 8, 2), (8, 16, 1), (16, 16, 2), (16, 16, 1)):
        steps += [nn.Conv2d(taken, given, 3, stride, 1), nn.ReLU()]
    return nn.Sequential(*steps)


def small() -> nn.Module:
    """Return residual blocks for small images of one channel, as in the digits dataset."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        *(ResNextBlock(8, 8, 8, 2, 2), ResNextBlock(8, 8, 8, 1, 2), ResNextBlock(8, 8, 16, 2, 2)),
        *(ResNextBlock(16, 8, 16, 1, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )


def restless() -> nn.Module:
    """Return blocks for images of one channel that leave themselves out at random in training."""
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), *(ConvNextBlock(8, 0.5) for _ in range(4)))
