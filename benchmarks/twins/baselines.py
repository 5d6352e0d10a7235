"""The CIFAR networks on one grid that stand beside the multigrid ones: VGG and RES.

Ke, Maire, Yu: Multigrid Neural Architectures, CVPR 2017 (arXiv 1611.07661).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.twins.multigrid import (
    PLAIN_EPS,
    RESIDUAL_EPS,
    MGResidual,
    conv_bn,
    init_multigrid,
)


class _CifarBaseline(nn.Module):
    """Five blocks on the one grid, a 2x2 max-pool after each."""

    def __init__(self, blocks: list[nn.Module], width: int, classes: int, residual: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.fc = nn.Linear(width, classes)
        init_multigrid(self, zero_linear_bias=residual)

    def features(self, image: Tensor) -> Tensor:
        for block in self.blocks:
            image = F.max_pool2d(block(image), 2, ceil_mode=True)
        return image

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.features(image), 1).flatten(1))


class CifarVGG(_CifarBaseline):
    """VGG-6/11/16/21: n conv3x3-BN-ReLU per block, widths 102 204 408 816 816."""

    def __init__(self, n: int, in_channels: int = 3, classes: int = 100) -> None:
        blocks: list[nn.Module] = []
        width = in_channels
        for out in (102, 204, 408, 816, 816):
            layers = [conv_bn(out if i else width, out, 3, PLAIN_EPS) for i in range(n)]
            blocks.append(nn.Sequential(*layers))
            width = out
        super().__init__(blocks, width, classes, residual=False)


class _OnOneGrid(nn.Module):
    """A multigrid layer used on a single tensor."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer([x])[0]


class CifarRES(_CifarBaseline):
    """RES-12/22/32/42: conv3x3-BN-ReLU, then n residual blocks per block, type A shortcuts."""

    def __init__(self, n: int, in_channels: int = 3, classes: int = 100) -> None:
        width = 64
        blocks: list[nn.Module] = []
        for out in (64, 128, 256, 512, 512):
            layers: list[nn.Module] = [
                _OnOneGrid(MGResidual([out if i else width], [out])) for i in range(n)
            ]
            if not blocks:
                layers.insert(0, conv_bn(in_channels, width, 3, RESIDUAL_EPS))
            blocks.append(nn.Sequential(*layers))
            width = out
        super().__init__(blocks, width, classes, residual=True)
