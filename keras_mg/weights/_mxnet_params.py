"""Reading MXNet `.params` files with NumPy alone, in all four layouts that MXNet ever wrote.

Everything is little-endian:

    file    u64 0x112, u64 0, u64 count, count arrays, u64 count, count names
    name    u64 length, bytes ("arg:NAME" for trained arrays, "aux:NAME" for moving statistics)
    array   v0: u32 ndim, u32 dims
            v1: u32 0xF993FAC8, u32 ndim, i64 dims                    (MXNet 0.12 to 1.0)
            v2: u32 0xF993FAC9, i32 storage type, u32 ndim, i64 dims  (MXNet 1.x)
            v3: u32 0xF993FACA, i32 storage type, u32 ndim, i64 dims  (NumPy shape rules)
            then i32 device type, i32 device number, i32 element type, the elements

No number in the file is believed before it is compared with the bytes that are left: the memory
used is bounded by the size of the file. MXNet 2 writes `.npz` files: `_npz_files`.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Iterator

import ml_dtypes
import numpy as np

from keras_mg.weights._arrays import NUMERIC_KINDS, PathLike, StoredArray, WeightsError
from keras_mg.weights._bounded import (
    MAX_NUMBERS,
    BoundedFile,
    check_arrays,
    check_count,
    open_bounded,
)

MAGIC = 0x112
LAYOUTS = {0xF993FAC8: "v1", 0xF993FAC9: "v2", 0xF993FACA: "v3"}
DTYPES: dict[int, np.dtype] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f8"),
    2: np.dtype("<f2"),
    3: np.dtype("u1"),
    4: np.dtype("<i4"),
    5: np.dtype("i1"),
    6: np.dtype("<i8"),
    7: np.dtype("?"),
    8: np.dtype("<i2"),
    9: np.dtype("<u2"),
    10: np.dtype("<u4"),
    11: np.dtype("<u8"),
    12: np.dtype(ml_dtypes.bfloat16),
}
MAX_NDIM = 32
MIN_ARRAY_BYTES = 20
"""The shortest array on disk: v0, one axis, no elements."""
PREFIXES = ("arg:", "aux:")


class _Cursor:
    """Reads numbers from a file; every error names the file, the offset and the thing."""

    def __init__(self, source: BoundedFile) -> None:
        self.source = source
        self.file = source.file
        self.offset = 0

    @property
    def left(self) -> int:
        return self.source.size - self.offset

    def fail(self, text: str, offset: int | None = None) -> WeightsError:
        return WeightsError(
            f"{self.file}: offset {self.offset if offset is None else offset}: {text}"
        )

    def skip(self, count: int, what: str) -> int:
        """Move over `count` bytes and return where they began."""
        if count > self.left:
            raise self.fail(
                f"{what} needs {count} bytes and {self.left} are left; the file is cut short or "
                "damaged."
            )
        begin = self.offset
        self.offset += count
        return begin

    def take(self, count: int, what: str) -> bytes:
        return self.source.read(self.skip(count, what), count, what)

    def numbers(self, form: str, what: str) -> tuple[int, ...]:
        form = "<" + form
        return struct.unpack(form, self.take(struct.calcsize(form), what))

    def number(self, form: str, what: str) -> int:
        return self.numbers(form, what)[0]


def _read_array(cursor: _Cursor, what: str) -> StoredArray:
    begin = cursor.offset
    first = cursor.number("I", f"{what}: the layout number")
    layout = LAYOUTS.get(first, "v0")
    if layout in ("v2", "v3"):
        storage = cursor.number("i", f"{what}: the storage type")
        if storage != 0:
            raise cursor.fail(f"{what}: storage type {storage}; only dense arrays (0) can be read.",
                              begin)  # fmt: skip
    ndim = first if layout == "v0" else cursor.number("I", f"{what}: the number of axes")
    least = 0 if layout == "v3" else 1  # before NumPy's rules, 0 stood for "not known"
    if not least <= ndim <= MAX_NDIM:
        raise cursor.fail(
            f"{what}: {ndim} axes in a {layout} array; between {least} and {MAX_NDIM} are "
            "possible.",
            begin,
        )
    shape = cursor.numbers(f"{ndim}{'I' if layout == 'v0' else 'q'}", f"{what}: the shape")
    if min(shape, default=least) < least:
        wrong = "negative" if least == 0 else "not positive"
        raise cursor.fail(f"{what}: the shape {shape} has a side that is {wrong}.", begin)
    _, _, kind = cursor.numbers("3i", f"{what}: the device and element type")
    if kind not in DTYPES:
        raise cursor.fail(
            f"{what}: element type {kind}; MXNet's are {min(DTYPES)} to {max(DTYPES)}.", begin
        )
    dtype = DTYPES[kind]
    count = math.prod(shape)
    if count == 0 and math.prod(max(1, side) for side in shape) >= MAX_NUMBERS:
        raise cursor.fail(f"{what}: the shape {shape}, which no machine holds.", begin)
    start = cursor.skip(count * dtype.itemsize, f"{what}: the data of shape {shape}, {dtype}")
    source = cursor.source

    def read() -> np.ndarray:
        if dtype == np.dtype("?"):
            # A byte that is no truth value would make NumPy's comparisons go wrong.
            return source.array(start, np.dtype("u1"), count, what).reshape(shape) != 0
        values = source.array(start, dtype, count, what).reshape(shape)
        return values if dtype.kind in NUMERIC_KINDS else values.astype(np.float32)

    stated = dtype if dtype.kind in NUMERIC_KINDS else np.dtype(np.float32)
    return StoredArray(shape, stated, read)


def _read_names(cursor: _Cursor, count: int) -> list[str]:
    begin = cursor.offset
    stated = cursor.number("Q", "the number of names")
    if stated != count:
        raise cursor.fail(f"{stated} names for {count} arrays.", begin)
    names: list[str] = []
    seen: set[str] = set()
    for i in range(count):
        begin = cursor.offset
        length = cursor.number("Q", f"the length of name {i}")
        content = cursor.take(length, f"name {i}")
        try:
            name = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise cursor.fail(f"name {i} is not UTF-8 ({error.reason}).", begin) from error
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        if name in seen:
            raise cursor.fail(f"two arrays are named {name!r}.", begin)
        seen.add(name)
        names.append(name)
    return names


@contextlib.contextmanager
def open_mxnet(path: PathLike, file: str) -> Iterator[dict[str, StoredArray]]:
    """The arrays of an MXNet `.params` file by name, without `arg:` and `aux:`.

    The arrays can be read inside the `with` block only. `file` is the name for messages.

    Raises:
        WeightsError: the file is cut short or damaged; the message has the offset.
    """
    with open_bounded(path, file) as source:
        cursor = _Cursor(source)
        magic, reserved, count = cursor.numbers("3Q", "the file's header")
        if magic != MAGIC or reserved != 0:
            raise cursor.fail(f"{magic:#x}, {reserved:#x} where MXNet writes 0x112, 0x0.", 0)
        if count * MIN_ARRAY_BYTES > cursor.left:
            raise cursor.fail(f"{count} arrays cannot lie in the {cursor.left} bytes left.", 16)
        check_count(count, file)
        if count == 0:
            raise cursor.fail("the file holds no arrays.", 16)
        arrays = [_read_array(cursor, f"array {i}") for i in range(count)]
        names = _read_names(cursor, count)
        if cursor.left:
            raise cursor.fail(f"{cursor.left} bytes follow the last name.")
        found = dict(zip(names, arrays, strict=True))
        check_arrays(found, source.size, file)
        yield found
