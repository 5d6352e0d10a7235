"""Reading `.safetensors` files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import ml_dtypes
import numpy as np

from keras_mg.weights._arrays import (
    PathLike,
    StoredArray,
    WeightsError,
    damage_is_an_error,
    is_numeric,
)
from keras_mg.weights._bounded import (
    check_arrays,
    check_count,
    check_names,
    check_shape,
    open_bounded,
)
from keras_mg.weights._torch_files import plain_names

DTYPES = {
    name: np.dtype(kind)
    for name, kind in {
        "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16,
        "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
        "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
        "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
    }.items()
}  # fmt: skip


@contextlib.contextmanager
def open_safetensors(path: PathLike, file: str) -> Iterator[dict[str, StoredArray]]:
    """The arrays of a `.safetensors` file by name; they can be read inside the `with` block.

    Raises:
        ImportError: the `safetensors` package is not installed.
        WeightsError: a damaged file.
    """
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(
            f"{file}: reading a .safetensors file needs the package: pip install safetensors"
        ) from error
    with open_bounded(path, file) as source:
        with damage_is_an_error(file, "not a readable .safetensors file"):
            # All bytes: the library would map the file, which another process may cut short.
            content = source.read(0, source.size, "the file")
            # Beforehand: the library makes a kilobyte of every array that a header states.
            header = 8 + int.from_bytes(content[:8], "little")
            check_count(content.count(b"{", 0, min(header, len(content))) - 2, file)
            parts = dict(safetensors.deserialize(content))
        check_names(parts, file)
        arrays = {
            plain: _stored(parts[name], plain, file) for name, plain in plain_names(parts).items()
        }
        if not arrays:
            raise WeightsError(f"{file}: the file holds no arrays.")
        check_arrays(arrays, source.size, file)
        yield arrays


def _stored(part: dict, name: str, file: str) -> StoredArray:
    if part["dtype"] not in DTYPES:
        raise WeightsError(f"{file}: {name!r}: the element type {part['dtype']} is not supported.")
    dtype = DTYPES[part["dtype"]]
    shape = check_shape(part["shape"], name, file)
    plain = is_numeric(dtype)

    def read() -> np.ndarray:
        if dtype == np.dtype("?"):
            # A byte that is no truth value would make NumPy's comparisons go wrong.
            return np.frombuffer(part["data"], "u1").reshape(shape) != 0
        array = np.frombuffer(part["data"], dtype).reshape(shape)
        return array if plain else array.astype(np.float32)

    return StoredArray(shape, dtype if plain else np.dtype(np.float32), read)
