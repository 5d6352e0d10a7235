"""What every weights reader gives back, and the one error type that they raise."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PathLike = str | os.PathLike[str]

NUMERIC_KINDS = "fiub"
"""NumPy dtype kinds a weight may be stored in: float, signed, unsigned, boolean."""


class WeightsError(ValueError):
    """A weights file that cannot be used. The message starts with the file's name."""


@dataclass(frozen=True)
class StoredArray:
    """One array in a weights file, not read yet.

    Args:
        shape: the shape that the file states.
        dtype: the element type that the file states.
        read: reads the array. It raises `WeightsError` when the bytes are not there.
        layer: the name of the layer the array was saved from, where the file says so.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]
    layer: str | None = None


def in_memory(array: np.ndarray, layer: str | None = None) -> StoredArray:
    """A `StoredArray` for an array that is already in memory (or memory-mapped)."""
    return StoredArray(tuple(array.shape), array.dtype, lambda: array, layer)
