"""Reading PyTorch checkpoints as data: `_pickles` says what lies where, and the bytes are read.

PyTorch itself is not asked. `torch.load(weights_only=True)` runs no code, but it has a zip reader
and an unpickler of its own, which a few hundred bytes bring to gigabytes, to minutes, or to arrays
of uninitialised memory.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import ml_dtypes
import numpy as np

from keras_mg.weights._arrays import PathLike, StoredArray, WeightsError, is_numeric
from keras_mg.weights._bounded import (
    BoundedFile,
    check_arrays,
    check_names,
    check_shape,
    open_archive,
    open_bounded,
)
from keras_mg.weights._pickles import Opaque, Storage, Tensor, read_pickle

STATE_DICT_KEYS = (
    *("model_state_dict", "state_dict", "model", "net", "network", "params", "weights"),
    *("model_ema", "state_dict_ema", "ema_state_dict", "ema", "params_ema"),
)
"""Under which a checkpoint that holds more than the weights keeps them, the likeliest first."""
MAX_NESTING = 4
WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What `DataParallel`, `torch.compile` and training frameworks put before every name."""
COUNTER = "num_batches_tracked"
"""PyTorch's batch norm counts its batches; no network here uses the count."""
COUNTERS = (COUNTER, "n_averaged")
"""And an `AveragedModel` counts what it has averaged."""
ZIP_SIGNATURE = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""The number that `torch.save` wrote first before its zip format."""

DTYPES: dict[str, np.dtype] = {
    "Float": np.dtype("f4"),
    "torch.float": np.dtype("f4"),
    "torch.float32": np.dtype("f4"),
    "Double": np.dtype("f8"),
    "torch.double": np.dtype("f8"),
    "torch.float64": np.dtype("f8"),
    "Half": np.dtype("f2"),
    "torch.half": np.dtype("f2"),
    "torch.float16": np.dtype("f2"),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "torch.bfloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype("i8"),
    "torch.long": np.dtype("i8"),
    "torch.int64": np.dtype("i8"),
    "Int": np.dtype("i4"),
    "torch.int": np.dtype("i4"),
    "torch.int32": np.dtype("i4"),
    "Short": np.dtype("i2"),
    "torch.short": np.dtype("i2"),
    "torch.int16": np.dtype("i2"),
    "Char": np.dtype("i1"),
    "torch.int8": np.dtype("i1"),
    "Byte": np.dtype("u1"),
    "torch.uint8": np.dtype("u1"),
    "Untyped": np.dtype("u1"),
    "Bool": np.dtype("?"),
    "torch.bool": np.dtype("?"),
    **{f"torch.uint{bits}": np.dtype(f"u{bits // 8}") for bits in (16, 32, 64)},
    **{
        f"torch.{name}": np.dtype(getattr(ml_dtypes, name))
        for name in (
            *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
            "float8_e8m0fnu",
        )
        if hasattr(ml_dtypes, name)
    },
}
"""PyTorch's names of storages and element types."""


def plain_names(keys: Iterable[str]) -> dict[str, str]:
    """The weights' names in a state dict -> the names without what stands before all of them."""
    weights = [key for key in keys if key.rpartition(".")[2] not in COUNTERS]
    plain = weights
    while found := [w for w in WRAPPERS if plain and all(name.startswith(w) for name in plain)]:
        plain = [name.removeprefix(found[0]) for name in plain]
    return dict(zip(weights, plain, strict=True))


def _state_dict(content: object, file: str) -> Mapping:
    """The innermost dictionary that holds arrays, found by the names that people give it."""
    for _ in range(MAX_NESTING):
        if not isinstance(content, Mapping):
            break
        known = (k for k in STATE_DICT_KEYS if isinstance(content.get(k), Mapping))
        inner = next(known, None)
        if inner is None or any(isinstance(value, Tensor) for value in content.values()):
            if any(isinstance(value, Mapping) for value in content.values()):
                keys = ", ".join(repr(key)[:60] for key in list(content)[:20])
                raise WeightsError(
                    f"{file}: expected a state dict, or a checkpoint with one under "
                    f"{', '.join(map(repr, STATE_DICT_KEYS))}; the checkpoint's keys are {keys}."
                )
            return content
        content = content[inner]
    raise WeightsError(
        f"{file}: holds a {_kind(content)}; expected a state dict, or a checkpoint with "
        f"one under {', '.join(map(repr, STATE_DICT_KEYS))}."
    )


def _kind(thing: object) -> str:
    return thing.kind if isinstance(thing, Opaque) else type(thing).__name__


def _dtype(tensor: Tensor, name: str, file: str) -> np.dtype:
    kind = tensor.dtype or tensor.storage.kind
    if "omplex" in kind:
        raise WeightsError(f"{file}: {name!r} holds complex numbers.")
    if tensor.negated:
        raise WeightsError(f"{file}: {name!r} is stored negated or conjugated; save a copy of it.")
    if kind not in DTYPES:
        raise WeightsError(
            f"{file}: {name!r} is not a dense array in memory, or of a type that cannot be read "
            f"({kind})."
        )
    return DTYPES[kind]


def _stored(
    value: object, name: str, file: str, read_storage: Callable[[Storage], np.ndarray], order: Order
) -> StoredArray:
    """What is known of one array of the state dict; every number of it is checked."""
    if isinstance(value, Opaque) and value.kind.startswith("torch._utils._rebuild"):
        kind = value.kind.removeprefix("torch._utils._rebuild_")
        device = ", device meta" if kind.startswith("meta") else ""
        raise WeightsError(f"{file}: {name!r} is not a dense array in memory ({kind}{device}).")
    if not isinstance(value, Tensor):
        raise WeightsError(f"{file}: {name!r} is a {_kind(value)}; expected an array.")
    dtype = _dtype(value, name, file).newbyteorder(order)
    shape = check_shape(value.shape, name, file)
    strides = check_shape(value.strides, name, file)
    storage = value.storage
    element = DTYPES[storage.kind].itemsize if storage.kind in DTYPES else dtype.itemsize
    there = storage.count * element
    size = dtype.itemsize
    count = int(np.prod(shape, dtype=object))
    if count * size > there:
        # Strides of 0 let a few bytes state a shape of any size.
        raise WeightsError(
            f"{file}: {name!r} states the shape {shape}, and the file holds only {there} bytes "
            "for it."
        )
    last = value.offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=False))
    if len(shape) != len(strides) or value.offset < 0 or (count and (last + 1) * size > there):
        raise WeightsError(f"{file}: {name!r} reaches beyond the {there} bytes of its storage.")

    def read() -> np.ndarray:
        content = read_storage(storage)
        # A byte that is no truth value would make NumPy's comparisons go wrong.
        kind = np.dtype("u1") if dtype == np.dtype("?") else dtype
        flat = content[: content.size // size * size].view(f"u{size}")
        array = np.lib.stride_tricks.as_strided(
            flat[value.offset :], shape, [s * size for s in strides], writeable=False
        ).view(kind)
        if dtype == np.dtype("?"):
            return array != 0
        return array if is_numeric(dtype) else array.astype(np.float32)

    stated = dtype if is_numeric(dtype) else np.dtype(np.float32)
    return StoredArray(shape, stated, read)


@contextlib.contextmanager
def open_torch(path: PathLike, file: str) -> Iterator[dict[str, StoredArray]]:
    """The arrays of a PyTorch checkpoint by name; they can be read inside the `with` block.

    Takes a state dict, and a checkpoint with one under `model_state_dict` (as the MgNet authors
    save it), `state_dict`, `model` and the like. `module.`, `_orig_mod.` and `model.` are
    dropped where they stand before all names, and so are batch norm's batch counters.

    Raises:
        WeightsError: a damaged file, or one that holds more than arrays and plain containers;
            nothing in it is run.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_bounded(path, file))
        if source.read(0, min(4, source.size), "the signature") == ZIP_SIGNATURE:
            opened = _open_zip(source, stack)
        else:
            opened = _open_legacy(source)
        content, read_storage, order = opened
        state = {str(key): value for key, value in _state_dict(content, file).items()}
        check_names(state, file)
        names = plain_names(state)
        arrays = {
            plain: _stored(state[key], plain, file, read_storage, order)
            for key, plain in names.items()
        }
        if not arrays:
            raise WeightsError(f"{file}: the checkpoint holds no arrays.")
        check_arrays(arrays, source.size, file)
        yield arrays


Order = Literal["<", ">"]
Opened = tuple[object, Callable[[Storage], np.ndarray], Order]


def _open_zip(source: BoundedFile, stack: contextlib.ExitStack) -> Opened:
    file = source.file
    archive = stack.enter_context(open_archive(source))
    pickles = [name for name in archive.members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError(f"{file}: the archive has {len(pickles)} members data.pkl; expected 1.")
    folder = pickles[0].removesuffix("data.pkl")
    content = read_pickle(io.BytesIO(archive.read(pickles[0])), file)
    order: Order = "<"
    if f"{folder}byteorder" in archive.members:
        order = ">" if archive.read(f"{folder}byteorder") == b"big" else "<"
    read: dict[str, np.ndarray] = {}

    def read_storage(storage: Storage) -> np.ndarray:
        if storage.key not in read:
            name = f"{folder}data/{storage.key}"
            if name not in archive.members:
                raise WeightsError(f"{file}: the archive has no member {name!r}.")
            read[storage.key] = np.frombuffer(archive.read(name), np.uint8)
        return _all_there(read[storage.key], storage, file)

    return content, read_storage, order


def _all_there(content: np.ndarray, storage: Storage, file: str) -> np.ndarray:
    element = DTYPES[storage.kind].itemsize if storage.kind in DTYPES else 1
    if content.size < storage.count * element:
        raise WeightsError(
            f"{file}: storage {storage.key!r} states {storage.count * element} bytes, and the file "
            f"holds only {content.size} bytes for it."
        )
    return content


def _open_legacy(source: BoundedFile) -> Opened:
    """The format before zip: five pickles, then the storages in the order of the last pickle."""
    file = source.file
    stream = source.stream
    stream.seek(0)
    magic = read_pickle(stream, file)
    if magic != LEGACY_MAGIC:
        raise WeightsError(
            f"{file}: a pickle that torch.save did not write; expected its format. Nothing in it "
            "was run."
        )
    read_pickle(stream, file)  # the version of the format
    system = read_pickle(stream, file)
    kinds: dict[str, str] = {}
    content = read_pickle(stream, file, kinds)
    keys = read_pickle(stream, file)
    little = not isinstance(system, Mapping) or system.get("little_endian", True) is not False
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise WeightsError(f"{file}: damaged, it does not say which storages follow.")
    return content, _legacy_storages(source, keys, kinds), "<" if little else ">"


def _legacy_storages(
    source: BoundedFile, keys: list[str], kinds: dict[str, str]
) -> Callable[[Storage], np.ndarray]:
    places: dict[str, tuple[int, int]] = {}
    place = source.stream.tell()
    for key in keys:
        if key in places:
            raise WeightsError(f"{source.file}: damaged, storage {key!r} is there twice.")
        (count,) = struct.unpack("<q", source.read(place, 8, f"the size of storage {key!r}"))
        kind = kinds.get(key, "Untyped")
        if kind not in DTYPES:
            raise WeightsError(f"{source.file}: storage {key!r} is of the type {kind}.")
        element = DTYPES[kind].itemsize
        source.check(place + 8, count * element, f"storage {key!r}")
        places[key] = (place + 8, count * element)
        place += 8 + count * element
    read: dict[str, np.ndarray] = {}

    def read_storage(storage: Storage) -> np.ndarray:
        if storage.key not in places:
            raise WeightsError(f"{source.file}: no bytes follow for storage {storage.key!r}.")
        if storage.key not in read:
            offset, size = places[storage.key]
            what = f"storage {storage.key!r}"
            read[storage.key] = source.array(offset, np.dtype("u1"), size, what)
        return _all_there(read[storage.key], storage, source.file)

    return read_storage
