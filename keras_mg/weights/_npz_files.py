"""Reading `.npz` files, which MXNet 2 writes as `.params`; no object in them is unpickled."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import ml_dtypes
import numpy as np

from keras_mg.weights._arrays import (
    NUMERIC_KINDS,
    PathLike,
    StoredArray,
    WeightsError,
    damage_is_an_error,
)
from keras_mg.weights._bounded import (
    BoundedFile,
    check_arrays,
    check_shape,
    open_archive,
    open_bounded,
)

SUFFIX = ".npy"
PREFIXES = ("arg:", "aux:")
MAX_HEADER = 10_000
BFLOAT16 = "bfloat16"
"""How MXNet calls the one field of its arrays of this type, which NumPy does not know."""


def _stored(part: BoundedFile, name: str, file: str) -> StoredArray:
    from numpy.lib import format as npy

    what = f"array {name!r}"
    with damage_is_an_error(file, f"{what}: damaged header"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of odd headers
        head = _Head(part)
        version = npy.read_magic(head)
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in readers:
            raise WeightsError(f"{file}: {what}: version {version} of NumPy's format.")
        shape, fortran, dtype = readers[version](head, max_header_size=MAX_HEADER)
    bfloat16 = dtype.names == (BFLOAT16,) and dtype.itemsize == 2
    if dtype.kind not in NUMERIC_KINDS and not bfloat16:
        raise WeightsError(f"{file}: {what}: the array's type {dtype} is not a number type.")
    shape = check_shape(shape, name, file)
    count = int(np.prod(shape, dtype=object))
    if head.place + count * dtype.itemsize != part.size:
        raise WeightsError(
            f"{file}: {what} states {count * dtype.itemsize} bytes and has "
            f"{part.size - head.place}."
        )

    def read() -> np.ndarray:
        kind = np.dtype("<u2") if bfloat16 else dtype
        values = part.array(head.place, kind, count, what)
        if bfloat16:
            values = values.astype("u2").view(ml_dtypes.bfloat16).astype(np.float32)
        return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)

    return StoredArray(shape, np.dtype(np.float32) if bfloat16 else dtype, read)


class _Head:
    """The beginning of a part, as the stream that NumPy reads a header from."""

    def __init__(self, part: BoundedFile):
        self.part = part
        self.place = 0

    def read(self, count: int = MAX_HEADER, /) -> bytes:
        if count > MAX_HEADER:
            raise ValueError(f"a header of {count} bytes")
        content = self.part.read(self.place, count, "a header")
        self.place += count
        return content


@contextlib.contextmanager
def open_npz(path: PathLike, file: str) -> Iterator[dict[str, StoredArray]]:
    """The arrays of an `.npz` file by name, without `arg:` and `aux:`.

    Raises:
        WeightsError: a damaged file, or one with an array of something else than numbers.
    """
    with open_bounded(path, file) as source, open_archive(source) as archive:
        arrays: dict[str, StoredArray] = {}
        for member in archive.members:
            name = member.removesuffix(SUFFIX)
            for prefix in PREFIXES:
                name = name.removeprefix(prefix)
            if not member.endswith(SUFFIX) or name in arrays:
                raise WeightsError(f"{file}: expected one array per name. Received: {member!r}")
            arrays[name] = _stored(archive.part(member), name, file)
        if not arrays:
            raise WeightsError(f"{file}: the file holds no arrays.")
        check_arrays(arrays, source.size, file)
        yield arrays
