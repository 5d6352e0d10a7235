"""Small arrays that come back in every batch."""

from __future__ import annotations

import keras
import numpy as np


def constant_like(array: np.ndarray, like):
    """An array as a tensor with the type, and on torch on the device, of another.

    Args:
        array: few numbers that come back in every batch.
        like: a tensor of floats.

    Returns:
        A tensor of the array's shape. On torch it is copied to the device once.
    """
    # A symbolic tensor is on no device.
    if keras.backend.backend() == "torch" and keras.ops.is_tensor(like):
        from keras_mg.ops import _torch_constants

        return _torch_constants.constant(array, like)
    return keras.ops.convert_to_tensor(array, keras.backend.standardize_dtype(like.dtype))
