"""Interleaved group convolution networks in plain PyTorch.

Zhang, Qi, Xiao, Wang: Interleaved Group Convolutions, ICCV 2017 (arXiv 1707.02725).

Modules are registered in the order of the forward pass; a projection shortcut runs before the
main branch of its block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 2e-5
# Torch's momentum is the weight of the new statistics: one minus MXNet's 0.9 and 0.99.
MOMENTUM = 0.1
PLAIN_MOMENTUM = 0.01


def interleave(x: Tensor, branches: int) -> Tensor:
    """Reads the channels as (branches, C / branches) and writes them transposed."""
    n, c, h, w = x.shape
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        x = x.permute(0, 2, 3, 1).reshape(n, h, w, branches, c // branches)
        return x.transpose(3, 4).reshape(n, h, w, c).permute(0, 3, 1, 2)
    return x.reshape(n, branches, c // branches, h, w).transpose(1, 2).reshape(n, c, h, w)


def init_igc(net: nn.Module) -> None:
    """Normal convolutions of deviation sqrt(2 / fan_in); fc uniform within 1 / sqrt(in), bias 0."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            fan_in = m.weight[0].numel()
            nn.init.normal_(m.weight, std=math.sqrt(2.0 / fan_in))
        elif isinstance(m, nn.Linear):
            bound = 1.0 / math.sqrt(m.in_features)
            nn.init.uniform_(m.weight, -bound, bound)
            nn.init.zeros_(m.bias)


class ConvUnit(nn.Module):
    """One convolution without bias, batch norm, and a ReLU if asked for."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
        momentum: float = MOMENTUM,
    ) -> None:
        super().__init__()
        pad = kernel_size // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, pad, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=EPS, momentum=momentum)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        return F.relu(y, inplace=True) if self.relu else y


class IGCUnit(nn.Module):
    """Primary 3x3 group convolution, interleave, secondary 1x1 one, interleave back, BN, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        primary: int,
        secondary: int,
        stride: int = 1,
        relu: bool = True,
        momentum: float = MOMENTUM,
    ) -> None:
        super().__init__()
        self.primary = primary
        self.secondary = secondary
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=primary, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 1, groups=secondary, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=EPS, momentum=momentum)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y = interleave(self.conv1(x), self.primary)
        y = interleave(self.conv2(y), self.secondary)
        y = self.bn(y)
        return F.relu(y, inplace=True) if self.relu else y


class Residual(nn.Module):
    """Two units plus a shortcut, then ReLU."""

    def __init__(self, first: nn.Module, second: nn.Module, projection: nn.Module | None) -> None:
        super().__init__()
        self.projection = projection if projection is not None else nn.Identity()
        self.first = first
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        skip = self.projection(x)
        return F.relu(self.second(self.first(x)).add_(skip), inplace=True)


class _Classifier(nn.Module):
    """Stem, body, global average pool, fully connected layer."""

    def __init__(self, stem: nn.Module, body: list[nn.Module], width: int, classes: int) -> None:
        super().__init__()
        self.stem = stem
        self.body = nn.Sequential(*body)
        self.fc = nn.Linear(width, classes)
        init_igc(self)

    def features(self, x: Tensor) -> Tensor:
        return self.body(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


# Makes a residual block out of (in_channels, out_channels, stride, stage number).
BlockMaker = Callable[[int, int, int, int], nn.Module]


class _ImageNet18(_Classifier):
    """The depth-18 network: stem 7x7/2 and max-pool, four stages of two residual blocks."""

    def __init__(
        self,
        block: BlockMaker,
        stem_width: int,
        widths: Sequence[int],
        in_channels: int,
        classes: int,
    ) -> None:
        stem = nn.Sequential(
            ConvUnit(in_channels, stem_width, 7, 2), nn.MaxPool2d(3, stride=2, padding=1)
        )
        body = []
        width = stem_width
        for stage, out in enumerate(widths):
            body.append(block(width, out, 1 if stage == 0 else 2, stage))
            body.append(block(out, out, 1, stage))
            width = out
        super().__init__(stem, body, width, classes)


def igc_imagenet(
    stem_width: int,
    widths: Sequence[int],
    primary: Callable[[int], int],
    secondary: Callable[[int, int], int],
    in_channels: int = 3,
    classes: int = 1000,
) -> nn.Module:
    """IGC network; `primary(stage)` and `secondary(out_channels, primary)` are group counts."""

    def block(i: int, o: int, stride: int, stage: int) -> nn.Module:
        p = primary(stage)
        s = secondary(o, p)
        projection = ConvUnit(i, o, 1, stride, groups=p, relu=False) if i != o else None
        return Residual(IGCUnit(i, o, p, s, stride), IGCUnit(o, o, p, s, relu=False), projection)

    return _ImageNet18(block, stem_width, widths, in_channels, classes)


def resnet18_imagenet(width: int, in_channels: int = 3, classes: int = 1000) -> nn.Module:
    """Ordinary depth-18 residual network, with projection shortcuts where the width changes."""
    widths = [width, 2 * width, 4 * width, 8 * width]
    return _ImageNet18(_plain_residual, width, widths, in_channels, classes)


def _plain_residual(i: int, o: int, stride: int, stage: int) -> nn.Module:
    projection = ConvUnit(i, o, 1, stride, relu=False) if i != o else None
    return Residual(ConvUnit(i, o, 3, stride), ConvUnit(o, o, relu=False), projection)


IGC_L100M2 = partial(
    igc_imagenet,
    100,
    (200, 400, 800, 1600),
    primary=lambda stage: 100 * 2**stage,
    secondary=lambda out, primary: 2,
)
IGC_L16M16 = partial(
    igc_imagenet,
    256,
    (256, 512, 1024, 2048),
    primary=lambda stage: 16,
    secondary=lambda out, primary: out // primary,
)
IGC_L4M32 = partial(
    igc_imagenet,
    128,
    (128, 256, 512, 1024),
    primary=lambda stage: 4,
    secondary=lambda out, primary: out // primary,
)
IGCResNet18_C64 = partial(resnet18_imagenet, 64)
IGCResNet18_C69 = partial(resnet18_imagenet, 69)


def plain_depths(depth: int) -> list[int]:
    """Layers in each of the three stages of a network without shortcuts."""
    if depth < 5 or (depth - 2) % 3:
        raise ValueError(f"depth - 2 must be a positive multiple of 3, got depth {depth}")
    return [(depth - 2) // 3] * 3


def residual_depths(depth: int) -> list[int]:
    """Residual pairs in each of the three groups."""
    rest = depth - 2
    n1 = rest // 6
    n2 = (rest - 2 * n1) // 4
    n3 = (rest - 2 * n1 - 2 * n2) // 2
    if rest % 2 or n1 < 1:
        raise ValueError(f"depth must be even and at least 8, got {depth}")
    return [n1, n2, n3]


def _cifar(
    make: BlockMaker,
    counts: list[int],
    width: int,
    in_channels: int,
    classes: int,
    momentum: float,
) -> nn.Module:
    stem = ConvUnit(in_channels, width, momentum=momentum)
    body = []
    current = width
    for stage, count in enumerate(counts):
        out = width * 2**stage
        for _ in range(count):
            body.append(make(current, out, 2 if current != out else 1, stage))
            current = out
    return _Classifier(stem, body, current, classes)


def plain_igc(
    depth: int, primary: int, secondary: int, in_channels: int = 3, classes: int = 10
) -> nn.Module:
    """(depth - 2) / 3 IGC units per stage; the secondary group count doubles with the width."""

    def make(i: int, o: int, stride: int, stage: int) -> nn.Module:
        return IGCUnit(i, o, primary, secondary * 2**stage, stride, momentum=PLAIN_MOMENTUM)

    counts = plain_depths(depth)
    return _cifar(make, counts, primary * secondary, in_channels, classes, PLAIN_MOMENTUM)


def resnet_igc(
    depth: int, primary: int, secondary: int, in_channels: int = 3, classes: int = 10
) -> nn.Module:
    """Residual pairs of IGC units, with secondary group counts in / primary and out / primary."""

    def make(i: int, o: int, stride: int, stage: int) -> nn.Module:
        projection = ConvUnit(i, o, 1, stride, groups=primary, relu=False) if i != o else None
        return Residual(
            IGCUnit(i, o, primary, i // primary, stride),
            IGCUnit(o, o, primary, o // primary, relu=False),
            projection,
        )

    counts = residual_depths(depth)
    return _cifar(make, counts, primary * secondary, in_channels, classes, MOMENTUM)


def plain_baseline(depth: int, width: int, in_channels: int = 3, classes: int = 10) -> nn.Module:
    """`plain_igc` with one ordinary 3x3 convolution in place of each IGC unit."""

    def make(i: int, o: int, stride: int, stage: int) -> nn.Module:
        return ConvUnit(i, o, 3, stride, momentum=PLAIN_MOMENTUM)

    return _cifar(make, plain_depths(depth), width, in_channels, classes, PLAIN_MOMENTUM)


def resnet_baseline(depth: int, width: int, in_channels: int = 3, classes: int = 10) -> nn.Module:
    """`resnet_igc` with one ordinary 3x3 convolution in place of each IGC unit."""
    counts = residual_depths(depth)
    return _cifar(_plain_residual, counts, width, in_channels, classes, MOMENTUM)
