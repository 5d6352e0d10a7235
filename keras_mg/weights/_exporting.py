"""`export`: weights back into the names and the order of axes of PyTorch."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_mg._files import expand, replacing
from keras_mg.weights._array_names import TABLES, to_foreign
from keras_mg.weights._arrays import PathLike, WeightsError
from keras_mg.weights._torch_files import COUNTER

TORCH_SUFFIXES = (".pth", ".pt")
SAFETENSORS_SUFFIX = ".safetensors"


RUNNING_VARIANCE = "running_var"
"""How PyTorch's batch norm calls its moving variance; beside it, it counts its batches."""


def state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """A model's arrays under the names that are registered for it.

    A shared convolution stands under every name that uses it. Batch norm's batch counters, which
    PyTorch keeps and Keras does not, are 0.

    Args:
        model: a model that `register_names` has told the names of.

    Returns:
        Name -> float32 array (int64 for the counters), in the order of the forward pass.

    Raises:
        WeightsError: (a `ValueError`) no names are registered for `model`.
    """
    tables = [table for table in reversed(TABLES.values()) if not table.alternatives]
    names = next(filter(None, (table.names(model) for table in tables)), {})
    unnamed = [v.path for v in model.weights if not names.get(v.path)]
    if unnamed:
        raise WeightsError(
            f"{model.name!r} cannot be exported: the variable {unnamed[0]!r} has no name in "
            f"{', '.join(table.origin for table in tables)}. Use "
            "model.save_weights('name.weights.h5'), or register names with "
            "keras_mg.weights.register_names."
        )
    arrays: dict[str, np.ndarray] = {}
    for variable in model.weights:
        array = keras.ops.convert_to_numpy(variable.value).astype(np.float32)
        keys = names[variable.path]
        arrays |= dict.fromkeys(keys, np.ascontiguousarray(to_foreign(array)))
        for key in keys:
            if key.endswith(RUNNING_VARIANCE):
                counter = key.removesuffix(RUNNING_VARIANCE) + COUNTER
                arrays[counter] = np.zeros((), np.int64)
    return arrays


def export(model: keras.Model, path: PathLike, *, epoch: int | None = None) -> Path:
    """Write a model's weights under the names of its authors' PyTorch code.

    Args:
        model: an MgNet, or a network that `register_names` has told the names of.
        path: `NAME.pth` or `NAME.pt` for `torch.load`, or `NAME.safetensors`. A file that is
            there is replaced in one step.
        epoch: None writes a plain state dict, ready for `net.load_state_dict(torch.load(path))`.
            A number writes a checkpoint as the authors' `save` does: a dictionary of `epoch`,
            `model_state_dict` and an empty `optimizer_state_dict`.

    Returns:
        The path.

    Raises:
        WeightsError: (a `ValueError`) no names are registered for `model`, or `path` has another
            suffix.
        OSError: the file cannot be written, as on a full disk. What was at `path` is as it was, and
            nothing else is left.

    Example:
        >>> from keras_mg import applications, weights
        >>> model = applications.MgNet(iterations=(1, 1), filters=4, classes=10)
        >>> weights.export(model, "mgnet.pth").name
        'mgnet.pth'
        >>> again = applications.MgNet((1, 1), filters=4, classes=10, weights="mgnet.pth")
    """
    target = expand(path)
    if target.suffix not in (*TORCH_SUFFIXES, SAFETENSORS_SUFFIX):
        raise WeightsError(
            "the path to export to must end in .pth, .pt or .safetensors. "
            f"Received: {os.fspath(path)!r}"
        )
    if epoch is not None and target.suffix == SAFETENSORS_SUFFIX:
        raise WeightsError(
            f"a .safetensors file holds arrays only; epoch needs .pth. Received: epoch={epoch}"
        )
    arrays = state_dict(model)
    # Made in memory, for of a full disk the two writers speak in errors of their own.
    if target.suffix == SAFETENSORS_SUFFIX:
        content = _safetensors_file(arrays)
    else:
        content = _torch_file(arrays, epoch)
    with replacing(target) as temporary:
        temporary.write_bytes(content)
    return target


def _safetensors_file(arrays: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return save(arrays)


def _torch_file(arrays: dict[str, np.ndarray], epoch: int | None) -> bytes:
    import torch

    # One tensor per array, so that a shared convolution is stored once, as PyTorch stores it.
    tensors: dict[int, Any] = {}
    content: Any = {
        key: tensors.setdefault(id(array), torch.from_numpy(array)) for key, array in arrays.items()
    }
    if epoch is not None:
        content = {"epoch": epoch, "model_state_dict": content, "optimizer_state_dict": {}}
    made = io.BytesIO()
    torch.save(content, made)
    return made.getvalue()
