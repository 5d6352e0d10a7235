"""Random crops and mirrors: drawn on the host, made where the images are."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np

from keras_mg.layers.arguments import one_of

STAGES = ("pixels", "normalized")


@dataclasses.dataclass(frozen=True)
class ShiftAndFlip:
    """Images moved by a few pixels at random and mirrored at random, as the papers do it.

    An image gets a frame of `shift` pixels and is cropped to its size at a random place (all
    `(2 * shift + 1) ** 2` are equally likely); then it is mirrored (left-right) with probability
    1/2. What is drawn is a function of a NumPy generator alone, and the crop only moves values, so
    arrays on the host and tensors on a device come out the same, bit for bit.

    Args:
        shift: int, the largest displacement in pixels; 0 for none. Defaults to 4.
        flip: bool, whether images are mirrored at random. Defaults to True.
        fill: the value of the frame: a number, or a sequence of one for each channel, which is kept
            as a tuple. Defaults to 0, which is black in pixels and the mean in normalised images.
        on: what is moved: "pixels", uint8 before they are normalised, or "normalized", the numbers
            that come out of it. Defaults to "pixels".

    Raises:
        ValueError: if an argument is not of its kind, if `fill` is no pixel value on "pixels", or,
            when it is called, if the images have another number of channels than `fill`.

    Example:

    >>> from keras_mg.datasets import ShiftAndFlip
    >>> import numpy as np
    >>> augmentation = ShiftAndFlip(shift=1, flip=False, fill=7)
    >>> image = np.arange(1, 5, dtype="uint8").reshape(1, 2, 2, 1)
    >>> down_right = np.array([2]), np.array([1])  # of 0..2, where 1 is not moved
    >>> augmentation(image, *down_right, np.array([False]))[0, :, :, 0].tolist()
    [[3, 4], [7, 7]]
    """

    shift: int = 4
    flip: bool = True
    fill: float | Sequence[float] = 0
    on: Literal["pixels", "normalized"] = "pixels"

    def __post_init__(self):
        if isinstance(self.shift, bool) or not hasattr(self.shift, "__index__") or self.shift < 0:
            raise ValueError(f"shift must be an integer of at least 0. Received: {self.shift!r}")
        if not isinstance(self.flip, bool):
            raise ValueError(f"flip must be a boolean. Received: {self.flip!r}")
        one_of("on", self.on, STAGES)
        object.__setattr__(self, "fill", _numbers(self.fill, self.on))

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
        """What happens to each of `count` images.

        Args:
            rng: the generator; its state alone decides.
            count: int, how many images.

        Returns:
            `(down, right, mirrored)`: where in its frame each image is cropped, int32 `(count,)`,
            0 to `2 * shift`; and whether it is mirrored, bool `(count,)`.
        """
        down, right = rng.integers(0, 2 * self.shift, (2, count), "int32", endpoint=True)
        mirrored = rng.integers(0, 1, count, "int32", endpoint=True).astype(bool)
        return down, right, mirrored & self.flip

    def __call__(self, images, down, right, mirrored):
        """Images as they were drawn.

        Args:
            images: array or tensor `(count, height, width, channels)`.
            down: of `draw`, an array or tensor as `images` is.
            right: likewise.
            mirrored: likewise.

        Returns:
            An array or tensor of the shape and type of `images`.
        """
        on_host = isinstance(images, np.ndarray)
        xp = np if on_host else keras.ops
        count, height, width, channels = images.shape
        if isinstance(self.fill, tuple) and len(self.fill) not in (1, channels):
            raise ValueError(
                "fill must be a number, or one for each channel. "
                f"Received: fill={self.fill}, images of shape {tuple(images.shape)}"
            )
        steps = xp.arange(width, dtype="int32")[None, :]
        rows = down[:, None] + xp.arange(height, dtype="int32")[None, :] - self.shift
        columns = right[:, None] - self.shift
        columns = columns + xp.where(mirrored[:, None], width - 1 - steps, steps)
        numbers = xp.arange(count, dtype="int32")[:, None, None]
        moved = images[
            numbers,
            rows.clip(0, height - 1)[:, :, None],
            columns.clip(0, width - 1)[:, None, :],
        ]
        if not self.shift:
            return moved
        inside = _within(rows, height)[:, :, None, None] & _within(columns, width)[:, None, :, None]
        if on_host:
            return np.where(inside, moved, np.asarray(self.fill, moved.dtype))
        return keras.ops.where(inside, moved, self._frame_like(moved))

    def _frame_like(self, images):
        # A scalar is an argument of its kernel; an array would be copied, and the copy waits.
        fill = self.fill if isinstance(self.fill, tuple) else (self.fill,)
        dtype = keras.backend.standardize_dtype(images.dtype)
        parts = [keras.ops.zeros((1,), dtype=dtype) + x for x in fill]
        return keras.ops.cast(keras.ops.concatenate(parts), dtype)


def _numbers(fill, stage: str):
    """The value of a frame as one of Python's numbers, or as a tuple of them."""
    array = np.asarray(fill) if isinstance(fill, Sequence | np.ndarray) else None
    many = array is not None and array.ndim == 1 and array.size > 0
    values = list(fill) if many else [fill]
    if not all(isinstance(x, numbers.Real) and math.isfinite(x) for x in values):
        raise ValueError(
            f"fill must be a number, or a sequence of one for each channel. Received: {fill!r}"
        )
    if stage == "pixels" and not all(x == int(x) and 0 <= x <= 255 for x in values):
        raise ValueError(f"fill must be pixel values from 0 to 255. Received: {fill!r}")
    kind = int if stage == "pixels" else float
    found = tuple(kind(x) for x in values)
    return found if many else found[0]


def _within(places, length: int):
    return (places >= 0) & (places < length)
