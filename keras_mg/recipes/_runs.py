"""The folder of a run: what an interrupted one leaves, and what a finished one does."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.util
import json
import platform
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_mg._files import remove_folder, remove_partial, replacing

# What a finished run leaves; these where there are validation data, matplotlib, and preprocessing.
BEST, CURVES, FITTED = "best.keras", "curves.png", "preprocessing.npz"
ATTRIBUTES = "attributes.csv"  # of each epoch, where attributes are named
FILES = ("model.keras", BEST, "history.csv", CURVES, "result.json", FITTED, ATTRIBUTES)
# What an interrupted run leaves, and a finished one takes away.
CHECKPOINTS = "checkpoints"
LOCK = ".lock"


class InterruptedRunError(ValueError):
    """The output folder holds an interrupted run that cannot go on as asked."""


class FolderInUseError(OSError):
    """Another run writes to the output folder."""


@contextlib.contextmanager
def folder_of_one_run(
    folder: Path, names: Sequence[str], writes: bool = True
) -> Iterator[list[str]]:
    """Makes an output folder, keeps other runs out, and finds out whether files can be written.

    What a killed run was writing is removed. The lock is the process's: it is gone when the process
    is, however that ends.

    Args:
        folder: made if it is not there.
        names: of files.
        writes: False in all but one of the processes of a run, which do nothing here. Defaults to
            True.

    Yields:
        Those of `names` that are there already.

    Raises:
        FolderInUseError: if another run writes to it.
        OSError: if one of the files cannot be written.
    """
    import filelock

    if not writes:
        yield []
        return
    lock = filelock.FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise FolderInUseError(
            f"Another run writes to {folder}: wait until it ends, or give another output folder."
        ) from None
    except NotImplementedError:  # of older filelock
        warnings.warn(
            f"The file system of {folder} has no locks: a second run in it is not noticed.",
            stacklevel=4,
        )
    except OSError as error:
        raise OSError(f"Cannot write to the output folder {folder}: {error}") from error
    try:
        for name in names:
            if (folder / name).is_dir():
                raise IsADirectoryError(
                    f"{folder / name} is a directory, and a file of that name due"
                )
        remove_partial(folder)
        yield [name for name in names if (folder / name).exists()]
    finally:
        lock.release()


def compare(folder: Path, settings: Mapping, earlier: Mapping, part: bool = False) -> None:
    """Compares the settings of a run with those of the interrupted one that a folder holds.

    Args:
        folder: of the run.
        settings: what is asked for, in JSON's types.
        earlier: of the interrupted run.
        part: whether `settings` are not yet all. Defaults to False.

    Raises:
        InterruptedRunError: if they differ.
    """
    ours = _flat(settings)
    theirs = _flat({k: v for k, v in earlier.items() if not part or k in settings})
    differing = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
    if differing:
        shown = ", ".join(f"{key} {theirs.get(key)!r} (now {ours.get(key)!r})" for key in differing)
        raise InterruptedRunError(
            f"{folder} holds an interrupted run with other settings: {shown}. Give it the same "
            "settings to go on, another output folder, or delete "
            f"{folder / CHECKPOINTS} to begin anew."
        )


def finished(folder: Path, settings: Mapping) -> dict[str, Any] | None:
    """The result of the finished run of these settings that a folder holds; None without one."""
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        files = result["sha256"]
        same = all(result[key] == value for key, value in settings.items())
        whole = all(sha256(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return result if same and whole else None


def same_but_seed(one: Path, first: Mapping, other: Path, second: Mapping) -> None:
    """Raises where the settings of two finished runs differ in more than the seed.

    Raises:
        ValueError: naming the settings.
    """
    parts = ("recipe", "images", "model", "trainable_parameters")
    ours, theirs = (_flat({key: of[key] for key in parts}) for of in (first, second))
    differing = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
    if differing:
        shown = ", ".join(f"{key} {ours.get(key)!r} and {theirs.get(key)!r}" for key in differing)
        raise ValueError(f"{one} and {other} are not runs of one recipe: {shown}")


def differing(base: Any, other: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted names at which a record differs from another, with its values there."""
    for key, value in other.items():
        before = base.get(key) if isinstance(base, Mapping) else None
        if value == before:
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from differing(before, value, f"{prefix}{key}.")
        # The class of a record, in capitals, is no setting, but some have a setting `kind`.
        elif key != "call" and not (key == "kind" and str(value)[:1].isupper()):
            yield prefix + key, tuple(value) if isinstance(value, list) else value


def columns(rows: Sequence[Mapping]) -> dict[str, list[float]]:
    """The rows of a history as a list of each figure."""
    return {key: [row[key] for row in rows] for key in rows[0] if key != "epoch"}


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def check_drawing() -> None:
    """Raises where a picture is due and matplotlib is not installed."""
    if not can_draw():
        raise ImportError(
            'The pictures are drawn by matplotlib, which is not installed: pip install "keras-mg'
            '[data]"'
        )


def forget(folder: Path) -> None:
    """Removes what an interrupted run would go on from."""
    remove_folder(folder / CHECKPOINTS)


def write_history(path: Path, rows: Sequence[Mapping]) -> None:
    """Writes what was measured in each epoch, as `keras.callbacks.CSVLogger` does, in one step."""
    keys = sorted({key for row in rows for key in row} - {"epoch"})
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *keys], restval="NA", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def versions() -> dict[str, str | None]:
    """What a figure was measured with."""
    return {
        **{name: _version(name) for name in ("keras-mg", "torch", "jax", "numpy")},
        "keras": keras.__version__,  # of whichever distribution
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


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
