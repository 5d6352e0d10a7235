"""The Torch seed's residual networks of 6n + 2 layers in plain PyTorch.

He, Zhang, Ren, Sun: Deep Residual Learning, 2015, as re-implemented for Torch7: the last block
of each group widens, and the last of all narrows to 10 channels. In the form that its author
corrected later, the first block of the next group widens, and none narrows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = ("bn_before_add", "bn_after_add")


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1)


class TorchBlock(nn.Module):
    """conv-BN-ReLU-conv, then BN and shortcut in either order, then ReLU if `final_relu`."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, block: str, final_relu: bool
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.missing = out_channels - in_channels
        self.bn_before_add = block == "bn_before_add"
        self.final_relu = final_relu

    def shortcut(self, x: Tensor) -> Tensor:
        """Subsampled, with channels zero-padded at the end, or the first channels alone."""
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.missing > 0:
            return F.pad(x, (0, 0, 0, 0, 0, self.missing))
        return x[:, : self.missing] if self.missing < 0 else x

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True))
        skip = self.shortcut(x)
        y = self.bn2(y) + skip if self.bn_before_add else self.bn2(y + skip)
        return F.relu(y, inplace=True) if self.final_relu else y


class TorchResNet(nn.Module):
    """Groups of widths 16, 32 and 64, of `n` blocks each, then average pool and Linear(10)."""

    def __init__(
        self,
        n: int,
        block: str = "bn_before_add",
        final_relu: bool = True,
        in_channels: int = 3,
        classes: int = 10,
        last_width: int = 10,
        corrected: bool = False,
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ValueError(f"block must be one of {BLOCKS}, got {block!r}")
        make = partial(TorchBlock, block=block, final_relu=final_relu)
        self.stem = nn.Sequential(
            conv3x3(in_channels, 16), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        if corrected:
            last_width, width = 64, 16
            for out in (16, 32, 64):
                blocks.append(make(width, out, 1 if out == width else 2))
                blocks += [make(out, out, 1) for _ in range(n - 1)]
                width = out
        else:
            for width, out, stride in ((16, 32, 2), (32, 64, 2), (64, last_width, 1)):
                blocks += [make(width, width, 1) for _ in range(n - 1)]
                blocks.append(make(width, out, stride))
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(last_width, classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d | nn.Linear):
                nn.init.normal_(m.weight, std=math.sqrt(2.0 / m.weight[0].numel()))
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.normal_(m.weight, mean=1.0, std=0.002)

    def features(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


ResNet20 = partial(TorchResNet, 3)
ResNet32 = partial(TorchResNet, 5)
ResNet44 = partial(TorchResNet, 7)
ResNet56 = partial(TorchResNet, 9)
ResNet110 = partial(TorchResNet, 18)


class AttributeNet(nn.Module):
    """Stages of residual blocks with heads of which each attribute has one; logits."""

    STAGES = ((64, 3), (128, 4), (256, 4), (512, 3))

    def __init__(
        self, version: int = 4, levels: Sequence[int] | None = None, classes: int = 64
    ) -> None:
        super().__init__()
        self.levels = levels
        self.stem = nn.Conv2d(3, 64, 7, 2, 3)
        self.stages, self.heads = nn.ModuleList(), nn.ModuleList()
        width = 64
        for s, (out, blocks) in enumerate(self.STAGES[:version], 1):
            make = partial(TorchBlock, block="bn_before_add", final_relu=True)
            stage = [make(width, out, 2 if s > 1 else 1)]
            stage += [make(out, out, 1) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(*stage))
            width = out
            if levels or s == version:
                # A linear layer, as a convolution of one pixel.
                head = nn.Sequential(nn.Conv2d(out, classes, 1), nn.BatchNorm2d(classes))
                self.heads.append(head)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        answers = []
        for stage in self.stages:
            x = stage(x)
            if self.levels:
                answers.append(self.heads[len(answers)](x.mean((2, 3), keepdim=True)).flatten(1))
        if not self.levels:
            return self.heads[0](x.mean((2, 3), keepdim=True)).flatten(1)
        return torch.stack([answers[s - 1][:, i] for i, s in enumerate(self.levels)], 1)
