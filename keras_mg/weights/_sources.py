"""From what a user gives as `weights=` to a file on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlunsplit
from urllib.request import url2pathname

from keras_mg._files import expand
from keras_mg.weights._arrays import PathLike, WeightsError
from keras_mg.weights._download import fetch, shown, split_address
from keras_mg.weights._hashing import check_form, matches
from keras_mg.weights._hub import fetch_from_hub
from keras_mg.weights._opening import open_arrays
from keras_mg.weights._published import PUBLISHED, WeightsInfo

SCHEMES = ("http", "https", "file", "hf")


@dataclass(frozen=True)
class Source:
    """Where weights come from: a published record, or a local file.

    Args:
        name: what to call it in messages.
        record: the record, for a published tag.
        path: the file, otherwise.
    """

    name: str
    record: WeightsInfo | None = None
    path: Path | None = None


def find_source(
    source: PathLike,
    network: str,
    *,
    cache_dir: PathLike | None = None,
    offline: bool | None = None,
    progress: bool = True,
) -> Source:
    """Tell tags, addresses and paths apart; fetch what has an address.

    Raises:
        WeightsError: (a `ValueError`) neither a tag of the network, nor an address that can be
            fetched, nor a file. The message lists what there is.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise WeightsError(
            "weights must be None, a published tag, or the path or address of a file. "
            f"Received: {source!r} (type {type(source).__name__})"
        )
    text = os.fsdecode(source)
    record = PUBLISHED.get((network, text))
    if record is not None and isinstance(source, str):
        return Source(f"weights={text!r} of {network}", record=record)
    if "://" in text:
        return _addressed(text, cache_dir, offline, progress)
    path = expand(text)
    if path.is_file():
        return Source(text, path=path)
    raise WeightsError(_unknown(text, network, path))


def _unknown(text: str, network: str, path: Path) -> str:
    tags = [tag for other, tag in PUBLISHED if other == network]
    others = [other for other, tag in PUBLISHED if tag == text]
    options = ["None", *map(repr, tags), "the path or address of a weights file"]
    found = "is a folder" if path.is_dir() else "is no file"
    message = (
        f"unknown weights {text!r} for {network}: expected {', '.join(options[:-1])} or "
        f"{options[-1]}; {text!r} {found}."
    )
    if not tags:
        message += f" Nothing is published for {network}."
    if others:
        message += f" {text!r} is published for {', '.join(others)}."
    return message


def _addressed(
    text: str, cache_dir: PathLike | None, offline: bool | None, progress: bool
) -> Source:
    parts = split_address(text)
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise WeightsError(
            f"weights {shown(text)!r}: addresses may begin with {', '.join(SCHEMES)}. "
            f"Received: {parts.scheme!r}"
        )
    expected = None
    if parts.fragment:
        expected = check_form(parts.fragment.replace("=", ":", 1))
        text = urlunsplit(parts._replace(fragment=""))
    if scheme == "file":
        path = Path(url2pathname(parts.path))
        if parts.netloc not in ("", "localhost") or not path.is_file():
            raise WeightsError(f"weights {shown(text)!r}: there is no file {str(path)!r}.")
        if expected is not None:
            _check(path, expected)
        return Source(text, path=path)
    if scheme == "hf":
        path = fetch_from_hub(text, cache_dir=cache_dir, offline=offline, progress=progress)
        if expected is not None:
            _check(path, expected)
        return Source(f"{text} ({path})", path=path)
    import pooch.utils

    path = fetch(
        text,
        pooch.utils.unique_file_name(text),
        expected=expected,
        cache_dir=cache_dir,
        offline=offline,
        progress=progress,
        check=partial(_open, file=shown(text)),
    )
    return Source(f"{shown(text)} ({path})", path=path)


def _open(path: Path, file: str) -> None:
    """Raise for what is no weights file."""
    with open_arrays(path, file):
        pass


def _check(path: Path, expected: str) -> None:
    if not matches(path, expected):
        raise WeightsError(f"{path}: the file does not have the hash {expected}.")
