"""Image normalisation shared by the families' `preprocess_input`."""

from __future__ import annotations

import numpy as np

from keras_mg import ops
from keras_mg.layers import arguments


def normalize(x, mean, std, data_format: str | None):
    """`(x - mean) / std` per channel, of numpy arrays (copied) and of tensors.

    Args:
        x: images with values 0 to 255, 3D or 4D, the channels where `data_format` says.
        mean: one number per channel, in 0 to 255.
        std: one number per channel, in 0 to 255.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.

    Returns:
        An array or tensor of x's shape, floating point.

    Raises:
        ValueError: if `x` is not 3D or 4D, holds no numbers, or has another number of channels than
            `mean`.
    """
    data_format = arguments.standardize_data_format(data_format)
    if isinstance(x, (list, tuple)):
        raise ValueError(
            "preprocess_input takes 3D or 4D images, as an array or a tensor; `np.stack` makes one "
            f"of images of one size. Received: a {type(x).__name__} of {len(x)}"
        )
    if not hasattr(x, "shape"):
        raise ValueError(
            "preprocess_input takes 3D or 4D images, as an array or a tensor. "
            f"Received: {x!r} of type {type(x).__name__}"
        )
    if getattr(x.dtype, "kind", "f") in "OSUMm":
        raise ValueError(
            f"preprocess_input takes images of numbers in 0 to 255. Received: dtype {x.dtype}"
        )
    shape = tuple(x.shape)
    if len(shape) not in (3, 4):
        raise ValueError(f"preprocess_input takes 3D or 4D images. Received shape: {shape}")
    axis = -1 if data_format == "channels_last" else -3
    if shape[axis] != len(mean):
        raise ValueError(
            f"preprocess_input: images need {len(mean)} channels on axis {axis} "
            f"(data_format={data_format!r}). Received shape: {shape}"
        )
    per_channel = (len(mean),) if axis == -1 else (len(mean), 1, 1)
    mean = np.reshape(np.asarray(mean, "float32"), per_channel)
    std = np.reshape(np.asarray(std, "float32"), per_channel)
    return ops.normalize(x, mean, std)
