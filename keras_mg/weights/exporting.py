"""`export`: an MgNet's weights back into the names and the order of axes of PyTorch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_mg.weights.arrays import PathLike, WeightsError
from keras_mg.weights.names import TORCH_NORM, hwio_to_oihw, mgnet_names

TORCH_SUFFIXES = (".pth", ".pt")
SAFETENSORS_SUFFIX = ".safetensors"


def state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """An MgNet's arrays under the names that the authors' PyTorch class gives them.

    A shared convolution stands under every name that uses it. Batch norm's batch counters, which
    PyTorch keeps and Keras does not, are 0.

    Args:
        model: an MgNet.

    Returns:
        Name -> float32 array (int64 for the counters), in the order of the forward pass.

    Raises:
        WeightsError: (a `ValueError`) `model` is no MgNet.
    """
    names = mgnet_names(model)
    unnamed = [v.path for v in model.weights if v.path not in names]
    if unnamed or not names:
        raise WeightsError(
            f"{model.name!r} has no PyTorch names: only networks built by MgNet can be exported"
            + (f" (what is {unnamed[0]!r}?)" if names and unnamed else "")
            + ". Use model.save_weights('name.weights.h5')."
        )
    arrays: dict[str, np.ndarray] = {}
    for variable in model.weights:
        array = keras.ops.convert_to_numpy(variable.value).astype(np.float32)
        if array.ndim == 4:
            array = hwio_to_oihw(array)
        elif array.ndim == 2:
            array = np.transpose(array)
        array = np.ascontiguousarray(array)
        arrays |= dict.fromkeys(names[variable.path], array)
        if variable.path.rpartition("/")[2] == "moving_variance":
            last = names[variable.path][0].removesuffix(TORCH_NORM["moving_variance"])
            arrays[f"{last}num_batches_tracked"] = np.zeros((), np.int64)
    return arrays


def export(model: keras.Model, path: PathLike, *, epoch: int | None = None) -> Path:
    """Write an MgNet's weights for the authors' PyTorch code, or any class with its names.

    Args:
        model: an MgNet.
        path: `NAME.pth` or `NAME.pt` for `torch.load`, or `NAME.safetensors`. A file that is
            there is replaced in one step.
        epoch: None writes a plain state dict, ready for `net.load_state_dict(torch.load(path))`.
            A number writes a checkpoint as the authors' `save` does: a dictionary of `epoch`,
            `model_state_dict` and an empty `optimizer_state_dict`.

    Returns:
        The path.

    Raises:
        WeightsError: (a `ValueError`) `model` is no MgNet, or `path` has another suffix.

    Example:
        >>> from keras_mg import applications, weights
        >>> model = applications.MgNet(iterations=(1, 1), filters=4, classes=10)
        >>> weights.export(model, "mgnet.pth").name
        'mgnet.pth'
        >>> again = applications.MgNet((1, 1), filters=4, classes=10, weights="mgnet.pth")
    """
    target = Path(os.fspath(path))
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
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".tmp")
    os.close(handle)
    try:
        if target.suffix == SAFETENSORS_SUFFIX:
            _save_safetensors(arrays, name)
        else:
            _save_torch(arrays, name, epoch)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _save_safetensors(arrays: dict[str, np.ndarray], name: str) -> None:
    from safetensors.numpy import save_file

    save_file(arrays, name)


def _save_torch(arrays: dict[str, np.ndarray], name: str, epoch: int | None) -> None:
    import torch

    # One tensor per array, so that a shared convolution is stored once, as PyTorch stores it.
    tensors: dict[int, Any] = {}
    content: Any = {
        key: tensors.setdefault(id(array), torch.from_numpy(array)) for key, array in arrays.items()
    }
    if epoch is not None:
        content = {"epoch": epoch, "model_state_dict": content, "optimizer_state_dict": {}}
    torch.save(content, name)
