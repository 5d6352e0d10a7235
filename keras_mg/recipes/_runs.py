"""The folder of a run: what an interrupted one leaves, and what a finished one does."""

from __future__ import annotations

import csv
import json
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from keras_mg._files import replacing

# What a finished run leaves; the last where its preprocessing was fitted to the training images.
FILES = ("model.keras", "history.csv", "result.json", "preprocessing.npz")
# What an interrupted run leaves, and a finished one takes away.
BACKUP = "backup"
SETTINGS = "settings.json"
FITTED = "settings.npz"


class InterruptedRunError(ValueError):
    """The output folder holds an interrupted run that cannot go on as asked."""


def check_folder(folder: Path, names: Sequence[str]) -> list[str]:
    """Makes an output folder, and finds out whether files of these names can be written to it.

    Returns:
        The names that are there already.

    Raises:
        OSError: if one of them cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"Cannot write to the output folder {folder}: {error}") from error
    for name in names:
        if (folder / name).is_dir():
            raise IsADirectoryError(f"{folder / name} is a directory, and a file of that name due")
    return [name for name in names if (folder / name).exists()]


def holds_interrupted_run(folder: Path) -> bool:
    """Whether there is something to go on from."""
    return (folder / BACKUP / "training_metadata.json").exists()


def read_fitted(folder: Path) -> dict[str, np.ndarray] | None:
    """The arrays that the interrupted run in a folder had fitted; None where there is none."""
    if not (holds_interrupted_run(folder) and (folder / FITTED).exists()):
        return None
    with np.load(folder / FITTED, allow_pickle=False) as arrays:
        return dict(arrays)


def resume_or_begin(folder: Path, settings: dict, fitted: Mapping[str, np.ndarray]) -> int | None:
    """The finished epochs of the run that a folder holds; None after a fresh start is prepared.

    Raises:
        InterruptedRunError: if the folder holds an interrupted run with other settings.
    """
    if not holds_interrupted_run(folder):
        shutil.rmtree(folder / BACKUP, ignore_errors=True)
        (folder / FITTED).unlink(missing_ok=True)
        if fitted:
            write_arrays(folder / FITTED, fitted)
        write_json(folder / SETTINGS, settings)
        return None
    try:
        earlier = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InterruptedRunError(
            f"{folder / BACKUP} is the backup of an interrupted run, but {folder / SETTINGS}, "
            f"which says of which, cannot be read: {error}. Delete {folder / BACKUP} to begin anew."
        ) from error
    ours, theirs = _flat(settings), _flat(earlier)
    differing = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
    if differing:
        shown = ", ".join(f"{key} {theirs.get(key)!r} (now {ours.get(key)!r})" for key in differing)
        raise InterruptedRunError(
            f"{folder} holds an interrupted run with other settings: {shown}. Give it the same "
            f"settings to go on, another output folder, or delete {folder / BACKUP} to begin anew."
        )
    progress = json.loads((folder / BACKUP / "training_metadata.json").read_text(encoding="utf-8"))
    return progress["epoch"]


def forget(folder: Path) -> None:
    """Removes what an interrupted run would go on from."""
    shutil.rmtree(folder / BACKUP, ignore_errors=True)
    for name in (SETTINGS, FITTED):
        (folder / name).unlink(missing_ok=True)


def history(path: Path) -> list[dict]:
    """One row per epoch. An epoch is twice in the file if the run ended between log and backup."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    # Keras writes NA for what was not measured.
    return [
        {"epoch": epoch, **{k: float(v) for k, v in row.items() if k != "epoch" and v != "NA"}}
        for epoch, row in sorted(rows.items())
    ]


def versions() -> dict[str, str | None]:
    """What a figure was measured with."""
    return {
        **{name: _version(name) for name in ("keras-mg", "keras", "torch", "jax", "numpy")},
        "backend": keras.backend.backend(),
        "python": platform.python_version(),
    }


def write_json(path: Path, content: dict) -> None:
    """Writes a JSON file in one step."""
    text = json.dumps(content, indent=2) + "\n"
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz file in one step."""
    with replacing(path) as part:
        np.savez(part, **dict(arrays))  # type: ignore[arg-type]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _flat(settings: Mapping, prefix: str = "") -> dict:
    flat = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
