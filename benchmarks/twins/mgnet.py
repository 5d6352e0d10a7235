"""MgNet in plain PyTorch.

He, Xu: MgNet, Science China Mathematics 62(7), 2019; He, Chen, Zhang, Xu (arXiv 1911.10428).

The formulas stand here as the paper has them: every A(u) is computed where it is written, the
first one (of u = 0) included. Modules are registered at their first use in the forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEMS = ("cifar", "mnist", "imagenet")


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)


class Smoothing(nn.Module):
    """One iteration u <- u + ReLU(BN2(B(ReLU(BN1(f - A(u)))))), with A handed in by its grid."""

    def __init__(self, channels: int, b: nn.Conv2d) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.b = b
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, u: Tensor, f: Tensor, a: nn.Module) -> Tensor:
        r = F.relu(self.bn1(f - a(u)), inplace=True)
        return u + F.relu(self.bn2(self.b(r)), inplace=True)


class Restriction(nn.Module):
    """u' = ReLU(BN(Pi(u))); f' = ReLU(BN(R(f - A_old(u)))) + A_new(u')."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pi = conv3x3(in_channels, out_channels, stride=2)
        self.bn_pi = nn.BatchNorm2d(out_channels)
        self.r = conv3x3(in_channels, out_channels, stride=2)
        self.bn_r = nn.BatchNorm2d(out_channels)

    def forward(
        self, u: Tensor, f: Tensor, a_old: nn.Module, a_new: nn.Module
    ) -> tuple[Tensor, Tensor]:
        u_new = F.relu(self.bn_pi(self.pi(u)), inplace=True)
        f_new = F.relu(self.bn_r(self.r(f - a_old(u))), inplace=True) + a_new(u_new)
        return u_new, f_new


class Grid(nn.Module):
    """The convolution A of one grid and its smoothing iterations."""

    def __init__(self, channels: int, iterations: int, share_smoother: bool) -> None:
        super().__init__()
        self.a = conv3x3(channels, channels)
        b = conv3x3(channels, channels)
        self.iterations = nn.ModuleList(
            Smoothing(channels, b if share_smoother or i == 0 else conv3x3(channels, channels))
            for i in range(iterations)
        )

    def forward(self, u: Tensor, f: Tensor) -> Tensor:
        for smooth in self.iterations:
            u = smooth(u, f, self.a)
        return u


class MgNet(nn.Module):
    """MgNet[iterations]-filters-B^l (`share_smoother`) or -B^{l,i}, with its linear classifier."""

    def __init__(
        self,
        iterations: Sequence[int] = (2, 2, 2, 2),
        filters: int | Sequence[int] = 256,
        share_smoother: bool = True,
        stem: str = "cifar",
        in_channels: int | None = None,
        classes: int = 10,
    ) -> None:
        super().__init__()
        if stem not in STEMS:
            raise ValueError(f"stem must be one of {STEMS}, got {stem!r}")
        widths = [filters] * len(iterations) if isinstance(filters, int) else list(filters)
        if in_channels is None:
            in_channels = 1 if stem == "mnist" else 3
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, widths[0], 7, 2, 3, bias=False)
            if stem == "imagenet"
            else conv3x3(in_channels, widths[0]),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        if stem == "imagenet":
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.stem = nn.Sequential(*layers)
        # Grids and restrictions alternate in one list, in the order in which they are first used.
        self.stages = nn.ModuleList()
        for level, (width, nu) in enumerate(zip(widths, iterations, strict=True)):
            if level > 0:
                self.stages.append(Restriction(widths[level - 1], width))
            self.stages.append(Grid(width, nu, share_smoother))
        self.fc = nn.Linear(widths[-1], classes)

    def features(self, image: Tensor) -> Tensor:
        f = self.stem(image)
        grid = self.stages[0]
        u = grid(torch.zeros_like(f), f)
        for restrict, new in zip(self.stages[1::2], self.stages[2::2], strict=True):
            u, f = restrict(u, f, grid.a, new.a)
            u = new(u, f)
            grid = new
        return u

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.features(image), 1).flatten(1))
