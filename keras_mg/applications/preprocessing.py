"""Image normalisation shared by the families' `preprocess_input`."""

from __future__ import annotations

import keras
import numpy as np

from keras_mg.layers import arguments
from keras_mg.ops import constant_like


def normalize(x, mean, std, data_format: str | None):
    """`(x - mean) / std` per channel or per pixel, of numpy arrays (copied) and of tensors.

    Args:
        x: images with values 0 to 255, 3D or 4D, the channels where `data_format` says.
        mean: one number per channel, in 0 to 255, or an image of numbers, channels last.
        std: likewise, or one number for all.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.

    Returns:
        An array or tensor of x's shape, floating point.

    Raises:
        ValueError: if `x` is not 3D or 4D, has another number of channels than `mean`, or another
            shape than a `mean` image.
    """
    data_format = arguments.standardize_data_format(data_format)
    mean, std = np.asarray(mean, "float32"), np.asarray(std, "float32")
    shape = tuple(x.shape)
    if len(shape) not in (3, 4):
        raise ValueError(f"preprocess_input takes 3D or 4D images. Received shape: {shape}")
    channels = mean.shape[-1]
    axis = -1 if data_format == "channels_last" else -3
    if shape[axis] != channels:
        raise ValueError(
            f"preprocess_input: images need {channels} channels on axis {axis} "
            f"(data_format={data_format!r}). Received shape: {shape}"
        )
    mean, std = (_as_images(array, axis) for array in (mean, std))
    if mean.ndim == 3 and mean.size > channels and mean.shape != shape[-3:]:
        raise ValueError(
            f"preprocess_input: the mean image has shape {mean.shape} "
            f"(data_format={data_format!r}). Received shape: {shape}"
        )
    if isinstance(x, np.ndarray):
        x = x.astype(x.dtype if np.issubdtype(x.dtype, np.floating) else "float32")
        return ((x - mean) / std).astype(x.dtype)
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        x = keras.ops.cast(x, keras.config.floatx())
    return (x - constant_like(mean, x)) / constant_like(std, x)


def _as_images(statistics: np.ndarray, axis: int) -> np.ndarray:
    """Numbers per channel, or per pixel with the channels last, as they lie in an image."""
    if axis == -1 or not statistics.ndim:
        return statistics
    if statistics.ndim == 1:
        return statistics[:, None, None]
    return np.ascontiguousarray(np.moveaxis(statistics, -1, 0))
