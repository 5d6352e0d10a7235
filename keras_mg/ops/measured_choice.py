"""The fastest formulation of a grouped convolution on a device, found by timing all of them once.

How a library's grouped convolutions compare with the other formulations differs from device to
device, and on a GPU from shape to shape, so no table would be right for long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

from keras_mg.ops.group_formulations import FORMULATIONS

ROUNDS = 5
# A formulation that took so many times as long as the fastest at its first timed run is out.
HOPELESS = 3.0

# What was found, for whoever wants to know: of (device, type, sizes of the input, filters, rows,
# columns, strides, padding, groups, whether gradients were computed, too), the milliseconds of each
# formulation, fastest first.
MEASURED: dict[tuple, dict[str, float]] = {}


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def _work(function, x, weight, arguments: tuple, gradients: bool) -> Callable[[], object]:
    if not gradients:
        return lambda: function(x, weight, None, *arguments)

    def both():
        y = function(x, weight, None, *arguments)
        return torch.autograd.grad(y, (x, weight), torch.ones_like(y))

    return both


def _time(
    formulations: Mapping[str, Callable],
    device: torch.device,
    dtype: torch.dtype,
    sizes: tuple[int, ...],
    weight_sizes: tuple[int, ...],
    arguments: tuple,
    gradients: bool,
) -> dict[str, float]:
    """Milliseconds of the formulations that run, fastest first."""

    def operand(shape):
        values = torch.ones(shape, device=device, dtype=dtype)
        return values.contiguous(memory_format=torch.channels_last).requires_grad_(gradients)

    x, weight = operand(sizes), operand(weight_sizes)
    found: dict[str, float] = {}
    for name, function in formulations.items():
        work = _work(function, x, weight, arguments, gradients)
        try:
            work()  # what is compiled or loaded at the first run is not counted
            seconds = [_seconds(work, device)]
            if not found or seconds[0] < HOPELESS * min(found.values()) / 1e3:
                seconds += [_seconds(work, device) for _ in range(ROUNDS - 1)]
        except Exception:
            continue  # out of memory, or a compiler that is missing: there are others
        found[name] = 1e3 * median(seconds)
    return dict(sorted(found.items(), key=lambda item: item[1]))


@torch.compiler.assume_constant_result
def fastest(
    names: str,
    device: str,
    dtype: str,
    sizes: tuple[int, ...],
    weight_sizes: tuple[int, ...],
    strides: int,
    padding: int,
    groups: int,
    gradients: bool,
) -> str:
    """The name of the fastest formulation for a convolution; timed at the first call alone.

    While a graph is captured this runs once, for real, and the graph holds what it found.

    Args:
        names: formulations of `keras_mg.ops.group_formulations`, with commas between them.
        device: of the input, such as "cuda:0".
        dtype: likewise, such as "bfloat16".
        sizes: of the input, `(batch, channels, height, width)`.
        weight_sizes: of the kernel, `(filters, channels / groups, height, width)`.
        strides: of the convolution.
        padding: zeros on each side.
        groups: number of groups.
        gradients: whether the backward pass is timed, too.

    Returns:
        One of `names`; the first of them if none runs.
    """
    key = (device, dtype, sizes, weight_sizes, strides, padding, groups, gradients)
    if key not in MEASURED:
        # Whatever surrounds the convolution: its own passes are timed.
        with (
            torch.inference_mode(False),
            torch.set_grad_enabled(gradients),
            torch.autocast(torch.device(device).type, enabled=False),
        ):
            MEASURED[key] = _time(
                {name: FORMULATIONS[name] for name in names.split(",")},
                torch.device(device),
                getattr(torch, dtype),
                sizes,
                weight_sizes,
                (strides, padding, groups),
                gradients,
            )
    return next(iter(MEASURED[key]), names.split(",")[0])
