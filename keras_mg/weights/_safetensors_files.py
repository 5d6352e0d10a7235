"""Reading `.safetensors` files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from keras_mg.weights._arrays import NUMERIC_KINDS, PathLike, StoredArray, WeightsError
from keras_mg.weights._torch_files import plain_names

DTYPES = {
    "F64": "f8", "F32": "f4", "F16": "f2", "BF16": "f4", "I64": "i8", "I32": "i4", "I16": "i2",
    "I8": "i1", "U8": "u1", "U16": "u2", "U32": "u4", "U64": "u8", "BOOL": "?",
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
    import ml_dtypes  # noqa: F401 (makes "bfloat16" a NumPy type, which safetensors asks for)

    try:
        stream = safetensors.safe_open(path, framework="numpy")
    except Exception as error:
        raise WeightsError(f"{file}: not a readable .safetensors file ({error}).") from error

    def stored(name: str) -> StoredArray:
        part = stream.get_slice(name)
        kind = part.get_dtype()
        if kind not in DTYPES:
            raise WeightsError(f"{file}: {name!r}: the element type {kind} is not supported.")

        def read() -> np.ndarray:
            try:
                array = stream.get_tensor(name)
            except Exception as error:
                raise WeightsError(f"{file}: {name!r}: cannot be read ({error}).") from error
            return array if array.dtype.kind in NUMERIC_KINDS else array.astype(np.float32)

        return StoredArray(tuple(part.get_shape()), np.dtype(DTYPES[kind]), read)

    with stream:
        names = plain_names(stream.keys())
        arrays = {plain: stored(name) for name, plain in names.items()}
        if not arrays:
            raise WeightsError(f"{file}: the file holds no arrays.")
        yield arrays
