"""Reading PyTorch checkpoints, as data only: `torch.load(weights_only=True)` and nothing else."""

from __future__ import annotations

import contextlib
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from keras_mg.weights._arrays import PathLike, StoredArray, WeightsError, in_memory
from keras_mg.weights._keras_files import MAX_EXPANSION, MAX_EXPANSION_FLOOR
from keras_mg.weights._pickles import check_names

STATE_DICT_KEYS = ("model_state_dict", "state_dict", "model", "net")
"""Under which a checkpoint that holds more than the weights keeps them."""
WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What `DataParallel`, `torch.compile` and training frameworks put before every name."""
COUNTER = "num_batches_tracked"
"""PyTorch's batch norm counts its batches; no network here uses the count."""


def plain_names(keys: Iterable[str]) -> dict[str, str]:
    """The weights' names in a state dict -> the names without what stands before all of them."""
    weights = [key for key in keys if key.rpartition(".")[2] != COUNTER]
    plain = weights
    while found := [w for w in WRAPPERS if plain and all(name.startswith(w) for name in plain)]:
        plain = [name.removeprefix(found[0]) for name in plain]
    return dict(zip(weights, plain, strict=True))


def _check_sizes(path: PathLike, file: str) -> None:
    """Refuse an archive that unpacks to far more than it holds, before PyTorch unpacks it."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
            if total > max(MAX_EXPANSION_FLOOR, MAX_EXPANSION * os.path.getsize(path)):
                raise WeightsError(
                    f"{file}: the archive states {total} bytes of content, and the file has only "
                    f"{os.path.getsize(path)}."
                )
            bad = archive.testzip()  # PyTorch does not look at the checksums
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"{file}: damaged zip archive ({error}).") from error
    if bad is not None:
        raise WeightsError(f"{file}: damaged zip archive (the checksum of {bad!r} is wrong).")


def _state_dict(content: object, file: str) -> Mapping:
    for _ in range(2):
        if not isinstance(content, Mapping):
            break
        inner = next(
            (content[k] for k in STATE_DICT_KEYS if isinstance(content.get(k), Mapping)), None
        )
        if inner is None:
            return content
        content = inner
    raise WeightsError(
        f"{file}: holds a {type(content).__name__}; expected a state dict, or a checkpoint with "
        f"one under {', '.join(map(repr, STATE_DICT_KEYS))}."
    )


def _to_numpy(tensor: object, name: str, file: str) -> np.ndarray:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise WeightsError(f"{file}: {name!r} is a {type(tensor).__name__}; expected an array.")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise WeightsError(
            f"{file}: {name!r} is not a dense array in memory (layout {tensor.layout}, device "
            f"{tensor.device.type}, quantised {tensor.is_quantized})."
        )
    if tensor.is_complex():
        raise WeightsError(f"{file}: {name!r} holds complex numbers.")
    tensor = tensor.detach()
    stored = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > stored:
        # Strides of 0 let a few bytes state a shape of any size.
        raise WeightsError(
            f"{file}: {name!r} states the shape {tuple(tensor.shape)}, and the file holds only "
            f"{stored} bytes for it."
        )
    if tensor.dtype in (torch.bfloat16, *_float8_types()):
        tensor = tensor.float()
    return tensor.numpy()


def _float8_types() -> tuple:
    import torch

    return tuple(getattr(torch, n) for n in dir(torch) if n.startswith("float8_"))


@contextlib.contextmanager
def open_torch(path: PathLike, file: str) -> Iterator[dict[str, StoredArray]]:
    """The arrays of a PyTorch checkpoint by name.

    Takes a state dict, and a checkpoint with one under `model_state_dict` (as the MgNet authors
    save it), `state_dict`, `model` or `net`. `module.`, `_orig_mod.` and `model.` are
    dropped where they stand before all names, and so are batch norm's batch counters.

    Raises:
        ImportError: PyTorch is not installed.
        WeightsError: a damaged file, or one that holds more than arrays and plain containers;
            nothing in it is run.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{file}: reading a PyTorch file needs PyTorch: pip install torch"
        ) from error

    _check_sizes(path, file)
    check_names(path, file)
    try:
        with warnings.catch_warnings():
            # Torch warns of kinds of arrays that are refused below, by name.
            warnings.simplefilter("ignore")
            content = torch.load(os.fspath(path), map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch's own text would advise to switch the safety off.
        raise WeightsError(
            f"{file}: not loaded by torch.load(weights_only=True): damaged, or it holds code or "
            f"objects beside arrays; nothing in it was run ({type(error).__name__})"
        ) from error
    state = {str(key): tensor for key, tensor in _state_dict(content, file).items()}
    arrays = {
        name: in_memory(_to_numpy(state[key], name, file))
        for key, name in plain_names(state).items()
    }
    if not arrays:
        raise WeightsError(f"{file}: the checkpoint holds no arrays.")
    yield arrays
