"""The formulations of a grouped convolution against each other, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from benchmarks.settings import Settings
from keras_mg.ops import _interleaving as interleaving
from keras_mg.ops import group_convolution as gc
from keras_mg.ops import group_formulations as gf

BATCH = {"cpu": 4, "cuda": 128}
STAGES = ((200, 56), (400, 28), (800, 14), (1600, 7))  # of IGC_L100M2: filters, side of the outputs
SECONDARY_PARTITIONS = 2


@dataclass(frozen=True)
class Layer:
    """A grouped convolution of IGC_L100M2."""

    role: str
    groups: int
    inputs: int  # of each group
    outputs: int
    kernel_size: int
    strides: int
    side: int  # of its outputs

    @property
    def name(self) -> str:
        size, filters = self.kernel_size, self.groups * self.outputs
        return (
            f"{self.role} {size}x{size}, {self.groups} groups of {self.inputs} to {self.outputs}, "
            f"{filters} at {self.side}x{self.side}"
        )


def layers() -> list[Layer]:
    found = []
    for stage, (filters, side) in enumerate(STAGES):
        primary, strides = filters // 2, 1 if stage == 0 else 2
        narrow = filters // SECONDARY_PARTITIONS
        found += [
            Layer("primary", primary, 2, 2, 3, 1, side),
            Layer("widening", primary, 1, 2, 3, strides, side),
            Layer("projection", primary, 1, 2, 1, strides, side),
            Layer("secondary", SECONDARY_PARTITIONS, narrow, narrow, 1, 1, side),
        ]
    return found


@dataclass(frozen=True)
class Unit:
    """A primary 3x3 and a secondary 1x1 group convolution, each with a reordering behind it."""

    network: str
    filters: int
    primary: int  # partitions
    secondary: int
    side: int

    @property
    def name(self) -> str:
        return (
            f"unit of {self.network}, {self.filters} at {self.side}x{self.side} "
            f"in {self.primary} and {self.secondary} partitions"
        )

    def behind_primary(self, x, weight):
        y = interleaving.interleave(x, self.primary)
        y = gc.group_convolution(y, weight, None, 1, 0, self.secondary)
        return interleaving.interleave(y, self.secondary)

    def as_it_runs(self, x, primary, secondary):
        y = gc.group_convolution(x, primary, None, 1, 1, self.primary)
        return self.behind_primary(y, secondary)

    def compose(self, primary, secondary):
        """The kernel of the one dense 3x3 convolution that gives the same numbers.

        What stands behind the primary convolution works on each pixel alone, so on each tap.
        """
        kernel = gf.merge_groups(primary, self.primary, self.primary).transpose(0, 1)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        kernel = self.behind_primary(kernel, secondary).transpose(0, 1)
        return kernel.contiguous(memory_format=torch.channels_last)


# The first stages: composing pays the least where groups are narrow, the most where they are wide.
UNITS = (Unit("IGC_L100M2", 200, 100, 2, 56), Unit("IGC_L4M32", 128, 4, 32, 56))


def _random(*shape: int, settings: Settings) -> torch.Tensor:
    dtype = torch.bfloat16 if settings.device == "cuda" else torch.float32
    x = torch.randn(shape, device=settings.device, dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def _forward(function, inputs, arguments):
    def run():
        with torch.no_grad():
            return function(*inputs, *arguments)

    return run


def _both(function, inputs, arguments, gradient):
    return lambda: torch.autograd.grad(function(*inputs, *arguments), inputs, gradient)


def _time(settings: Settings, name: str, functions, inputs, arguments):
    with torch.no_grad():
        gradient = torch.randn_like(next(iter(functions.values()))(*inputs, *arguments))
    runs = {n: _forward(f, inputs, arguments) for n, f in functions.items()}
    both = {n: _both(f, inputs, arguments, gradient) for n, f in functions.items()}
    yield settings.time(f"{name}: forward", runs)
    yield settings.time(f"{name}: forward and backward", both)


def _reordered(x, groups: int):
    """The reordering as it is usually written."""
    n, channels, height, width = x.shape
    y = x.permute(0, 2, 3, 1).reshape(n, height, width, groups, channels // groups)
    return y.transpose(3, 4).reshape(n, height, width, channels).permute(0, 3, 1, 2)


def groups(settings: Settings):
    """The formulations of IGC_L100M2's group convolutions, its reordering, and composed units."""
    n = settings.batch or BATCH[settings.device]
    for layer in layers():
        side = layer.side * layer.strides
        size = layer.kernel_size
        x = _random(n, layer.groups * layer.inputs, side, side, settings=settings)
        filters = layer.groups * layer.outputs
        weight = _random(filters, layer.inputs, size, size, settings=settings)
        arguments = (None, layer.strides, size // 2, layer.groups)
        names = gf.candidates(settings.device, layer.groups, layer.inputs, layer.outputs)
        functions = {name: gf.FORMULATIONS[name] for name in names}
        chosen = gc.choose_formulation(settings.device, layer.groups, layer.inputs, layer.outputs)
        name = f"{layer.name} (runs {chosen.name})"
        yield from _time(settings, name, functions, (x, weight), arguments)
    for filters, side in STAGES:
        x = _random(n, filters, side, side, settings=settings)
        functions = {"reshaped": _reordered, "keras_mg": interleaving.interleave}
        for partitions in (filters // 2, SECONDARY_PARTITIONS):
            name = f"reordering of {filters} in {partitions} at {side}x{side}"
            yield from _time(settings, name, functions, (x,), (partitions,))
    for unit in UNITS:
        yield _composed(settings, unit, n)


def _composed(settings: Settings, unit: Unit, n: int):
    """An IGC unit as it runs against one dense convolution, whose kernel is made beforehand."""
    x = _random(n, unit.filters, unit.side, unit.side, settings=settings)
    primary = _random(unit.filters, unit.filters // unit.primary, 3, 3, settings=settings)
    secondary = _random(unit.filters, unit.filters // unit.secondary, 1, 1, settings=settings)
    with torch.no_grad():
        kernel = unit.compose(primary, secondary)
    functions = {
        "two group convolutions": _forward(unit.as_it_runs, (x, primary, secondary), ()),
        "composed": _forward(F.conv2d, (x, kernel), (None, 1, 1)),
    }
    return settings.time(f"{unit.name}: forward", functions)
