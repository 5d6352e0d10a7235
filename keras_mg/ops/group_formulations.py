"""The exact formulations of a grouped convolution (torch).

All take `(x, weight, bias, strides, padding, groups)`: `x` is `(batch, channels, height, width)` in
either memory format, `weight` is `(filters, channels / groups, height, width)`, and `bias` may be
None. Group `g` convolves its own `channels / groups` inputs to its own `filters / groups` outputs.
They give the numbers and gradients of `torch.nn.functional.conv2d(groups=groups)` up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F

from keras_mg.ops import _triton_convolution as triton_convolution

Formulation = Callable[..., torch.Tensor]

# Channels of a vector register of float32: a CPU's convolution of a narrower group takes as long.
_VECTOR_CHANNELS = 8
# Channels of merged groups, for matrix units.
_MERGED_CHANNELS = (16, 32, 64)


def grouped(x, weight, bias, strides: int, padding: int, groups: int):
    """The library's own grouped convolution."""
    return F.conv2d(x, weight, bias, strides, padding, groups=groups)


def merged(x, weight, bias, strides: int, padding: int, groups: int, channels: int | None = None):
    """Neighbouring groups convolved as one, with zeros from group to group.

    As many of them as fill `channels`, by default those of a CPU's vectors.
    """
    count = merged_groups(groups, weight.shape[1], weight.shape[0] // groups, channels)
    weight = merge_groups(weight, groups, count)
    return F.conv2d(x, weight, bias, strides, padding, groups=groups // count)


def dense(x, weight, bias, strides: int, padding: int, groups: int):
    """All groups convolved as one, with zeros from group to group."""
    return F.conv2d(x, merge_groups(weight, groups, groups), bias, strides, padding)


def depthwise(x, weight, bias, strides: int, padding: int, groups: int):
    """One depthwise convolution per input channel of a group, summed.

    The i-th reads the i-th input of each group, repeated for each of the group's outputs.
    """
    n, _, height, width = x.shape
    filters, inputs = weight.shape[:2]
    members = x.permute(0, 2, 3, 1).reshape(n, height, width, groups, inputs)
    y = None
    for i in range(inputs):
        member = members[..., i, None].expand(-1, -1, -1, -1, filters // groups)
        member = member.reshape(n, height, width, filters).permute(0, 3, 1, 2)
        # The first takes the bias along.
        first = bias if y is None else None
        term = F.conv2d(member, weight[:, i, None], first, strides, padding, groups=filters)
        y = term if y is None else y + term
    return y


def einsum(x, weight, bias, strides: int, padding: int, groups: int):
    """One product of matrices per group and kernel pixel, on the channels-last view of `x`."""
    height, width = x.shape[2:]
    filters, inputs, rows, columns = weight.shape
    x = F.pad(x, (padding,) * 4).permute(0, 2, 3, 1).unflatten(3, (groups, inputs))
    weight = weight.unflatten(0, (groups, filters // groups))
    below = height + 2 * padding - rows + 1
    right = width + 2 * padding - columns + 1
    y = None
    for r in range(rows):
        for c in range(columns):
            pixels = x[:, r : r + below : strides, c : c + right : strides]
            term = torch.einsum("nhwgi,goi->nhwgo", pixels, weight[..., r, c])
            y = term if y is None else y + term
    assert y is not None
    return _add_bias(y.flatten(3).permute(0, 3, 1, 2), bias)


def triton(x, weight, bias, strides: int, padding: int, groups: int):
    """A kernel that computes all groups side by side; sums are float32 whatever the inputs are."""
    return _add_bias(
        triton_convolution.group_convolution(x, weight, strides, padding, groups), bias
    )


def _add_bias(y, bias):
    return y if bias is None else y + bias[:, None, None]


FORMULATIONS: dict[str, Formulation] = {
    "grouped": grouped,
    "merged": merged,
    **{f"merged_{c}": functools.partial(merged, channels=c) for c in _MERGED_CHANNELS},
    "dense": dense,
    "depthwise": depthwise,
    "einsum": einsum,
    "triton": triton,
}


def is_narrow(inputs: int, outputs: int) -> bool:
    """Whether groups of so many channels leave a CPU's vectors or a GPU's matrix units idle."""
    return max(inputs, outputs) < _VECTOR_CHANNELS


def available(name: str, device_type: str) -> bool:
    """Whether a formulation runs on devices of this type on this machine."""
    return name != "triton" or triton_convolution.runs_on(device_type)


def candidates(device_type: str, groups: int, inputs: int, outputs: int) -> list[str]:
    """The formulations worth timing: of those that come to the same, and in wide groups, some."""
    if not is_narrow(inputs, outputs):
        # The others would take minutes for hundreds of channels.
        return ["grouped", "dense", "einsum"]
    found, counts = [], {1, groups}
    for name, function in FORMULATIONS.items():
        if isinstance(function, functools.partial) or name == "merged":
            channels = getattr(function, "keywords", {}).get("channels")
            count = merged_groups(groups, inputs, outputs, channels)
            if count in counts:
                continue
            counts.add(count)
        if available(name, device_type):
            found.append(name)
    return found


def merged_groups(groups: int, inputs: int, outputs: int, channels: int | None = None) -> int:
    """How many neighbouring groups of so many channels each are convolved as one.

    As many as have at most `channels`; if None, what a CPU gains from: as many as fill a vector
    register with inputs, and at most two registers with outputs, and none of half a register.
    """
    if channels is not None:
        most = max(1, channels // max(inputs, outputs))
        return max(m for m in range(1, most + 1) if groups % m == 0)
    if inputs == outputs == 1 or 2 * inputs >= _VECTOR_CHANNELS or not is_narrow(inputs, outputs):
        return 1
    most = max(1, min(_VECTOR_CHANNELS // inputs, 2 * _VECTOR_CHANNELS // outputs))
    return max(m for m in range(1, most + 1) if groups % m == 0)


def merge_groups(weight, groups: int, merged: int):
    """The OIHW kernel of the same convolution in fewer groups: zero from group to group."""
    if merged == 1:
        return weight
    filters, inputs, *window = weight.shape
    diagonal = torch.eye(merged, dtype=weight.dtype, device=weight.device)
    blocks = weight.reshape(groups // merged, merged, filters // groups, 1, inputs, *window)
    blocks = blocks * diagonal.reshape(1, merged, 1, merged, 1, 1, 1)
    blocks = blocks.reshape(filters, merged * inputs, *window)
    return blocks.contiguous(memory_format=torch.channels_last)
