"""From what a user gives as `weights=` to a file on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlunsplit
from urllib.request import url2pathname

from keras_mg._files import expand, replacing
from keras_mg.weights._arrays import PathLike, WeightsError
from keras_mg.weights._download import (
    DownloadError,
    cache_folder,
    fetch,
    is_offline,
    mirrors,
)
from keras_mg.weights._hashing import check_form, matches
from keras_mg.weights._hub import fetch_from_hub
from keras_mg.weights._opening import open_arrays
from keras_mg.weights._published import PUBLISHED, WeightsInfo
from keras_mg.weights._trained import INDEX, TrainedInfo, read_index, shipped
from keras_mg.weights._transfer import shown, split_address

INDEX_LIMIT = 16 << 20  # bytes
SCHEMES = ("http", "https", "file", "hf")


@dataclass(frozen=True)
class Source:
    """Where weights come from: a published record, or a local file.

    Args:
        name: what to call it in messages.
        record: the record, for a tag.
        path: the file, where it is on this machine.
    """

    name: str
    record: WeightsInfo | TrainedInfo | None = None
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
    trained = shipped().get((network, text))
    if trained is not None and isinstance(source, str):
        return Source(f"weights={text!r} of {network}", trained, trained.path)
    if "://" in text:
        return _addressed(text, cache_dir, offline, progress)
    path = expand(text)
    if os.path.isfile(path):  # pathlib raises for what can be no name
        return Source(text, path=path)
    answers: list[str] = []
    if isinstance(source, str) and text.isidentifier():
        for base in mirrors():
            try:
                hosted = _hosted(base, network, text, cache_dir, offline, progress)
            except WeightsError as error:
                answers.append(f" {shown(base)} was asked, too: {error}")
                continue
            if hosted is not None:
                return hosted
            answers.append(f" {shown(base)} does not have them either.")
    raise WeightsError(_unknown(text, network, path) + "".join(answers))


def _hosted(
    base: str,
    network: str,
    tag: str,
    cache_dir: PathLike | None,
    offline: bool | None,
    progress: bool,
) -> Source | None:
    """What a mirror's own index has under a tag; None where it has nothing."""
    digest = hashlib.sha256(base.encode()).hexdigest()[:16]
    kept = cache_folder(cache_dir) / f"{digest}-{INDEX}"
    text = None
    if is_offline(offline):
        if not kept.is_file():
            raise DownloadError("offline, and its index is not in the cache folder.")
    else:
        # An index grows: it is asked for anew, and kept for when there is no network.
        try:
            with tempfile.TemporaryDirectory() as scratch:
                read = fetch(
                    f"{base}/{INDEX}", INDEX, cache_dir=scratch, progress=False, size=INDEX_LIMIT
                )
                text = read.read_text(encoding="utf-8", errors="replace")
        except DownloadError as error:
            if not kept.is_file():
                raise
            warnings.warn(
                f"{shown(base)}: the index kept from before is used, as {error}", stacklevel=6
            )
    if text is not None:
        read_index(base, text)  # what is none is not kept
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with replacing(kept) as part:
                part.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DownloadError(f"its index cannot be written to {kept}: {error}") from error
    records = read_index(base, kept.read_text(encoding="utf-8"))
    for record in records:
        if (record.network, record.tag) == (network, tag):
            folder = _fetched(record, base, cache_dir, offline, progress)
            record = dataclasses.replace(record, folder=os.fspath(folder))
            return Source(f"weights={tag!r} of {network} ({shown(base)})", record, record.path)
    return None


def hosted_record(network: str, tag: str) -> TrainedInfo | None:
    """What a mirror has under a tag, fetched; None where none has it or can be asked."""
    for base in mirrors() if tag.isidentifier() else ():
        try:
            found = _hosted(base, network, tag, None, None, True)
        except WeightsError:
            continue
        if found is not None and isinstance(found.record, TrainedInfo):
            return found.record
    return None


def _fetched(
    record: TrainedInfo,
    base: str,
    cache_dir: PathLike | None,
    offline: bool | None,
    progress: bool,
) -> Path:
    """The folder that a host's files of a record have been fetched into."""
    files = [(record.filename, record.hash, record.size)]
    if record.preprocessing:
        files.append((record.preprocessing["filename"], record.preprocessing["hash"], INDEX_LIMIT))
    for filename, expected, size in files:
        path = fetch(
            f"{base}/{filename}",
            filename,
            expected=expected,
            cache_dir=cache_dir,
            offline=offline,
            progress=progress,
            size=size,
        )
    return path.parent


def _unknown(text: str, network: str, path: Path) -> str:
    known = [*PUBLISHED, *shipped()]
    tags = [tag for other, tag in known if other == network]
    others = [other for other, tag in known if tag == text]
    options = ["None", *map(repr, tags), "the path or address of a weights file"]
    found = "is a folder" if os.path.isdir(path) else "is no file"
    if "@" in text or "=" in text:
        text = shown(text)  # an address without its scheme
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
        expected = _hash_of(parts.fragment, shown(text))
        text = urlunsplit(parts._replace(fragment=""))
    if scheme == "file":
        path = Path(url2pathname(parts.path))
        if parts.netloc not in ("", "localhost") or not os.path.isfile(path):
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
        check=partial(_read, file=shown(text)),
    )
    return Source(f"{shown(text)} ({path})", path=path)


def _read(path: Path, file: str) -> None:
    """Raise for what is no weights file, or a damaged one."""
    with open_arrays(path, file) as (_, arrays):
        for array in arrays.values():
            array.read()


def _hash_of(fragment: str, address: str) -> str:
    kind, _, digits = fragment.partition("=")
    if kind not in ("sha256", "git"):  # which may be a key, and is not printed
        raise WeightsError(
            f"weights {address!r}: an address may end in '#sha256=' and the file's hash. What it "
            "ends in is something else."
        )
    return check_form(f"{kind}:{digits}")


def _check(path: Path, expected: str) -> None:
    if not matches(path, expected):
        raise WeightsError(f"{path}: the file does not have the hash {expected}.")
