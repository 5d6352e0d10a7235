"""Fetching weights files: once, whole, and only the right ones.

Around the transfer of bytes: the hash is checked before a file gets its name, a file gets its name
in one step, a cut transfer is taken up where it stopped, and a lock lets one of several processes
fetch while the others wait.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_mg._files import expand, own_folder
from keras_mg.weights._arrays import PathLike, WeightsError
from keras_mg.weights._hashing import HASH_FORM, file_hash, matches
from keras_mg.weights._transfer import (
    LIMIT_VARIABLE,
    Slow,
    SourceError,
    shown,
    transfer,
)

MIRROR_VARIABLE = "KERAS_MG_WEIGHTS_MIRROR"
"""Folders or base addresses, separated by spaces, that are asked for a file first."""
OFFLINE_VARIABLE = "KERAS_MG_OFFLINE"
"""Set to anything but an empty text, 0, false or no: nothing is fetched."""

DEFAULT_LIMIT = 2 << 30

ATTEMPTS = 4
"""Tries per address."""
RETRY_WAIT = 1.0
"""Seconds before the second try; one more for each further try."""
PERMANENT = range(400, 500)
"""HTTP answers after which asking again is useless, but for RETRY_LATER."""
RETRY_LATER = (408, 416, 425, 429)


class DownloadError(WeightsError):
    """A weights file could not be fetched."""


def cache_folder(cache_dir: PathLike | None = None) -> Path:
    """The folder that fetched weights are kept in.

    Args:
        cache_dir: stands for Keras's own folder: the environment variable `KERAS_HOME`, or
            `~/.keras`.
    """
    return own_folder(cache_dir) / "weights"


def is_offline(offline: bool | None = None) -> bool:
    """`offline` itself, or what the environment says where it is None."""
    if offline is not None:
        return offline
    return os.environ.get(OFFLINE_VARIABLE, "").lower() not in ("", "0", "false", "no")


def mirrors() -> list[str]:
    """The base addresses that the environment names; a folder's is made a `file://` one."""
    text = os.environ.get(MIRROR_VARIABLE, "")
    bases = [text] if expand(text).is_dir() else text.split()
    return [
        (base if "://" in base else expand(base).absolute().as_uri()).rstrip("/")
        for base in filter(None, bases)
    ]


def fetch(
    address: str,
    filename: str,
    *,
    expected: str | None = None,
    cache_dir: PathLike | None = None,
    offline: bool | None = None,
    progress: bool = True,
    use_mirrors: bool = False,
    size: int | None = None,
    check: Callable[[Path], object] = Path.stat,
) -> Path:
    """The file published at `address`, from the cache folder or fetched into it.

    Args:
        address: `http://`, `https://` or `file://`.
        filename: the file's name in the cache folder, and below a mirror's base address.
        expected: its hash, `git:...` or `sha256:...`; None where it is not known. The file is
            then checked against the hash that it had when it was fetched.
        cache_dir: see `cache_folder`.
        offline: True never fetches; None asks the environment variable `KERAS_MG_OFFLINE`.
        progress: whether to show a progress bar.
        use_mirrors: whether to ask the addresses in `KERAS_MG_WEIGHTS_MIRROR` first.
        size: the file's size in bytes, where it is known: no more is fetched. Otherwise the limit
            is the environment variable `KERAS_MG_DOWNLOAD_LIMIT`, or 2 GiB.
        check: called with a fetched file before it is kept; what it raises is raised, and the file
            is thrown away (a log-in page that came in its place).

    Returns:
        The path of a file that has the hash.

    Raises:
        DownloadError: (a `ValueError`) offline, no address gave the right file, or the cache
            folder cannot be written. No file with a wrong hash is left behind.
    """
    target = cache_folder(cache_dir) / filename
    if "\0" in os.fspath(target):
        raise DownloadError(f"{filename!r} in {os.fspath(target.parent)!r}: no file has this name.")
    if os.path.isdir(target):
        raise DownloadError(f"{filename}: there is a folder in its place, {target}.")
    if _is_good(target, expected):
        return target
    limit = size if size is not None else _limit()
    advice = (
        f"Put the file of {shown(address)}"
        + (f" ({expected})" if expected else "")
        + f" at {target}, and it will be found there"
    )
    if is_offline(offline):
        state = "there is a file with another hash in" if target.is_file() else "it is not in"
        raise DownloadError(
            f"{filename}: offline, and {state} the cache folder {target.parent}. {advice}."
        )
    addresses = [address]
    if use_mirrors:
        addresses = [f"{base}/{filename}" for base in mirrors()] + addresses
    part = target.with_name(target.name + ".part")
    with _locked(target, advice):
        if _is_good(target, expected):
            return target
        try:
            _fetch_first(addresses, target, expected, progress, limit, advice, check)
        except OSError as error:
            _remove(part)
            raise DownloadError(
                f"{target.name}: cannot be written to {target.parent} "
                f"({error.strerror or error}); the part that was fetched is removed."
            ) from error
        finally:
            with contextlib.suppress(OSError):
                if not part.stat().st_size:  # nothing to go on from
                    part.unlink()
    return target


def _limit() -> int:
    text = os.environ.get(LIMIT_VARIABLE, "")
    if not text:
        return DEFAULT_LIMIT
    if not text.isascii() or not text.isdigit():
        raise DownloadError(f"{LIMIT_VARIABLE} must be a number of bytes. Received: {text!r}")
    return int(text)


def _is_good(path: Path, expected: str | None) -> bool:
    if not path.is_file():
        return False
    expected = expected or _noted_hash(path)
    return expected is None or matches(path, expected)


def _note(path: Path) -> Path:
    """Where the hash of a file is noted that came without one."""
    return path.with_name(f"{path.name}.sha256")


def _noted_hash(path: Path) -> str | None:
    """The hash that the file had when it was fetched; None for one that a user put there."""
    try:
        text = _note(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return text if HASH_FORM.fullmatch(text) else None


@contextlib.contextmanager
def _locked(target: Path, advice: str):
    import filelock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{target}.lock")
        lock.acquire()
    except OSError as error:
        raise DownloadError(
            f"{target.name}: the cache folder {target.parent} cannot be written "
            f"({error.strerror or error}). Set KERAS_HOME (or give cache_dir) to a folder that "
            f"can. {advice}."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _fetch_first(
    addresses: Sequence[str],
    target: Path,
    expected: str | None,
    progress: bool,
    limit: int,
    advice: str,
    check: Callable[[Path], object],
) -> None:
    failures = []
    for address in addresses:
        failure = _fetch_one(address, target, expected, progress, limit, check)
        if failure is None:
            return
        failures.append(f"{shown(address)}: {failure}")
    raise DownloadError(
        f"{target.name}: could not be fetched. " + "; ".join(failures) + f". {advice}."
    )


def _fetch_one(
    address: str,
    target: Path,
    expected: str | None,
    progress: bool,
    limit: int,
    check: Callable[[Path], object],
) -> str | None:
    """Fetch to `target`; return None, or why it did not work."""
    import requests

    part = target.with_name(target.name + ".part")
    failure = None
    strangers = 0
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(RETRY_WAIT * attempt)
        try:
            _make_room(part)
            # Without a hash nothing would tell two halves of different files from one file.
            resume = expected is not None and part.is_file()
            with open(part, "r+b" if resume else "wb") as stream:
                stream.seek(0, os.SEEK_END)
                transfer(address, stream, progress, limit)
        except SourceError as error:
            _remove(part)
            return str(error)
        except requests.exceptions.HTTPError as error:
            code, reason = 0, "nothing"
            if error.response is not None:
                code, reason = error.response.status_code, error.response.reason
            failure = f"the server answered {code} {reason}"
            if code in PERMANENT and code not in RETRY_LATER:
                _remove(part)
                return failure
            if code == requests.codes.requested_range_not_satisfiable:
                _remove(part)
            continue
        except Slow as error:
            failure = str(error)
            continue
        except ValueError as error:  # of requests, of urllib3; their texts may hold a password
            _remove(part)
            return f"this is no valid address ({type(error).__name__})"
        except requests.exceptions.RequestException as error:
            failure = f"the transfer failed ({type(error).__name__}: {shown(str(error))})"
            continue
        if expected is not None and not matches(part, expected):
            _remove(part)
            failure = f"the file there does not have the hash {expected}; it was thrown away"
            strangers += not resume
            if strangers == 2:  # the address has another file, and will have it
                return failure
            continue
        try:
            check(part)
        except BaseException:
            _remove(part)
            raise
        if expected is None:
            # So that a later use notices damage. Written first: without its file it is harmless.
            _make_room(_note(target))
            _note(target).write_text(file_hash(part, "sha256") + "\n", encoding="ascii")
        os.replace(part, target)
        return None
    if expected is None:
        _remove(part)
    return failure


def _make_room(path: Path) -> None:
    """Remove what is not ours to write to, a link, or would be waited for, a pipe."""
    if path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir()):
        path.unlink()


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
        path.unlink()
