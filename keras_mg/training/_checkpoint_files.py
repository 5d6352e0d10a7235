"""Checkpoints as files: complete, checked when they are read, the one before kept.

A checkpoint is one safetensors file. Its metadata hold the state that is no array, as JSON, and the
SHA-256 of everything that the file says: names, types, shapes and bytes of the arrays, and the
state. Nothing in it is run when it is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_mg._files import replacing

FORMAT = "keras-mg checkpoint 1"
_KEPT = 2  # the last, and the one before


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or is not of this training."""


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a checkpoint holds."""

    path: Path
    state: dict[str, Any]
    arrays: dict[str, np.ndarray]


def path_of(folder: Path, epoch: int, step: int) -> Path:
    """The file of a checkpoint; by name they are in the order of training."""
    return folder / f"epoch-{epoch:06d}-step-{step:08d}.safetensors"


def write(path: Path, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a checkpoint in one step.

    Raises:
        OSError: it cannot be written; whatever was there is as it was.
    """
    import safetensors
    from safetensors.numpy import save_file

    text = json.dumps(state)
    metadata = {"format": FORMAT, "state": text, "sha256": _digest(text, arrays)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            save_file(dict(arrays), part, metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise OSError(f"The checkpoint {path} cannot be written: {error}") from error


def read(path: Path) -> Saved:
    """Reads a checkpoint.

    Raises:
        CheckpointError: it is not what `write` wrote.
        OSError: it cannot be read.
    """
    import safetensors
    from safetensors.numpy import load

    content = path.read_bytes()
    try:
        arrays = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header["__metadata__"]
        kind, text, digest = (metadata[key] for key in ("format", "state", "sha256"))
    except (safetensors.SafetensorError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"it is no checkpoint ({error})") from error
    if kind != FORMAT:
        raise CheckpointError(f"its format is {kind!r}, not {FORMAT!r}")
    if digest != _digest(text, arrays):
        raise CheckpointError("its checksum is not that of its content")
    return Saved(path, json.loads(text), arrays)


def latest(folder: Path) -> Saved | None:
    """The last checkpoint of a folder that can be read, None where there is none.

    Raises:
        CheckpointError: there are some, and all are damaged.
    """
    damaged = []
    for path in sorted(folder.glob("epoch-*.safetensors"), reverse=True):
        try:
            saved = read(path)
        except CheckpointError as error:
            damaged.append(f"{path}: {error}")
            continue
        for text in damaged:
            warnings.warn(
                f"A damaged checkpoint is passed over, {text}. Training goes on from the one "
                f"before, {path.name}.",
                stacklevel=3,
            )
        return saved
    if damaged:
        raise CheckpointError(
            f"No checkpoint can be read: {'; '.join(damaged)}. Delete {folder} to begin anew."
        )
    return None


def remove_others(folder: Path, *kept: Path | None) -> None:
    """Removes all checkpoints but these."""
    for path in folder.glob("epoch-*.safetensors"):
        if path not in kept:
            path.unlink(missing_ok=True)


def plain(array: Any) -> np.ndarray:
    """An array as safetensors writes it; types that it does not know become integers."""
    array = np.asarray(array, order="C")
    if array.dtype.kind in "biufc" and array.dtype.name != "complex128":
        return array
    return array.view(f"u{array.dtype.itemsize}")


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(f"{FORMAT}\n{text}\n".encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{json.dumps([name, array.dtype.name, array.shape])}\n".encode())
        digest.update(array.reshape(-1).view("u1").data)
    return digest.hexdigest()
