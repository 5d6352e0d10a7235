"""The bytes of one address, from where they stopped: neither endless nor slower than any patience.

The transfer itself is pooch's (`HTTPDownloader`: requests, with a progress bar).
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.request import url2pathname

from keras_mg.weights._arrays import WeightsError

LIMIT_VARIABLE = "KERAS_MG_DOWNLOAD_LIMIT"
"""Bytes that a file may have at most whose size is not known beforehand."""
LEAST_SPEED = 1024.0
"""Bytes per second, on average over `PATIENCE`; a transfer that is slower is given up."""
PATIENCE = 60.0
"""Seconds."""

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
CHUNK = 1 << 16
SECRET = re.compile(r"(//|^)[^/\s'\"]*@|[?#][^\s'\")]*")
"""In a text: the name and password of an address, and its query and fragment."""


class SourceError(Exception):
    """An address from which nothing can be had, now and later."""


class Slow(Exception):
    """A transfer slower than any connection that somebody would wait for."""


def shown(text: str) -> str:
    """A text with addresses as it may be printed: without passwords and queries, which are keys."""
    return SECRET.sub(lambda found: found[1] or "", text)


def split_address(text: str) -> SplitResult:
    """The parts of an address.

    Raises:
        WeightsError: (a `ValueError`) it is none. Python's own message may hold the password.
    """
    try:
        text.encode()
        return urlsplit(text)
    except ValueError:
        raise WeightsError(f"weights {shown(text)!r}: this is no valid address.") from None


def _pieces(response, begin: int, limit: int) -> Iterator[bytes]:
    """What a server sends, as it comes: no more than `limit` in all, and not too slowly."""
    count, mark, since = begin, begin, time.monotonic()
    # Not in whole chunks: a byte per second would be waited for until one is full.
    read = getattr(response.raw, "read1", None) or response.raw.read  # urllib3 before 2.1
    while piece := _received(read):
        count += len(piece)
        _check_size(count, limit)
        yield piece
        now = time.monotonic()
        if now - since >= PATIENCE:
            if count - mark < LEAST_SPEED * (now - since):
                raise Slow(f"it came slower than {LEAST_SPEED:g} bytes per second")
            mark, since = count, now


def _received(read: Callable[[int], bytes]) -> bytes:
    """The next bytes of a server, with the errors of requests."""
    import requests
    import urllib3

    try:
        return read(CHUNK)
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(error) from error


def _check_size(count: int, limit: int) -> None:
    if count > limit:
        raise SourceError(
            f"it has more than {limit} bytes, the size that is published or, where none is, "
            f"{LIMIT_VARIABLE}"
        )


def transfer(address: str, stream: BinaryIO, progress: bool, limit: int) -> None:
    """Append to `stream` what `address` has from the stream's end on."""
    begin = stream.tell()
    try:
        parts = split_address(address)
    except WeightsError:  # a mirror's: the address itself has been looked at
        raise SourceError("this is no valid address") from None
    if parts.scheme == "file":
        stream.seek(0)
        stream.truncate()
        source = Path(url2pathname(parts.path))
        try:
            if not os.path.isfile(source):
                raise SourceError("there is no such file")
            _check_size(source.stat().st_size, limit)
        except ValueError:  # a zero byte
            raise SourceError("this is no valid address") from None
        with source.open("rb") as content:
            shutil.copyfileobj(content, stream, CHUNK)
        return

    import pooch

    responses = []

    def look_at(response, **_) -> None:
        responses.append(response)
        if response.is_redirect:
            there = urljoin(response.url, response.headers["location"])
            if urlsplit(response.url).scheme == "https" and urlsplit(there).scheme != "https":
                raise SourceError("it leads from https to an address without")
            return
        start = begin
        # A server that does not know ranges answers 200 with the whole file.
        if response.status_code == 200:
            start = 0
            stream.seek(0)
            stream.truncate()
        if response.ok:
            length = response.headers.get("content-length", "0")
            if not length.isascii() or not length.isdigit():
                raise SourceError("it states a length that is no number")
            _check_size(start + int(length), limit)
            # What pooch asks for the content.
            response.iter_content = lambda chunk_size: _pieces(response, start, limit)

    # An encoding would make the length in the header another than the file's.
    headers = {"Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    get = pooch.HTTPDownloader(
        progressbar=progress,
        chunk_size=CHUNK,
        timeout=TIMEOUT,
        headers=headers,
        hooks={"response": look_at},
    )
    try:
        get(address, stream, None)
    finally:
        for response in responses:  # pooch leaves the connection of a failed transfer open
            response.close()
