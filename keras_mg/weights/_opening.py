"""Opening a weights file of any format."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from keras_mg._files import expand
from keras_mg.weights._arrays import PathLike, StoredArray
from keras_mg.weights._keras_files import open_h5, open_keras
from keras_mg.weights._mxnet_params import open_mxnet
from keras_mg.weights._npz_files import open_npz
from keras_mg.weights._safetensors_files import open_safetensors
from keras_mg.weights._sniff import Format, detect
from keras_mg.weights._torch_files import open_torch

OPENERS = {
    "weights.h5": open_h5,
    "keras": open_keras,
    "mxnet": open_mxnet,
    "npz": open_npz,
    "torch": open_torch,
    "safetensors": open_safetensors,
}


@contextlib.contextmanager
def open_arrays(path: PathLike, file: str) -> Iterator[tuple[Format, dict[str, StoredArray]]]:
    """The format and the arrays of a weights file, readable inside the `with` block."""
    kind = detect(path, file)
    with OPENERS[kind](path, file) as arrays:
        yield kind, arrays


def read_through(path: PathLike) -> tuple[str, int, int]:
    """Read every array of a weights file.

    Args:
        path: a file on this machine.

    Returns:
        The format, the number of arrays, and the number of numbers in them.

    Raises:
        WeightsError: (a `ValueError`) the file is damaged or foreign.

    Example:
        >>> from keras_mg import weights
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.save_weights("small.weights.h5")
        >>> weights.read_through("small.weights.h5")
        ('weights.h5', 2, 8)
    """
    numbers = 0
    with open_arrays(expand(path), os.fspath(path)) as (kind, arrays):
        for array in arrays.values():
            numbers += array.read().size
        return kind, len(arrays), numbers
