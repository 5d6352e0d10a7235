"""The primitives in torch's own functions.

Every function takes and gives tensors of shape `(batch, channels, height, width)`; `data_format`
is accepted for the signature that all backends share. The functions keep the memory format of
their input, so tensors that came in channels-last stay channels-last without a copy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from keras.ops import convert_to_tensor

from keras_mg._private import Feature, missing
from keras_mg._private.keras import in_stateless_scope, scopes_are_open, tensor_of
from keras_mg.distribution.shares import synchronizes
from keras_mg.ops import _interleaving as interleaving
from keras_mg.ops import _torch_remat as torch_remat
from keras_mg.ops._exporting import is_converting, is_exporting, refuse_other_strides
from keras_mg.ops.group_convolution import group_convolution

# Whether it is known where Keras keeps values and scopes.
_ASKS_ONCE = not missing(Feature.VALUES_AT_ONCE)


def native_format(data_format: str) -> str:
    """The data format in which the primitives compute, whatever the layer's own is."""
    return "channels_first"


def to_native(x, data_format: str):
    """A `(batch, channels, height, width)` view of `x`."""
    return x.permute(0, 3, 1, 2) if data_format == "channels_last" else x


def from_native(x, data_format: str):
    """The inverse of `to_native`."""
    return x.permute(0, 2, 3, 1) if data_format == "channels_last" else x


def _tensors(x, *variables):
    """The values of variables that are to meet `x`; None stays None.

    `Variable.value` asks for scopes each time, which takes longer than some operation on a small
    tensor: here they are asked for once.
    """
    if not _ASKS_ONCE or x.is_meta or scopes_are_open():
        return [None if v is None else v.value for v in variables]
    return [None if v is None else tensor_of(v) for v in variables]


def lay_out_kernel(variable) -> None:
    """Store an HWIO kernel so that its OIHW view is channels-last: convolutions then copy less.

    Shape, values and gradients stay those of the HWIO variable; only the strides change.
    """
    parameter = variable.value
    oihw = parameter.detach().permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    parameter.data = oihw.permute(2, 3, 1, 0)


def conv2d(x, kernel, bias, strides: int, padding: int, groups: int, data_format: str):
    """Convolution with an HWIO `kernel` and `padding` zeros on each of the four sides."""
    weight, bias = _tensors(x, kernel, bias)
    if is_converting():
        refuse_other_strides(weight)
    weight = weight.permute(3, 2, 0, 1)
    if weight.shape[0] == 1:
        # The stride of an axis of size 1 means nothing, but torch guesses the memory format from
        # it, guesses wrong, and its CPU backward fails; a clone has the strides that it expects.
        weight = weight.clone(memory_format=torch.channels_last)
    return group_convolution(x, weight, bias, strides, padding, groups)


def conv2d_transpose(x, kernel, bias, strides: int, data_format: str):
    """Transposed convolution without padding; the `kernel` is `(height, width, out, in)`."""
    weight = kernel.value.permute(3, 2, 0, 1)
    return F.conv_transpose2d(x, weight, None if bias is None else bias.value, strides)


# The fewest pixels of a batch from which on `conv2d_upsampled` was measured to be faster on a CPU:
# 0.72 to 0.92 times the time at 12,544 and more, 1.02 to 1.3 times at 8,192 and fewer.
_SPLIT_PIXELS = 10_000


def splits_upsampling(x, kernel, padding: int) -> bool:
    """Whether `conv2d_upsampled` applies and is faster than its formula as written."""
    if is_exporting():
        return False  # the choice would hold for the batch that is exported
    n, _, height, width = x.shape
    whole = height % 2 == width % 2 == 0
    square = padding == 1 and tuple(kernel.shape[:2]) == (3, 3)
    return x.device.type == "cpu" and whole and square and n * height * width >= _SPLIT_PIXELS


def conv2d_upsampled(x, coarse, kernel, bias, data_format: str):
    """3x3 convolution of `x` concatenated with `coarse` upsampled by 2, which is never made.

    Each pixel of `coarse` stands under 2x2 pixels, so of the nine taps that read upsampled pixels
    some read the same one: their sum, a 4x4 transposed convolution with strides 2, needs four
    multiplications per pixel instead of nine.
    """
    own = x.shape[1]
    weight = kernel.value.permute(3, 2, 0, 1)[:, :own]
    weight = weight.contiguous(memory_format=torch.channels_last)
    y = F.conv2d(x, weight, None if bias is None else bias.value, 1, 1)
    spread = F.conv_transpose2d(coarse, _spread_kernel(kernel.value[:, :, own:]), None, 2, 1)
    return y.add_(spread)


def _spread_kernel(kernel):
    """The kernel of the transposed convolution that upsampling and an HWIO convolution make."""
    inputs, filters = kernel.shape[2:]
    # Row t: the taps of a column of three that meet in tap t of the four.
    taps = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=kernel.dtype)
    both = torch.kron(taps, taps).to(kernel.device)
    return (
        (both @ kernel.reshape(9, inputs * filters))
        .reshape(4, 4, inputs, filters)
        .permute(2, 3, 0, 1)
    )


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
    if training and synchronizes() and x.device.type != "meta":
        return _synchronized_batch_norm(
            x, gamma, beta, moving_mean, moving_variance, momentum, epsilon
        )
    scale, shift, mean, variance = _tensors(x, gamma, beta, moving_mean, moving_variance)
    samples = x.numel() // x.shape[1] if training else 0
    if training and not torch.compiler.is_compiling() and torch_remat.is_recomputing():
        # The forward pass has moved them.
        mean, variance = mean.clone(), variance.clone()
    elif training and (samples == 1 or in_stateless_scope()):
        # One sample has no unbiased variance (torch would store inf), and a stateless call must
        # hand the new statistics to the scope.
        batch_variance, batch_mean = torch.var_mean(x.detach().float(), (0, 2, 3), correction=0)
        unbiased = batch_variance * (samples / max(samples - 1, 1))
        mean, variance = mean.clone(), variance.clone()
        moving_mean.assign(torch.lerp(batch_mean, mean, momentum))
        moving_variance.assign(torch.lerp(unbiased, variance, momentum))
    return torch.batch_norm(
        x,
        scale,
        shift,
        mean,
        variance,
        training,
        1.0 - momentum,
        epsilon,
        torch.backends.cudnn.enabled,
    )


def _synchronized_batch_norm(x, gamma, beta, moving_mean, moving_variance, momentum, epsilon):
    from keras_mg.distribution.batch_norm import batch_norm

    y, mean, variance, samples = batch_norm(x, gamma.value, beta.value, epsilon)
    if torch.compiler.is_compiling() or not torch_remat.is_recomputing():
        unbiased = variance * (samples / (samples - 1).clamp(min=1))
        held = moving_mean.value, moving_variance.value
        new = mean.to(held[0].dtype), unbiased.to(held[1].dtype)
        if in_stateless_scope():
            moving_mean.assign(torch.lerp(new[0], held[0], momentum))
            moving_variance.assign(torch.lerp(new[1], held[1], momentum))
        else:
            with torch.no_grad():
                held[0].lerp_(new[0], 1.0 - momentum)
                held[1].lerp_(new[1], 1.0 - momentum)
    return y


def recomputed(function):
    """`function`, of which the backward pass keeps the inputs alone and repeats the rest."""
    return torch_remat.recomputed(function)


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
    return interleaving.interleave(x, groups)


def subsample(x, strides: int, data_format: str):
    """Every `strides`-th row and column, from the first on."""
    return x if strides == 1 else x[:, :, ::strides, ::strides]


def jacobian(function, x):
    """The derivatives of a function's outputs, a vector, with respect to the tensor `x`.

    They are of shape `(outputs, *x.shape)`.
    """
    with torch.enable_grad():
        x = convert_to_tensor(x).detach().requires_grad_()
        outputs = function(x)
        rows = [torch.autograd.grad(output, x, retain_graph=True)[0] for output in outputs]
    return torch.stack(rows)
