"""A grouped convolution in torch, in the formulation that is fastest where it runs.

On a CPU a rule that was measured chooses one of `group_formulations`; on CUDA they are timed once
per shape, see `measured_choice`. `python -m benchmarks groups` times them against each other.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from keras_mg.ops import measured_choice
from keras_mg.ops._exporting import is_exporting
from keras_mg.ops.group_formulations import (
    FORMULATIONS,
    available,
    candidates,
    is_narrow,
    merged_groups,
)

# Of so few channels, oneDNN's gradient of the kernel of a strided 1x1 convolution writes past its
# memory on a CPU, and the process crashes (https://github.com/uxlfoundation/oneDNN/issues/6035).
_ONEDNN_CHANNELS = 16


class Choice(NamedTuple):
    """A formulation and why it is taken."""

    name: str
    reason: str


FASTEST = "fastest"  # stands for the formulation that is measured to be


def _override() -> str | None:
    name = os.environ.get("KERAS_MG_GROUP_CONVOLUTION") or None
    known = [FASTEST, *FORMULATIONS]
    if name is not None and name not in known:
        raise ValueError(
            f"KERAS_MG_GROUP_CONVOLUTION must be one of {', '.join(known)}. Received: {name}"
        )
    return name


# Read once: a choice that changed while a graph is in use would take effect in part of a model.
OVERRIDE = _override()


def choose_formulation(device_type: str, groups: int, inputs: int, outputs: int) -> Choice:
    """Which formulation a grouped convolution runs in, and why.

    Args:
        device_type: "cpu", "cuda" or another type of torch device.
        groups: number of groups.
        inputs: input channels of each group.
        outputs: output channels of each group.

    Returns:
        The name in `FORMULATIONS`, or "fastest" where they are timed, and the reason. The
        environment variable `KERAS_MG_GROUP_CONVOLUTION`, read when this module is imported, names
        another: a formulation for narrow groups, on devices that have it, or "fastest".
    """
    if groups == 1:
        return Choice("grouped", "one group is an ordinary convolution")
    if OVERRIDE == FASTEST:
        return Choice(FASTEST, "KERAS_MG_GROUP_CONVOLUTION asks for it")
    narrow = is_narrow(inputs, outputs)
    if narrow and OVERRIDE is not None and available(OVERRIDE, device_type):
        return Choice(OVERRIDE, "KERAS_MG_GROUP_CONVOLUTION asks for it")
    if inputs == outputs == 1:
        return Choice("grouped", "torch has kernels of its own for one channel per group")
    if device_type == "cuda" and OVERRIDE is None:
        if torch.are_deterministic_algorithms_enabled():
            return Choice("grouped", "deterministic algorithms are asked for, which timing is not")
        return Choice(FASTEST, "timed once per shape: keras_mg.ops.measured_choice.MEASURED")
    if not narrow:
        return Choice("grouped", "libraries are made for groups of many channels")
    if device_type != "cpu":
        return Choice("grouped", f"the formulations were not measured against it on {device_type}")
    if merged_groups(groups, inputs, outputs) == 1:
        return Choice("grouped", "merging gains nothing, or the number of groups does not divide")
    return Choice("merged", "a CPU takes as long for one narrow group as for a vector full of them")


def group_convolution(x, weight, bias, strides: int, padding: int, groups: int):
    """The convolution in the formulation that `choose_formulation` takes; in an export as it is."""
    if groups == 1 and (strides == 1 or padding > 0):
        return torch.conv2d(x, weight, bias, strides, padding)  # there is nothing to choose
    if is_exporting():
        # What is faster here would bind others, and litert-torch cannot convert how groups merge.
        return FORMULATIONS["grouped"](x, weight, bias, strides, padding, groups)
    if strides > 1 and _crashes_in_onednn(x, weight, padding):
        x, strides = x[:, :, ::strides, ::strides], 1
        x = x.contiguous(memory_format=torch.channels_last)
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    name = choose_formulation(x.device.type, groups, inputs, outputs).name
    if name == FASTEST:
        name = _fastest(x, weight, strides, padding, groups)
    return FORMULATIONS[name](x, weight, bias, strides, padding, groups)


def _crashes_in_onednn(x, weight, padding: int) -> bool:
    """Whether a strided convolution has to be one of the pixels that it reads, without strides."""
    return (
        padding == 0
        and x.shape[1] < _ONEDNN_CHANNELS  # also where all groups are convolved as one
        and weight.shape[2] == weight.shape[3] == 1
        and x.device.type == "cpu"
    )


def _fastest(x, weight, strides: int, padding: int, groups: int) -> str:
    # Tensors without values, such as those of torch's other tracers, cannot be timed.
    has_values = torch.compiler.is_dynamo_compiling() or type(x) is torch.Tensor
    if not has_values or x.device.type == "meta":
        return "grouped"
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    return measured_choice.fastest(
        ",".join(candidates(x.device.type, groups, inputs, outputs)),
        str(x.device),
        str(x.dtype).removeprefix("torch."),
        # Batches of all sizes would be timed anew.
        (1 << (x.shape[0].bit_length() - 1), *x.shape[1:]),
        tuple(weight.shape),
        strides,
        padding,
        groups,
        torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad),
    )
