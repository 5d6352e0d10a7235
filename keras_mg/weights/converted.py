"""Published weights, converted once and kept as `.weights.h5` in the cache folder.

A converted file's name holds the network, the tag, a digest of the layout (so that another
release of this package, with other variables, does not take up an old one) and the beginning of
its own sha256 (so that a damaged one is seen). It is checked at every use.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_mg.weights.arrays import PathLike
from keras_mg.weights.assign import is_head
from keras_mg.weights.download import cache_folder
from keras_mg.weights.hashing import file_hash
from keras_mg.weights.keras_files import top_group, variable_paths
from keras_mg.weights.registry import WeightsInfo

DIGITS = 32
"""Hexadecimal digits of the sha256 in the name."""
SUFFIX = ".weights.h5"


def layout_digest(model: keras.Model) -> str:
    """A short digest of the paths and shapes of a model's variables, but for its head."""
    paths, _ = variable_paths(model)
    lines = sorted(f"{path} {tuple(v.shape)}" for path, v in paths if not is_head(v))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def _stem(model: keras.Model, record: WeightsInfo) -> str:
    source = record.hash.partition(":")[2][:8]
    return f"{record.network}-{record.tag}-{source}-{layout_digest(model)}"


def find_converted(
    model: keras.Model, record: WeightsInfo, cache_dir: PathLike | None
) -> Path | None:
    """The converted file of a record, if there is an undamaged one."""
    folder = cache_folder(cache_dir)
    for path in sorted(folder.glob(f"{_stem(model, record)}.*{SUFFIX}")):
        stated = path.name.removesuffix(SUFFIX).rpartition(".")[2]
        if file_hash(path, "sha256").partition(":")[2][:DIGITS] == stated:
            return path
    return None


def keep_converted(
    model: keras.Model,
    record: WeightsInfo,
    cache_dir: PathLike | None,
    arrays: Mapping[str, np.ndarray],
    layers: Mapping[str, str],
) -> Path | None:
    """Write converted arrays to the cache folder; None where it cannot be written.

    The name is given in one step, when the file is complete.
    """
    folder = cache_folder(cache_dir)
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        write_h5(temporary, arrays, layers)
        digest = file_hash(temporary, "sha256").partition(":")[2][:DIGITS]
        final = folder / f"{_stem(model, record)}.{digest}{SUFFIX}"
        os.replace(temporary, final)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        return None
    return final


def write_h5(path: PathLike, arrays: Mapping[str, np.ndarray], layers: Mapping[str, str]) -> None:
    """Write arrays as Keras's `save_weights` would.

    Args:
        path: the file.
        arrays: path in the file (`layers/dense/vars/0`) -> array.
        layers: top-level group (`layers/dense`) -> the layer's name.
    """
    with h5py.File(path, "w") as root:
        for group, name in layers.items():
            root.require_group(f"{group}/vars").attrs["name"] = name
        for key, array in arrays.items():
            root[key] = np.ascontiguousarray(array)


def head_paths(names: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
    """Paths for the arrays of a head that the model does not have.

    Args:
        names: the names of the arrays in the source, the kernel before the bias.
        paths: the model's paths, which the new ones must not meet.
    """
    taken = {top_group(path) for path in paths}
    group = "layers/dense"
    number = 0
    while group in taken:
        number += 1
        group = f"layers/dense_{number}"
    return {name: f"{group}/vars/{i}" for i, name in enumerate(names)}
