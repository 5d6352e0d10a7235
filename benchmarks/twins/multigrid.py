"""Multigrid networks in plain PyTorch: CIFAR and ImageNet classifiers and their pieces.

Ke, Maire, Yu: Multigrid Neural Architectures, CVPR 2017 (arXiv 1611.07661).

A multigrid tensor is a list of NCHW tensors, finest grid first. Modules are registered in the
order of the forward pass (finest grid first, a projection shortcut before its main branch), so
`modules()` yields convolutions and batch norms in the order in which they run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLAIN_EPS = 1e-3
RESIDUAL_EPS = 1e-5

# Widths of the first block; widths, kernel sizes and merging pool of each later one.
CIFAR_FIRST = (64, 32, 16)
CIFAR_BLOCKS = (
    ((128, 64, 32), (3, 3, 3), False),
    ((256, 128, 64), (3, 3, 3), False),
    ((512, 256, 128), (3, 3, 1), True),
    ((512, 384), (3, 1), True),
)

# What makes a layer out of its input widths and its output widths.
LayerMaker = Callable[..., nn.Module]


def init_multigrid(net: nn.Module, zero_linear_bias: bool) -> None:
    """Normal convolutions of deviation sqrt(2 / (k k out)), zero biases; the rest as Torch does."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            fan_out = m.kernel_size[0] * m.kernel_size[1] * m.out_channels
            nn.init.normal_(m.weight, std=math.sqrt(2.0 / fan_out))
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Linear) and zero_linear_bias:
            nn.init.zeros_(m.bias)


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    eps: float,
    stride: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    """Convolution with bias and padding k // 2, batch norm, and a ReLU if asked for."""
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2),
        nn.BatchNorm2d(out_channels, eps=eps),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def resample_concat(grids: Sequence[Tensor]) -> list[Tensor]:
    """Gives grid i [max-pooled grid i-1, grid i, upsampled grid i+1], concatenated on channels."""
    out = []
    for i, grid in enumerate(grids):
        parts = [grid]
        if i > 0:
            parts.insert(0, F.max_pool2d(grids[i - 1], 2, ceil_mode=True))
        if i + 1 < len(grids):
            up = F.interpolate(grids[i + 1], scale_factor=2, mode="nearest")
            if up.shape[2:] != grid.shape[2:]:
                up = up[:, :, : grid.shape[2], : grid.shape[3]]
            parts.append(up)
        out.append(torch.cat(parts, dim=1) if len(parts) > 1 else grid)
    return out


def concat_widths(widths: Sequence[int]) -> list[int]:
    """The channels of each grid after `resample_concat`."""
    return [sum(widths[max(i - 1, 0) : i + 2]) for i in range(len(widths))]


def mg_pool(grids: Sequence[Tensor], merge: bool = False) -> list[Tensor]:
    """Max-pools every grid; `merge` makes one grid of the two coarsest (the coarsest unpooled)."""
    if not merge:
        return [F.max_pool2d(grid, 2, ceil_mode=True) for grid in grids]
    pooled = [F.max_pool2d(grid, 2, ceil_mode=True) for grid in grids[:-1]]
    return [*pooled[:-1], torch.cat([pooled[-1], grids[-1]], dim=1)]


def pool_widths(widths: Sequence[int], merge: bool = False) -> list[int]:
    """The channels of each grid after `mg_pool`."""
    return [*widths[:-2], widths[-2] + widths[-1]] if merge else list(widths)


class MGInput(nn.Module):
    """Image to pyramid: grid i sees the image average-pooled by 2^i.

    The CIFAR kind is conv3x3-BN-ReLU, the ImageNet kind conv7x7/2-BN-ReLU-max-pool 3/2.
    """

    def __init__(
        self, in_channels: int, widths: Sequence[int], eps: float, imagenet: bool = False
    ) -> None:
        super().__init__()
        self.grids = nn.ModuleList(
            conv_bn(in_channels, w, 7 if imagenet else 3, eps, stride=2 if imagenet else 1)
            for w in widths
        )
        self.imagenet = imagenet

    def forward(self, image: Tensor) -> list[Tensor]:
        out = []
        for i, layer in enumerate(self.grids):
            y = layer(F.avg_pool2d(image, 2**i) if i else image)
            out.append(F.max_pool2d(y, 3, 2, 1) if self.imagenet else y)
        return out


class MGConv(nn.Module):
    """Resample-concat, then per grid its own convolution, batch norm and ReLU.

    With fewer output than input widths the coarsest grids are dropped before the resampling.
    """

    def __init__(
        self,
        in_widths: Sequence[int],
        widths: Sequence[int],
        kernel_sizes: Sequence[int] | None = None,
        *,
        eps: float,
        relu: bool = True,
    ) -> None:
        super().__init__()
        kernel_sizes = kernel_sizes or [3] * len(widths)
        in_channels = concat_widths(in_widths[: len(widths)])
        self.grids = nn.ModuleList(
            conv_bn(i, o, k, eps, relu=relu)
            for i, o, k in zip(in_channels, widths, kernel_sizes, strict=True)
        )

    def forward(self, grids: Sequence[Tensor]) -> list[Tensor]:
        grids = resample_concat(grids[: len(self.grids)])
        return [layer(grid) for layer, grid in zip(self.grids, grids, strict=True)]


class MGResidual(nn.Module):
    """Two mg-convs, plus each grid's shortcut, then ReLU (left out with `relu=False`).

    Shortcut "A": identity with channels zero-padded at the end (a 1x1 projection where the width
    shrinks); "B": a projection where the width changes; "C": a projection always.
    """

    def __init__(
        self,
        in_widths: Sequence[int],
        widths: Sequence[int],
        kernel_sizes: Sequence[int] | None = None,
        *,
        shortcut: str = "A",
        relu: bool = True,
    ) -> None:
        super().__init__()
        in_widths = in_widths[: len(widths)]
        projects = {"A": int.__gt__, "B": int.__ne__, "C": lambda i, o: True}[shortcut]
        self.shortcuts = nn.ModuleList(
            conv_bn(i, o, 1, RESIDUAL_EPS, relu=False) if projects(i, o) else nn.Identity()
            for i, o in zip(in_widths, widths, strict=True)
        )
        self.conv1 = MGConv(in_widths, widths, kernel_sizes, eps=RESIDUAL_EPS)
        self.conv2 = MGConv(widths, widths, kernel_sizes, eps=RESIDUAL_EPS, relu=False)
        self.pads = [
            max(o - i, 0) if shortcut == "A" else 0 for i, o in zip(in_widths, widths, strict=True)
        ]
        self.relu = relu

    def forward(self, grids: Sequence[Tensor]) -> list[Tensor]:
        grids = grids[: len(self.shortcuts)]
        skips = [layer(grid) for layer, grid in zip(self.shortcuts, grids, strict=True)]
        out = []
        for y, skip, pad in zip(self.conv2(self.conv1(grids)), skips, self.pads, strict=True):
            y = y.add_(F.pad(skip, (0, 0, 0, 0, 0, pad)) if pad else skip)
            out.append(F.relu(y, inplace=True) if self.relu else y)
        return out


class MGBlock(nn.Sequential):
    """`n` layers of the same widths; the first one enters with `in_widths`."""

    def __init__(
        self,
        layer: LayerMaker,
        n: int,
        in_widths: Sequence[int],
        widths: Sequence[int],
        kernel_sizes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(
            *(layer(widths if i else in_widths, widths, kernel_sizes) for i in range(n))
        )


class ProgressiveStart(nn.Module):
    """n layers on the coarsest grid, n on the two coarsest, ... while the finer grids wait.

    With `uniform` every grid in use takes the width of the finest grid in use.
    """

    def __init__(
        self, layer: LayerMaker, n: int, widths: Sequence[int], uniform: bool = False
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        current: list[int] = []
        for finest in reversed(range(len(widths))):
            entering = [widths[finest], *current]
            current = [widths[finest]] * len(entering) if uniform else list(widths[finest:])
            self.stages.append(MGBlock(layer, n, entering, current))
        self.widths = current

    def forward(self, grids: Sequence[Tensor]) -> list[Tensor]:
        current: list[Tensor] = []
        for grid, stage in zip(reversed(grids), self.stages, strict=True):
            current = stage([grid, *current])
        return current


class CifarMultigrid(nn.Module):
    """MG, P-MG, R-MG and PR-MG for 32x32 images: five blocks of n layers, a pool after each.

    A plain network's input layer is the first of its first block's n layers; a residual one has
    all n blocks after it; a progressive start takes the place of the first block's layers.
    """

    def __init__(
        self,
        n: int,
        residual: bool = False,
        progressive: bool = False,
        in_channels: int = 3,
        classes: int = 100,
    ) -> None:
        super().__init__()
        eps = RESIDUAL_EPS if residual else PLAIN_EPS
        layer: LayerMaker = MGResidual if residual else partial(MGConv, eps=eps)
        widths = list(CIFAR_FIRST)
        self.stem = MGInput(in_channels, widths, eps)
        self.blocks = nn.ModuleList()
        if progressive:
            self.blocks.append(ProgressiveStart(layer, n, widths))
        else:
            self.blocks.append(MGBlock(layer, n if residual else n - 1, widths, widths))
        for out, kernels, merge in CIFAR_BLOCKS:
            self.blocks.append(MGBlock(layer, n, widths, out, kernels))
            widths = pool_widths(out, merge)
        self.fc = nn.Linear(widths[0], classes)
        init_multigrid(self, zero_linear_bias=residual)

    def features(self, image: Tensor) -> Tensor:
        grids = mg_pool(self.blocks[0](self.stem(image)))
        for block, (_, _, merge) in zip(self.blocks[1:], CIFAR_BLOCKS, strict=True):
            grids = mg_pool(block(grids), merge)
        return grids[0]

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.features(image), 1).flatten(1))


CifarMG = partial(CifarMultigrid, residual=False, progressive=False)
CifarPMG = partial(CifarMultigrid, residual=False, progressive=True)
CifarRMG = partial(CifarMultigrid, residual=True, progressive=False)
CifarPRMG = partial(CifarMultigrid, residual=True, progressive=True)


class RMG(nn.Module):
    """R-MG for ImageNet: four stages of residual mg-convs, three pools, the last two merging."""

    WIDTHS = ((64, 32, 16), (128, 64, 32), (256, 128), (512,))
    MERGES = (False, True, True)

    def __init__(
        self,
        depths: Sequence[int],
        in_channels: int = 3,
        classes: int = 1000,
        shortcut: str = "A",
    ) -> None:
        super().__init__()
        layer = partial(MGResidual, shortcut=shortcut)
        widths = list(self.WIDTHS[0])
        self.stem = MGInput(in_channels, widths, RESIDUAL_EPS, imagenet=True)
        self.stages = nn.ModuleList()
        for i, (n, out) in enumerate(zip(depths, self.WIDTHS, strict=True)):
            if i > 0:
                widths = pool_widths(widths, self.MERGES[i - 1])
            self.stages.append(MGBlock(layer, n, widths, out))
            widths = list(out)
        self.fc = nn.Linear(widths[0], classes)
        init_multigrid(self, zero_linear_bias=True)

    def features(self, image: Tensor) -> Tensor:
        grids = self.stem(image)
        for i, stage in enumerate(self.stages):
            if i > 0:
                grids = mg_pool(grids, self.MERGES[i - 1])
            grids = stage(grids)
        return grids[0]

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.features(image), 1).flatten(1))


RMG18 = partial(RMG, (2, 2, 2, 2))
RMG34 = partial(RMG, (3, 4, 6, 3))


class PRMGSeg(nn.Module):
    """PR-MG-seg for ImageNet: four grids all the way; the classifier reads the coarsest."""

    WIDTHS = ((64, 64, 64, 128), (64, 64, 128, 256), (64, 128, 256, 512))

    def __init__(
        self,
        n: int,
        depths: Sequence[int],
        in_channels: int = 3,
        classes: int = 1000,
        shortcut: str = "B",
    ) -> None:
        super().__init__()
        layer = partial(MGResidual, shortcut=shortcut)
        widths = [64, 32, 16, 8]
        self.stem = MGInput(in_channels, widths, RESIDUAL_EPS, imagenet=True)
        self.start = ProgressiveStart(layer, n, widths, uniform=True)
        self.stages = nn.ModuleList()
        widths = self.start.widths
        for depth, out in zip(depths, self.WIDTHS, strict=True):
            self.stages.append(MGBlock(layer, depth, widths, out))
            widths = list(out)
        self.fc = nn.Linear(widths[-1], classes)
        init_multigrid(self, zero_linear_bias=True)

    def features(self, image: Tensor) -> list[Tensor]:
        """All four grids, finest first."""
        grids = self.start(self.stem(image))
        for stage in self.stages:
            grids = stage(grids)
        return grids

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.features(image)[-1], 1).flatten(1))


PRMGSeg30 = partial(PRMGSeg, 2, (2, 2, 2))
PRMGSeg52 = partial(PRMGSeg, 3, (4, 6, 3))
