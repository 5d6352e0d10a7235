"""`(x - mean) / std`, of arrays and of tensors."""

from __future__ import annotations

import keras
import numpy as np

from keras_mg.ops._constants import constant_like


def normalize(x, mean: np.ndarray, std: np.ndarray):
    """`(x - mean) / std` in floating point; `x` is unchanged.

    Args:
        x: NumPy array or tensor. Integers become float32, in a tensor `keras.config.floatx()`.
        mean: float32 array that broadcasts against `x`.
        std: likewise.

    Returns:
        An array or tensor of the shape of `x`.
    """
    if isinstance(x, np.ndarray):
        dtype = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype("float32")
        return ((x.astype(dtype) - mean) / std).astype(dtype)
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        x = keras.ops.cast(x, keras.config.floatx())
    return (x - constant_like(mean, x)) / constant_like(std, x)
