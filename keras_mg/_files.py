"""Paths as people write them, and files that are complete or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".partial-"  # of the folder that a file is written in


def expand(path: str | os.PathLike[str]) -> Path:
    """A path with a leading `~` or `~user` replaced; one of nobody's stays as it is."""
    return Path(os.path.expanduser(os.fsdecode(path)))


def own_folder(home: str | os.PathLike[str] | None = None) -> Path:
    """The folder of what this package keeps between processes.

    Args:
        home: stands for Keras's own folder: the environment variable `KERAS_HOME`, or `~/.keras`.
    """
    home = os.fspath(home) if home is not None else os.environ.get("KERAS_HOME")
    return expand(home or "~/.keras") / "keras_mg"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file whole or not at all.

    Args:
        path: where the file shall be; `~` is expanded, and a link is followed.

    Yields:
        A path of the same name in an empty folder beside it, to be written. The file takes the
        place of `path` when the block ends; if it ends in an exception, `path` is as it was and
        nothing else is left.

    A process that is killed in the block leaves the folder: `remove_partial` takes it away.

    Raises:
        OSError: there is no folder to write to, or `path` is one.

    Example:
        >>> from keras_mg._files import replacing
        >>> with replacing("notes.txt") as temporary:
        ...     written = temporary.write_text("complete")
    """
    target = Path(os.path.realpath(expand(path)))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(target))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", os.fspath(target.parent))
    # Beside the target, so that the replacement stays on one file system; in a folder, so that what
    # a writer leaves beside its file goes with it.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=_PREFIX) as folder:
        temporary = Path(folder, target.name)
        try:
            yield temporary
        except OSError as error:
            if error.filename is None and error.errno is not None:  # on a full disk, nobody says
                raise OSError(error.errno, os.strerror(error.errno), os.fspath(target)) from error
            raise
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())  # otherwise a power cut can leave an empty file of the name
        os.replace(temporary, target)
        sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power cut, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folder, some file systems sync none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_partial(folder: Path) -> None:
    """Remove what killed processes were writing in a folder that nobody else writes to now."""
    for left in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that it is whole or not there, whenever the process is killed."""
    if folder.is_dir():
        away = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_PREFIX))
        os.replace(folder, away / folder.name)
        sync_folder(folder.parent)
        shutil.rmtree(away, ignore_errors=True)
