"""The primitives in `keras.ops`, for every backend but torch. Same signatures as `torch_ops`."""

from __future__ import annotations

import keras
from keras import ops


def native_format(data_format: str) -> str:
    """The data format in which the primitives compute: on JAX the layer's own.

    On a CPU TensorFlow's convolutions and pools are for channels last alone.
    """
    return "channels_last" if keras.backend.backend() == "tensorflow" else data_format


def to_native(x, data_format: str):
    """`x` in the format in which the primitives compute."""
    return x if data_format == native_format(data_format) else ops.transpose(x, (0, 2, 3, 1))


def from_native(x, data_format: str):
    """The inverse of `to_native`."""
    return x if data_format == native_format(data_format) else ops.transpose(x, (0, 3, 1, 2))


def lay_out_kernel(variable) -> None:
    """Nothing to do: other backends choose their memory layout when they compile."""


def _channel_axis(data_format: str) -> int:
    return 3 if data_format == "channels_last" else 1


def _spatial_pad(padding: int, data_format: str):
    side = (padding, padding)
    if data_format == "channels_last":
        return ((0, 0), side, side, (0, 0))
    return ((0, 0), (0, 0), side, side)


def conv2d(x, kernel, bias, strides: int, padding: int, groups: int, data_format: str):
    """Convolution with an HWIO `kernel` and `padding` zeros on each of the four sides."""
    if padding:
        x = ops.pad(x, _spatial_pad(padding, data_format))
    # keras.ops.conv takes the number of groups from the shapes of input and kernel.
    y = ops.conv(x, ops.convert_to_tensor(kernel), strides, "valid", data_format)
    return _add_bias(y, bias, data_format)


def _add_bias(x, bias, data_format: str):
    if bias is None:
        return x
    shape = [1, 1, 1, 1]
    shape[_channel_axis(data_format)] = -1
    return x + ops.reshape(ops.convert_to_tensor(bias), shape)


def conv2d_transpose(x, kernel, bias, strides: int, data_format: str):
    """Transposed convolution without padding; the `kernel` is `(height, width, out, in)`."""
    kernel = ops.convert_to_tensor(kernel)
    y = ops.conv_transpose(x, kernel, strides, "valid", data_format=data_format)
    return _add_bias(y, bias, data_format)


def splits_upsampling(x, kernel, padding: int) -> bool:
    """Whether `conv2d_upsampled` is faster than its formula as written: not measured here."""
    return False


def conv2d_upsampled(x, coarse, kernel, bias, data_format: str):
    """3x3 convolution of `x` concatenated with `coarse` upsampled by 2."""
    rows, columns = (1, 2) if data_format == "channels_last" else (2, 3)
    above = upsample(coarse, x.shape[rows], x.shape[columns], data_format)
    return conv2d(concatenate([x, above], data_format), kernel, bias, 1, 1, 1, data_format)


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
    axis = _channel_axis(data_format)
    dtype = x.dtype
    x = ops.cast(x, keras.backend.result_type(dtype, "float32"))
    if training:
        axes = tuple(i for i in range(4) if i != axis)
        mean, variance = ops.moments(x, axes)
        # The batch axis may be unknown while TensorFlow traces.
        samples = ops.cast(ops.size(x), mean.dtype) / x.shape[axis]
        unbiased = variance * (samples / ops.maximum(samples - 1, 1))
        moving_mean.assign(moving_mean * momentum + mean * (1.0 - momentum))
        moving_variance.assign(moving_variance * momentum + unbiased * (1.0 - momentum))
    else:
        mean, variance = moving_mean, moving_variance
    y = ops.batch_normalization(x, mean, variance, axis, beta, gamma, epsilon)
    return ops.cast(y, dtype)


def recomputed(function):
    """`function`, of which the backward pass keeps the inputs alone and repeats the rest."""
    return keras.remat(function)


def relu(x):
    """ReLU."""
    return ops.relu(x)


def add_channels(x, shortcut, data_format: str):
    """`x + shortcut`; a shortcut with fewer channels is zero-padded, with more it is cut."""
    axis = _channel_axis(data_format)
    width, given = x.shape[axis], shortcut.shape[axis]
    if given < width:
        pad = [(0, 0)] * 4
        pad[axis] = (0, width - given)
        shortcut = ops.pad(shortcut, pad)
    elif given > width:
        shortcut = ops.take(shortcut, list(range(width)), axis)
    return x + shortcut


def concatenate(tensors, data_format: str):
    """Concatenate along channels."""
    return tensors[0] if len(tensors) == 1 else ops.concatenate(tensors, _channel_axis(data_format))


def max_pool(x, pool_size: int, strides: int, padding: int, ceil_mode: bool, data_format: str):
    """Max-pooling; `padding` on each side and what ceil mode adds count as minus infinity."""
    if padding:
        x = ops.pad(x, _spatial_pad(padding, data_format), constant_values=float("-inf"))
    # With window = stride, "same" adds what ceil mode adds: at the end, and as minus infinity.
    return ops.max_pool(x, pool_size, strides, "same" if ceil_mode else "valid", data_format)


def average_pool(x, pool_size: int, data_format: str):
    """Average-pooling with window = stride; rows and columns that are left over are dropped."""
    if pool_size == 1:
        return x
    return ops.average_pool(x, pool_size, pool_size, "valid", data_format)


def upsample(x, height: int, width: int, data_format: str):
    """Nearest-neighbour upsampling by 2, cut to `height` x `width`."""
    rows, columns = (1, 2) if data_format == "channels_last" else (2, 3)
    y = ops.repeat(ops.repeat(x, 2, rows), 2, columns)
    if data_format == "channels_last":
        return y[:, :height, :width, :]
    return y[:, :, :height, :width]


def interleave(x, groups: int, data_format: str):
    """Channel `a * (channels / groups) + b` moves to `b * groups + a`."""
    axis = _channel_axis(data_format)
    shape = ops.shape(x)  # where TensorFlow builds a graph, sides may be tensors
    split = (*shape[:axis], groups, x.shape[axis] // groups, *shape[axis + 1 :])
    order = list(range(5))
    order[axis], order[axis + 1] = axis + 1, axis
    return ops.reshape(ops.transpose(ops.reshape(x, split), order), shape)


def subsample(x, strides: int, data_format: str):
    """Every `strides`-th row and column, from the first on."""
    if data_format == "channels_last":
        return x[:, ::strides, ::strides, :]
    return x[:, :, ::strides, ::strides]


def jacobian(function, x):
    """The derivatives of a function's outputs, a vector, with respect to the tensor `x`.

    They are of shape `(outputs, *x.shape)`.
    """
    if keras.backend.backend() != "jax":
        raise NotImplementedError(
            f"Derivatives are computed by torch and jax. Received: {keras.backend.backend()}"
        )
    import jax

    return jax.jacrev(function)(ops.convert_to_tensor(x))
