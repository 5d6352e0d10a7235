"""Reading files that are not trusted: no more than there is, and what is stated against what comes.

A file is read and never mapped: one that another process cuts short while it is read is an error,
where a mapping would end the process.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
import zipfile
from collections.abc import Collection, Iterable, Iterator
from typing import IO, BinaryIO

import numpy as np

from keras_mg.weights._arrays import (
    PathLike,
    StoredArray,
    WeightsError,
    damage_is_an_error,
)

MAX_EXPANSION = 4
"""What is compressed may be this many times its bytes in the file (floats hardly compress)."""
MAX_SHARING = 20
"""The arrays of a file may together be this many times its bytes (names may share an array)."""
FLOOR = 1 << 20
"""Bytes that are granted to any file, however small."""
MAX_ARRAYS = 20_000
"""In a file; the largest networks have a tenth of it."""
MAX_NAME = 1000
"""Characters in the name of an array."""
MAX_NDIM = 32
MAX_NUMBERS = 1 << 48
"""In an array; the product of the sides that are not 0."""
CHUNK = 1 << 20
END = struct.Struct("<10xH10x")
END_SIGNATURE = b"PK\5\6"
"""What ends a zip archive: among else, the number of its members."""
LOCAL_HEADER = struct.Struct("<26xHH")
"""What stands before a member of a zip archive: the lengths of its name and of its extra field."""


class BoundedFile:
    """A stream, or a part of one, of which every read gives what was asked for or raises.

    Args:
        stream: where the bytes are.
        file: its name for messages.
        start: where the part begins.
        size: its length; None for all.
    """

    def __init__(self, stream: BinaryIO, file: str, start: int = 0, size: int | None = None):
        end = stream.seek(0, os.SEEK_END)
        self.stream = stream
        self.file = file
        self.start = start
        self.size = end - start if size is None else size

    def read(self, offset: int, count: int, what: str) -> bytes:
        """`count` bytes from `offset` on."""
        self.check(offset, count, what)
        self.stream.seek(self.start + offset)
        return self._whole(self.stream.read(count), count, what)

    def array(self, offset: int, dtype: np.dtype, count: int, what: str) -> np.ndarray:
        """`count` numbers from `offset` on, in one dimension and in memory of their own."""
        self.check(offset, count * dtype.itemsize, what)
        values = np.empty(count, dtype)
        self.stream.seek(self.start + offset)
        got = self.stream.readinto(values.view(np.uint8))  # type: ignore[attr-defined]
        if got != values.nbytes:
            raise self._short(values.nbytes, got, what)
        return values

    def check(self, offset: int, count: int, what: str) -> None:
        """Raise where `count` bytes from `offset` on are more than there are."""
        left = self.size - offset
        if offset < 0 or count < 0 or count > left:
            raise self._short(count, max(0, left), what)

    def _whole(self, content: bytes, count: int, what: str) -> bytes:
        if len(content) != count:
            raise self._short(count, len(content), what)
        return content

    def _short(self, count: int, left: int, what: str) -> WeightsError:
        return WeightsError(
            f"{self.file}: {what} needs {count} bytes and {left} are left; the file is cut short "
            "or damaged."
        )


@contextlib.contextmanager
def open_bounded(path: PathLike, file: str) -> Iterator[BoundedFile]:
    """A file on this machine, open for reading."""
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(open(path, "rb"))
            source = BoundedFile(stream, file)
        except (OSError, ValueError) as error:  # a ValueError for a zero byte in a path
            reason = getattr(error, "strerror", None) or error
            raise WeightsError(f"{file}: cannot be read ({reason}).") from error
        if source.size == 0:
            raise WeightsError(f"{file}: the file is empty.")
        yield source


@contextlib.contextmanager
def open_archive(source: BoundedFile) -> Iterator[Archive]:
    """The zip archive that a file is."""
    with damage_is_an_error(source.file, "damaged zip archive"):
        archive = zipfile.ZipFile(source.stream)
        _check_end(source, len(archive.infolist()))
    with archive:
        yield Archive(source, archive)


def _check_end(source: BoundedFile, count: int) -> None:
    """Raise where the directory's end states other members than were found."""
    begin = max(0, source.size - END.size - 0xFFFF)
    tail = source.read(begin, source.size - begin, "the archive's end")
    stated = END.unpack_from(tail, tail.rindex(END_SIGNATURE))[0]
    if stated not in (count, 0xFFFF):  # which stands for a number that is elsewhere
        raise ValueError(f"its end states {stated} members, its directory has {count}")


class Archive:
    """A zip archive whose members are read within bounds.

    Python's view of the archive is the only one: no other library looks at it. Members that the
    directory states twice, that are encrypted, or that are larger than the file allows are refused.
    """

    def __init__(self, source: BoundedFile, archive: zipfile.ZipFile):
        self.source = source
        self.file = source.file
        self._archive = archive
        self.members: dict[str, zipfile.ZipInfo] = {}
        check_count(len(archive.infolist()), self.file)
        for member in archive.infolist():
            if member.filename in self.members:
                raise WeightsError(
                    f"{self.file}: two members of the archive are named {member.filename!r}."
                )
            self.members[member.filename] = member
        total = sum(member.file_size for member in self.members.values())
        if total > max(FLOOR, MAX_EXPANSION * source.size):
            raise WeightsError(
                f"{self.file}: the archive states {total} bytes of content, and the file has only "
                f"{source.size}."
            )

    @contextlib.contextmanager
    def _member(self, name: str) -> Iterator[IO[bytes]]:
        with contextlib.ExitStack() as stack:
            what = f"damaged zip archive, {name!r} cannot be read"
            stack.enter_context(damage_is_an_error(self.file, what))
            yield stack.enter_context(self._archive.open(name))

    def read(self, name: str) -> bytearray:
        """A member's bytes, compared with their stated number and checksum."""
        size = self.members[name].file_size
        content = bytearray(size)
        view = memoryview(content)
        got = 0
        with self._member(name) as stream:
            # One byte more than stated makes zipfile reach the end and look at the checksum.
            while got < size and (part := stream.read(min(CHUNK, size - got))):
                view[got : got + len(part)] = part
                got += len(part)
            more = stream.read(1)
        if got != size or more:
            raise WeightsError(
                f"{self.file}: damaged zip archive: {name!r} states {size} bytes and has "
                f"{'more' if more else got}."
            )
        return content

    def part(self, name: str) -> BoundedFile:
        """A member as a file of its own: in place where it is stored as it is, else in memory."""
        member = self.members[name]
        if member.compress_type != zipfile.ZIP_STORED:
            return BoundedFile(io.BytesIO(self.read(name)), f"{self.file}:{name}")
        if member.compress_size != member.file_size:
            raise WeightsError(
                f"{self.file}: damaged zip archive: {name!r} is stored as it is and states "
                f"{member.compress_size} and {member.file_size} bytes."
            )
        with self._member(name) as stream:  # which looks at the local header, too
            while stream.read(CHUNK):  # for the checksum
                pass
        header = self.source.read(member.header_offset, LOCAL_HEADER.size, "a member's header")
        start = member.header_offset + LOCAL_HEADER.size + sum(LOCAL_HEADER.unpack(header))
        return BoundedFile(self.source.stream, f"{self.file}:{name}", start, member.file_size)


def check_shape(shape: Iterable[object], name: str, file: str) -> tuple[int, ...]:
    """A shape as a tuple of whole numbers.

    Raises:
        WeightsError: it is none, or of more numbers than any machine holds.
    """
    sides = tuple(shape)
    if len(sides) > MAX_NDIM or not all(type(side) is int and side >= 0 for side in sides):
        raise WeightsError(f"{file}: {name!r} states the shape {str(sides)[:200]}, which is none.")
    if math.prod(max(1, side) for side in sides) >= MAX_NUMBERS:  # type: ignore[call-overload]
        raise WeightsError(f"{file}: {name!r} states the shape {sides}, which no machine holds.")
    return sides  # type: ignore[return-value]


def check_names(names: Collection[str], file: str) -> None:
    """Raise for more names than any network has, or one that is longer than any that code gives."""
    check_count(len(names), file)
    for name in names:
        if len(name) > MAX_NAME:
            raise WeightsError(f"{file}: the name {name[:40]!r}... has {len(name)} characters.")


def check_count(count: int, file: str) -> None:
    """Raise for more arrays than any network has."""
    if count > MAX_ARRAYS:
        raise WeightsError(f"{file}: {count} arrays or names; at most {MAX_ARRAYS} are read.")


def check_arrays(arrays: dict[str, StoredArray], size: int, file: str) -> None:
    """Raise for names and sizes that no file of `size` bytes needs."""
    check_names(arrays, file)
    total = sum(array.nbytes for array in arrays.values())
    if total > max(FLOOR, MAX_SHARING * size):
        raise WeightsError(
            f"{file}: its arrays have {total} bytes in all, and the file only {size}."
        )
