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


def normalize_images(x, mean: np.ndarray, std: np.ndarray, data_format: str):
    """`(x - mean) / std` of images, by statistics whose channels come last.

    Args:
        x: array or tensor, 3D or 4D.
        mean: `(channels,)`, or `(height, width, channels)` for one number per pixel.
        std: of that shape, `(channels,)`, or one number.
        data_format: "channels_last" or "channels_first", of `x`.

    Returns:
        An array or tensor of the same shape, floating point; `x` is unchanged.

    Raises:
        ValueError: if the images are not of the shape that the mean has.
    """
    mean, std = (_as_image(np.asarray(a, "float32"), data_format) for a in (mean, std))
    shape, expected = tuple(getattr(x, "shape", ())), mean.shape
    fits = all(of in (1, side) for side, of in zip(shape[-3:], expected, strict=False))
    if len(shape) not in (3, 4) or not fits:
        raise ValueError(
            f"The images must have the shape of the mean, {expected} ({data_format}; 1 is for "
            f"any), with or without a batch axis. Received shape: {shape}"
        )
    return normalize(x, mean, std)


def _as_image(statistics: np.ndarray, data_format: str) -> np.ndarray:
    """Three axes that broadcast against an image's."""
    image = statistics.reshape((1,) * (3 - statistics.ndim) + statistics.shape)
    if data_format == "channels_first":
        image = np.ascontiguousarray(np.moveaxis(image, -1, 0))
    return image
