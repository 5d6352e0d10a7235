"""Dense multigrid networks and U-Nets in plain PyTorch, for cluttered MNIST.

Ke, Maire, Yu: Multigrid Neural Architectures, CVPR 2017 (arXiv 1611.07661).

All of them return logits of `outputs` maps at the input's size, or with `sigmoid=True` the
probabilities. Sides of the input are multiples of 8 (of 2^(grids - 1) for P-MG and PR-MG).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.twins.multigrid import (
    PLAIN_EPS,
    RESIDUAL_EPS,
    LayerMaker,
    MGBlock,
    MGConv,
    MGInput,
    MGResidual,
    ProgressiveStart,
    conv_bn,
    init_multigrid,
    mg_pool,
)


class _SegProgressive(nn.Module):
    """Input layer, progressive start, three blocks on all grids, then one grid less per block.

    The last block is down to the finest grid, of width `outputs`; the last layer has no ReLU.
    """

    def __init__(
        self,
        layer: LayerMaker,
        last: LayerMaker,
        eps: float,
        outputs: int,
        widths: Sequence[int],
        n: int,
        in_channels: int,
        sigmoid: bool,
    ) -> None:
        super().__init__()
        widths = list(widths)
        self.stem = MGInput(in_channels, widths, eps)
        self.start = ProgressiveStart(layer, n, widths)
        blocks = [MGBlock(layer, n, widths, widths) for _ in range(3)]
        blocks += [
            MGBlock(layer, n, widths[: grids + 1], widths[:grids])
            for grids in range(len(widths) - 1, 1, -1)
        ]
        blocks.append(MGBlock(layer, n - 1, widths[:2], [outputs]))
        self.blocks = nn.Sequential(*blocks)
        self.last = last(widths[:2] if n == 1 else [outputs], [outputs])
        self.sigmoid = sigmoid
        init_multigrid(self, zero_linear_bias=True)

    def forward(self, image: Tensor) -> Tensor:
        y = self.last(self.blocks(self.start(self.stem(image))))[0]
        return torch.sigmoid(y) if self.sigmoid else y


class SegPMG(_SegProgressive):
    """P-MG: mg-convs; the very last has batch norm and no ReLU."""

    def __init__(
        self,
        outputs: int = 10,
        widths: Sequence[int] = (64, 32, 16, 8),
        n: int = 1,
        in_channels: int = 1,
        sigmoid: bool = False,
    ) -> None:
        layer = partial(MGConv, eps=PLAIN_EPS)
        last = partial(MGConv, eps=PLAIN_EPS, relu=False)
        super().__init__(layer, last, PLAIN_EPS, outputs, widths, n, in_channels, sigmoid)


class SegPRMG(_SegProgressive):
    """PR-MG: residual mg-convs; the last has 1x1 kernels and no ReLU after the sum."""

    def __init__(
        self,
        outputs: int = 10,
        widths: Sequence[int] = (64, 32, 16, 8),
        n: int = 1,
        in_channels: int = 1,
        sigmoid: bool = False,
    ) -> None:
        last = partial(MGResidual, kernel_sizes=[1], relu=False)
        super().__init__(MGResidual, last, RESIDUAL_EPS, outputs, widths, n, in_channels, sigmoid)


def up_bn(in_channels: int, out_channels: int) -> nn.Sequential:
    """Transposed convolution 2x2 of stride 2, with bias, batch norm, ReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, out_channels, 2, 2),
        nn.BatchNorm2d(out_channels, eps=PLAIN_EPS),
        nn.ReLU(inplace=True),
    )


class _UpLevel(nn.Module):
    """Raises the coarser map, joins it to the skip, [skip, up], and convolves."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.up = up_bn(coarse, fine)
        self.conv = conv_bn(2 * fine, fine, 3, PLAIN_EPS)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv(torch.cat([skip, self.up(x)], dim=1))


class SegUNet(nn.Module):
    """U-Net with one convolution per level, all of them followed by batch norm."""

    def __init__(
        self,
        outputs: int = 10,
        widths: Sequence[int] = (64, 128, 256, 512),
        in_channels: int = 1,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        ins = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            conv_bn(i, o, 3, PLAIN_EPS) for i, o in zip(ins, widths, strict=True)
        )
        self.up = nn.ModuleList(_UpLevel(coarse, fine) for fine, coarse in pairwise(widths))[::-1]
        self.last = conv_bn(widths[0], outputs, 1, PLAIN_EPS, relu=False)
        self.sigmoid = sigmoid
        init_multigrid(self, zero_linear_bias=True)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for i, layer in enumerate(self.down):
            x = layer(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for level in self.up:
            x = level(x, skips.pop())
        x = self.last(x)
        return torch.sigmoid(x) if self.sigmoid else x


class _MGUpLevel(nn.Module):
    """Raises each coarser grid, joins it to its skip, and applies an mg-conv to `widths`.

    A skip without a coarser grid (there are `len(entered)` of those) enters alone.
    """

    def __init__(
        self, coarse: Sequence[int], entered: Sequence[int], widths: Sequence[int]
    ) -> None:
        super().__init__()
        self.ups = nn.ModuleList(up_bn(i, o) for i, o in zip(coarse, entered, strict=True))
        joined = list(widths)
        for i, width in enumerate(entered):
            joined[i] += width
        self.conv = MGConv(joined, widths, eps=PLAIN_EPS)

    def forward(self, grids: Sequence[Tensor], skips: Sequence[Tensor]) -> list[Tensor]:
        joined = list(skips)
        for i, (up, grid) in enumerate(zip(self.ups, grids, strict=True)):
            joined[i] = torch.cat([skips[i], up(grid)], dim=1)
        return self.conv(joined)


class SegUMG(nn.Module):
    """The U-Net of mg-convs: three grids at its two finest levels, then two, then one.

    `widths` holds each level's widths. The pool before a level keeps as many grids as the level
    has; on the way up a grid that the level below has not is the skip alone.
    """

    def __init__(
        self,
        outputs: int = 10,
        widths: Sequence[Sequence[int]] = ((64, 32, 16), (128, 64, 32), (256, 128), (512,)),
        in_channels: int = 1,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        self.stem = MGInput(in_channels, widths[0], PLAIN_EPS)
        self.down = nn.ModuleList()
        ups: list[nn.Module] = []
        for fine, coarse in pairwise(widths):
            entered = list(fine[: len(coarse)])
            self.down.append(MGConv(entered, coarse, eps=PLAIN_EPS))
            ups.insert(0, _MGUpLevel(coarse, entered, fine))
        self.kept = [len(level) for level in widths[1:]]
        self.up = nn.ModuleList(ups)
        grids = len(widths[0])
        self.last = MGConv(widths[0], [outputs] * grids, [1] * grids, eps=PLAIN_EPS, relu=False)
        self.sigmoid = sigmoid
        init_multigrid(self, zero_linear_bias=True)

    def forward(self, image: Tensor) -> Tensor:
        grids = self.stem(image)
        skips = [grids]
        for layer, kept in zip(self.down, self.kept, strict=True):
            grids = layer(mg_pool(grids[:kept]))
            skips.append(grids)
        skips.pop()
        for level in self.up:
            grids = level(grids, skips.pop())
        y = self.last(grids)[0]
        return torch.sigmoid(y) if self.sigmoid else y
