"""Turning, shearing and scaling images by the exact formulas of cluttered MNIST.

They are those of the generator of Ke, Maire and Yu, "Multigrid Neural Architectures" (CVPR 2017,
https://arxiv.org/abs/1611.07661), pixel for pixel, so other libraries' operations, which round and
repeat edges otherwise, do not do.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from keras_mg.layers.arguments import one_of, positive_int


def rotate(image, angle: float) -> np.ndarray:
    """An image turned about its centre, nearest neighbour; what leaves the frame is lost.

    Output `(y, x)` reads the source at `x' = cos t (x - c) - sin t (y - c) + c` and
    `y' = cos t (y - c) + sin t (x - c) + c`, each rounded to the nearest integer, halves away from
    zero; outside of the frame it is 0.

    Args:
        image: float array `(..., height, width)`. `c` is half of `side - 1`, 13.5 for 28 pixels.
        angle: `t`, in radians.

    Returns:
        An array of that shape and type.

    Raises:
        ValueError: if the image has not two axes or more, or the angle is not finite.

    Example:

    >>> from keras_mg.datasets.digit_operations import rotate
    >>> import numpy as np
    >>> rotate(np.array([[1.0, 2.0], [3.0, 4.0]]), np.pi / 2).tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """
    image = _image(image)
    y, x, cy, cx = _coordinates(image)
    cos, sin = math.cos(_finite("angle", angle)), math.sin(angle)
    columns = _round(cos * (x - cx) - sin * (y - cy) + cx)
    rows = _round(cos * (y - cy) + sin * (x - cx) + cy)
    height, width = image.shape[-2:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    places = np.where(inside, rows * width + columns, 0)
    turned = image.reshape(*image.shape[:-2], -1)[..., places]
    return np.where(inside, turned, np.zeros((), image.dtype))


def shear(image, angle: float, axis: int) -> np.ndarray:
    """An image sheared about its centre, bilinear; the pixels of the frame's edge are repeated.

    Output `(y, x)` reads `(y', x') - c = M ((y, x) - c)`, where M is `[[1, tan t], [0, 1]]` for
    axis 0, so rows shift with the column, or its transpose for axis 1, so columns shift with the
    row.

    Args:
        image: float array `(..., height, width)`; `c` as of `rotate`.
        angle: `t`, in radians.
        axis: 0 or 1.

    Returns:
        An array of that shape and type.

    Raises:
        ValueError: if the image has not two axes or more, the angle is not finite, or there is no
            such axis.

    Example:

    >>> from keras_mg.datasets.digit_operations import shear
    >>> import numpy as np
    >>> shear(np.array([[1.0, 2.0], [3.0, 4.0]]), np.pi / 4, axis=0).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    image = _image(image)
    y, x, cy, cx = _coordinates(image)
    slope = math.tan(_finite("angle", angle))
    if one_of("axis", axis, (0, 1)) == 0:
        y = (y - cy) + slope * (x - cx) + cy
    else:
        x = (x - cx) + slope * (y - cy) + cx
    height, width = image.shape[-2:]
    top, bottom, down = _neighbours(y, height)
    left, right, across = _neighbours(x, width)
    flat = image.reshape(*image.shape[:-2], -1)
    upper = flat[..., top * width + left] * (1 - across) + flat[..., top * width + right] * across
    lower = (
        flat[..., bottom * width + left] * (1 - across) + flat[..., bottom * width + right] * across
    )
    return (upper * (1 - down) + lower * down).astype(image.dtype)


def scale(image, side: int) -> np.ndarray:
    """An image at another size, as Torch7 scales it.

    Enlarging is linear between aligned corners: position i of `side` is the source's
    `i * (source - 1) / (side - 1)`. Shrinking is the average over the area. Rows come first, then
    columns. (Cluttered MNIST then divides by the maximum; this does not.)

    Args:
        image: float array `(..., height, width)`.
        side: int, height and width of the result in pixels.

    Returns:
        An array `(..., side, side)` of the image's type.

    Raises:
        ValueError: if the image has not two axes or more, or `side` is no integer of at least 1.

    Example:

    >>> from keras_mg.datasets.digit_operations import scale
    >>> import numpy as np
    >>> scale(np.array([[0.0, 2.0], [4.0, 6.0]]), 3).tolist()
    [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 6.0]]
    >>> scale(np.array([[0.0, 2.0], [4.0, 6.0]]), 1).tolist()
    [[3.0]]
    """
    image = _image(image)
    side = positive_int("side", side)
    height, width = image.shape[-2:]
    return (_weights(height, side) @ (image @ _weights(width, side).T)).astype(image.dtype)


def centre(side: int, canvas: int = 64) -> int:
    """The first row (and column) of a digit in the middle of a canvas, counted from 0.

    It is `ceil((canvas - side) / 2) - 1`, and at least 0.

    Args:
        side: int, of the digit, in pixels.
        canvas: int, of the canvas. Defaults to 64.

    Raises:
        ValueError: if the digit is larger than the canvas, or a side is no integer of at least 1.

    Example:

    >>> from keras_mg.datasets.digit_operations import centre
    >>> centre(28, 64), centre(64, 64)
    (17, 0)
    """
    side, canvas = positive_int("side", side), positive_int("canvas", canvas)
    if side > canvas:
        raise ValueError(
            f"The digit must fit the canvas. Received: side={side}, canvas={canvas} (pixels)"
        )
    return max(math.ceil((canvas - side) / 2) - 1, 0)


def _image(image) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim < 2 or 0 in image.shape[-2:]:
        raise ValueError(f"The image must have a height and a width. Received shape: {image.shape}")
    return image if np.issubdtype(image.dtype, np.floating) else image.astype("float64")


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite. Received: {value}")
    return value


def _coordinates(image: np.ndarray):
    """Rows, columns, and those of the centre."""
    height, width = image.shape[-2:]
    y, x = np.arange(height, dtype="float64")[:, None], np.arange(width, dtype="float64")[None, :]
    return y, x, (height - 1) / 2, (width - 1) / 2


def _round(values: np.ndarray) -> np.ndarray:
    """To the nearest integer, halves away from zero (NumPy's own goes to the even one)."""
    whole = np.trunc(values)
    # The difference is exact; adding a half would carry 0.49999999999999994 to 1.
    whole += np.sign(values) * (np.abs(values - whole) >= 0.5)
    return whole.astype("int64")


def _neighbours(places: np.ndarray, length: int):
    """The two pixels around each place, the edge's repeated, and how far the place is between."""
    places = np.clip(places, 0, length - 1)
    first = np.floor(places).astype("int64")
    return first, np.minimum(first + 1, length - 1), places - first


@functools.lru_cache(maxsize=256)
def _weights(source: int, side: int) -> np.ndarray:
    """The matrix `(side, source)` that scales an axis."""
    weights = np.zeros((side, source))
    rows = np.arange(side)
    if side >= source:
        places = rows * (source - 1) / max(side - 1, 1)
        first, second, part = _neighbours(places, source)
        weights[rows, first] += 1 - part
        weights[rows, second] += part
    else:
        step = source / side
        edges = np.arange(source)
        # The part of each source pixel, [j, j + 1], in the area of each pixel of the result.
        begin = np.maximum(edges[None, :], rows[:, None] * step)
        end = np.minimum(edges[None, :] + 1, (rows[:, None] + 1) * step)
        weights = np.maximum(end - begin, 0) / step
    weights.flags.writeable = False
    return weights
