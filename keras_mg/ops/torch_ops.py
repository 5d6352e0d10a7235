"""The primitives in torch's own functions.

Every function takes and gives tensors of shape `(batch, channels, height, width)`; `data_format`
is accepted for the signature that all backends share. The functions keep the memory format of
their input, so tensors that came in channels-last stay channels-last without a copy.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

# Under a StatelessScope variables must not change in place, and Keras has no public test for it.
from keras.src.backend.common.stateless_scope import in_stateless_scope


def native_format(data_format: str) -> str:
    """The data format in which the primitives compute, whatever the layer's own is."""
    return "channels_first"


def to_native(x, data_format: str):
    """A `(batch, channels, height, width)` view of `x`."""
    return x.permute(0, 3, 1, 2) if data_format == "channels_last" else x


def from_native(x, data_format: str):
    """The inverse of `to_native`."""
    return x.permute(0, 2, 3, 1) if data_format == "channels_last" else x


def lay_out_kernel(variable) -> None:
    """Store an HWIO kernel so that its OIHW view is channels-last: convolutions then copy less.

    Shape, values and gradients stay those of the HWIO variable; only the strides change.
    """
    parameter = variable.value
    oihw = parameter.detach().permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    parameter.data = oihw.permute(2, 3, 1, 0)


def conv2d(x, kernel, bias, strides: int, padding: int, groups: int, data_format: str):
    """Convolution with an HWIO `kernel` and `padding` zeros on each of the four sides."""
    weight = kernel.value.permute(3, 2, 0, 1)
    if weight.shape[0] == 1:
        # The stride of an axis of size 1 means nothing, but torch guesses the memory format from
        # it, guesses wrong, and its CPU backward fails; a clone has the strides that it expects.
        weight = weight.clone(memory_format=torch.channels_last)
    if groups > 1 and x.device.type == "cpu":
        merged = _merged_groups(groups, weight.shape[1], weight.shape[0] // groups)
        weight, groups = _merge_groups(weight, groups, merged), groups // merged
    return F.conv2d(
        x, weight, None if bias is None else bias.value, strides, padding, groups=groups
    )


# Channels of a vector register of float32: a CPU's convolution of a narrower group takes as long.
_VECTOR_CHANNELS = 8


@functools.cache
def _merged_groups(groups: int, inputs: int, outputs: int) -> int:
    """How many neighbouring groups of so many channels each are convolved as one on a CPU.

    As many as fill a vector register. Measured on networks with two channels per group, this takes
    between 1.0 (56x56 pixels) and 0.5 (7x7) times as long as the groups apart, forward and
    backward, and blocks of more than 16 channels take longer. Torch has kernels of its own for one
    channel per group.
    """
    if inputs == outputs == 1:
        return 1
    most = max(1, _VECTOR_CHANNELS // max(inputs, outputs))
    return max(m for m in range(1, most + 1) if groups % m == 0)


def _merge_groups(weight, groups: int, merged: int):
    """The OIHW kernel of the same convolution in fewer groups: zero from group to group."""
    if merged == 1:
        return weight
    filters, inputs, *window = weight.shape
    diagonal = torch.eye(merged, dtype=weight.dtype, device=weight.device)
    blocks = weight.reshape(groups // merged, merged, filters // groups, 1, inputs, *window)
    blocks = blocks * diagonal.reshape(1, merged, 1, merged, 1, 1, 1)
    blocks = blocks.reshape(filters, merged * inputs, *window)
    return blocks.contiguous(memory_format=torch.channels_last)


def conv2d_transpose(x, kernel, bias, strides: int, data_format: str):
    """Transposed convolution without padding; the `kernel` is `(height, width, out, in)`."""
    weight = kernel.value.permute(3, 2, 0, 1)
    return F.conv_transpose2d(x, weight, None if bias is None else bias.value, strides)


def batch_norm(
    x,
    gamma,
    beta,
    moving_mean,
    moving_variance,
    training: bool,
    momentum: float,
    epsilon: float,
    data_format: str,
):
    """Batch norm over all axes but channels; in training it moves the two statistics."""
    mean, variance = moving_mean.value, moving_variance.value
    samples = x.shape[0] * x.shape[2] * x.shape[3]
    if training and (samples == 1 or in_stateless_scope()):
        # One sample has no unbiased variance (torch would store inf), and a stateless call must
        # hand the new statistics to the scope.
        batch_variance, batch_mean = torch.var_mean(x.detach().float(), (0, 2, 3), correction=0)
        unbiased = batch_variance * (samples / max(samples - 1, 1))
        mean, variance = mean.clone(), variance.clone()
        moving_mean.assign(torch.lerp(batch_mean, mean, momentum))
        moving_variance.assign(torch.lerp(unbiased, variance, momentum))
    return torch.batch_norm(
        x,
        gamma.value,
        beta.value,
        mean,
        variance,
        training,
        1.0 - momentum,
        epsilon,
        torch.backends.cudnn.enabled,
    )


def relu(x):
    """ReLU of a tensor that nobody else holds: in place, which halves its memory."""
    return torch.relu_(x)


def add_channels(x, shortcut, data_format: str):
    """`x + shortcut`; a shortcut with fewer channels is zero-padded, with more it is cut.

    `x` must be held by nobody else: it is changed in place.
    """
    width, given = x.shape[1], shortcut.shape[1]
    if given < width:
        shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, width - given))
    elif given > width:
        shortcut = shortcut[:, :width]
    return x.add_(shortcut)


def concatenate(tensors, data_format: str):
    """Concatenate along channels."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, 1)


def max_pool(x, pool_size: int, strides: int, padding: int, ceil_mode: bool, data_format: str):
    """Max-pooling; `padding` on each side and what ceil mode adds count as minus infinity."""
    return F.max_pool2d(x, pool_size, strides, padding, ceil_mode=ceil_mode)


def average_pool(x, pool_size: int, data_format: str):
    """Average-pooling with window = stride; rows and columns that are left over are dropped."""
    return x if pool_size == 1 else F.avg_pool2d(x, pool_size)


def upsample(x, height: int, width: int, data_format: str):
    """Nearest-neighbour upsampling by 2, cut to `height` x `width`."""
    y = F.interpolate(x, scale_factor=2.0, mode="nearest")
    if y.shape[2] != height or y.shape[3] != width:
        y = y[:, :, :height, :width]
    return y


def interleave(x, groups: int, data_format: str):
    """Channel `a * (channels / groups) + b` moves to `b * groups + a`."""
    n, channels, height, width = x.shape
    if x.is_contiguous(memory_format=torch.channels_last):
        # On the NHWC view the reshapes move channels only; on NCHW they would change the layout.
        y = x.permute(0, 2, 3, 1).reshape(n, height, width, groups, channels // groups)
        return y.transpose(3, 4).reshape(n, height, width, channels).permute(0, 3, 1, 2)
    y = x.reshape(n, groups, channels // groups, height, width).transpose(1, 2)
    return y.reshape(n, channels, height, width)


def subsample(x, strides: int, data_format: str):
    """Every `strides`-th row and column, from the first on."""
    return x if strides == 1 else x[:, :, ::strides, ::strides]
