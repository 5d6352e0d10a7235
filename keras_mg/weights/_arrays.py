"""What every weights reader gives back, and the one error type that they raise."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

PathLike = str | os.PathLike[str]

NUMERIC_KINDS = "fiub"
"""NumPy dtype kinds a weight may be stored in: float, signed, unsigned, boolean."""
MAX_MESSAGE = 2000
"""Characters of an error; names in a file may be megabytes."""


def is_numeric(dtype: np.dtype) -> bool:
    """Whether NumPy itself knows the type as one of numbers; those of `ml_dtypes` it does not."""
    return dtype.kind in NUMERIC_KINDS and dtype.type.__module__ == "numpy"


class WeightsError(ValueError):
    """A weights file that cannot be used. The message starts with the file's name.

    Names in a file may hold what a terminal obeys, so the message holds printable characters alone.
    """

    def __init__(self, text: str):
        super().__init__(printable(text))


def printable(text: str) -> str:
    """The text with every character that a terminal might obey written out, and not too long."""
    if len(text) > MAX_MESSAGE:
        text = f"{text[:MAX_MESSAGE]}... ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


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

    @property
    def nbytes(self) -> int:
        """Bytes of the array as the file states it."""
        return count_of(self.shape) * self.dtype.itemsize


def count_of(shape: tuple[int, ...]) -> int:
    """The number of numbers in an array, however large."""
    count = 1
    for side in shape:
        count *= int(side)
    return count


@contextlib.contextmanager
def damage_is_an_error(file: str, what: str = "damaged") -> Iterator[None]:
    """Turn whatever a damaged file brings a reader to into a `WeightsError`."""
    try:
        yield
    except (WeightsError, ImportError):
        raise
    except Exception as error:
        # Libraries raise some twenty kinds for damaged files, from struct.error to RecursionError.
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise WeightsError(f"{file}: {what} ({reason}).") from error
