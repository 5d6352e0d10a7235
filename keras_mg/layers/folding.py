"""A batch norm in inference as arithmetic of the convolution before it."""

from __future__ import annotations

import keras
import numpy as np


def _array(variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), "float64")


def _affine(norm) -> tuple[np.ndarray, np.ndarray]:
    """The scale and shift per channel that a batch norm is in inference."""
    scale = 1 / np.sqrt(_array(norm.moving_variance) + norm.epsilon)
    if norm.gamma is not None:
        scale = _array(norm.gamma) * scale
    shift = -_array(norm.moving_mean) * scale
    return scale, shift if norm.beta is None else _array(norm.beta) + shift


def fold_norm(target, convolution, norm, axis: int = 3, order=None) -> None:
    """Give `target` the kernel and bias of `convolution` followed by `norm`.

    Args:
        target: a layer with `kernel` and `bias` of the convolution's shapes, which may be it.
        convolution: a layer with `kernel`, and with `bias` or None.
        norm: a layer with the variables and the `epsilon` of a batch norm.
        axis: the kernel's axis of output channels. Defaults to 3.
        order: for each output channel of the convolution its place in the batch norm, or None
            where that is the same.
    """
    scale, shift = _affine(norm)
    if order is not None:
        scale, shift = scale[order], shift[order]
    if convolution.bias is not None:
        shift = shift + _array(convolution.bias) * scale
    shape = [1] * 4
    shape[axis] = -1
    target.kernel.assign(_array(convolution.kernel) * scale.reshape(shape))
    target.bias.assign(shift)
