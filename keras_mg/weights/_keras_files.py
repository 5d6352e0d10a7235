"""Reading `.weights.h5` and `.keras` files as data: no configuration in them is ever run.

Keras writes the variables of a model to HDF5 groups named after the way to them
(`layers/dense_1/vars/0`). Which variable belongs to which group is asked of Keras itself, by
letting its own saving code write to a store that only takes notes; so the answer is right for
nested layers too, and cannot drift from the installed Keras.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import ml_dtypes
import numpy as np

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras
from keras_mg.weights._arrays import NUMERIC_KINDS, PathLike, StoredArray, WeightsError
from keras_mg.weights._bounded import (
    FLOOR,
    MAX_EXPANSION,
    BoundedFile,
    check_arrays,
    check_shape,
    open_archive,
    open_bounded,
)
from keras_mg.weights._hdf5 import Hdf5File, open_hdf5

KERAS_MEMBER = "model.weights.h5"


class _NotingStore(private_keras.H5IOStore):
    """Stands where Keras expects an HDF5 file to save to; notes (path, variable) pairs."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, keras.Variable]] = []
        self.names: dict[str, str] = {}
        self._path = ""

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: dict | None = None) -> _NotingStore:
        self._path = path
        if metadata and "name" in metadata:
            self.names[path] = metadata["name"]
        return self

    def __setitem__(self, key: str, value: object) -> None:
        if isinstance(value, keras.Variable):
            self.noted.append((f"{self._path}/vars/{key}".lstrip("/"), value))


def variable_paths(model: keras.Model) -> tuple[list[tuple[str, keras.Variable]], dict[str, str]]:
    """Where Keras keeps each of `model.weights` in a weights file.

    Returns:
        `(paths, layers)`. `paths` is a list of (path in the file, variable) in the order of
        `model.weights`; a variable that two layers own is there once for each. `layers` maps
        the top-level groups (`layers/dense_1`) to layer names.
    """
    if missing(Feature.WEIGHTS_FILES):
        raise WeightsError(
            f"weights cannot be assigned with Keras {keras.__version__}, which does not have "
            f"{', '.join(missing(Feature.WEIGHTS_FILES))}."
        )
    store = _NotingStore()
    private_keras.save_state(
        model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set()
    )
    order = {id(variable): i for i, variable in enumerate(model.weights)}
    paths = [(path, v) for path, v in store.noted if id(v) in order]
    paths.sort(key=lambda item: order[id(item[1])])
    lost = [v.path for v in model.weights if id(v) not in {id(v) for _, v in paths}]
    if lost:
        raise WeightsError(
            f"model {model.name!r}: Keras saves no array for the variable {lost[0]!r}, so no "
            "weights file can hold it (a quantised layer, or one that overrides "
            "`save_own_variables`)."
        )
    layers = {p: n for p, n in store.names.items() if p.count("/") == 1 and p.startswith("layers/")}
    return paths, layers


def _stored(opened: Hdf5File, number: int) -> StoredArray:
    facts = opened.facts[number]
    file, path, layer = opened.file, facts["path"], facts["layer"]
    shape = check_shape(facts["shape"], path, file)
    dtype = np.dtype(facts["dtype"])
    bfloat16 = bool(facts["bfloat16"])
    if bfloat16 and dtype.itemsize != 2:
        raise WeightsError(
            f"{file}: {path}: noted as bfloat16, which has 2 bytes, and of type {facts['type']}."
        )
    if dtype.kind not in NUMERIC_KINDS and not bfloat16:
        raise WeightsError(
            f"{file}: {path}: the array's type {facts['type']} is not a number type."
        )
    count = int(np.prod(shape, dtype=object))
    nbytes, stored = count * dtype.itemsize, facts["stored"]
    compressed = "expands" in facts
    limit = max(FLOOR, MAX_EXPANSION * stored) if compressed else stored
    if max(nbytes, facts.get("expands", 0)) > limit or (nbytes and not stored):
        raise WeightsError(
            f"{file}: {path}: the array states the shape {shape} ({nbytes} bytes), and "
            f"the file holds only {stored} bytes for it."
        )

    def read() -> np.ndarray:
        if facts.get("offset") is not None:
            values = opened.source.array(facts["offset"], dtype, count, f"{path}: the array")
        else:
            answer, content = opened.read(number)
            values = np.frombuffer(content, np.dtype(answer["dtype"]))
        if bfloat16:
            bits = values.view(values.dtype.str.replace("V", "u").replace("f", "u"))
            values = bits.astype(np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
        return values.reshape(shape)

    return StoredArray(shape, np.dtype(np.float32) if bfloat16 else dtype, read, layer)


@contextlib.contextmanager
def open_h5(path: PathLike, file: str) -> Iterator[dict[str, StoredArray]]:
    """The weight arrays of a Keras `.weights.h5` file, by their paths in it.

    The arrays can be read inside the `with` block only. `file` is the name for messages.

    Raises:
        WeightsError: a damaged file, one that Keras 3 did not write, links or external data.
    """
    with open_bounded(path, file) as source, _arrays_of(source, source.size) as arrays:
        yield arrays


@contextlib.contextmanager
def _arrays_of(source: BoundedFile, size: int) -> Iterator[dict[str, StoredArray]]:
    with open_hdf5(source) as opened:
        numbers = range(len(opened.facts))
        arrays = {opened.facts[number]["path"]: _stored(opened, number) for number in numbers}
        check_arrays(arrays, size, source.file)
        yield arrays


@contextlib.contextmanager
def open_keras(path: PathLike, file: str) -> Iterator[dict[str, StoredArray]]:
    """The weight arrays of a `.keras` file. Its `config.json` is not looked at.

    Raises:
        WeightsError: a damaged archive, or one without `model.weights.h5`.
    """
    with open_bounded(path, file) as source, open_archive(source) as archive:
        if KERAS_MEMBER not in archive.members:
            raise WeightsError(f"{file}: the archive has no member {KERAS_MEMBER!r}.")
        with _arrays_of(archive.part(KERAS_MEMBER), source.size) as arrays:
            yield arrays


def top_group(path: str) -> str:
    """`layers/dense_1/vars/0` -> `layers/dense_1`."""
    return "/".join(path.split("/")[:2])


def pair_by_layer(
    paths: list[tuple[str, keras.Variable]],
    layers: dict[str, str],
    arrays: dict[str, StoredArray],
) -> list[tuple[str, keras.Variable]]:
    """Rewrite the model's paths to the file's where the file names every layer of the model.

    Keras numbers the groups by class, in the order of `model.layers`, and that order may change
    when the head is cut off; layer names do not.
    """
    group_of_name = {a.layer: top_group(path) for path, a in arrays.items() if a.layer}
    groups = {top_group(path) for path, _ in paths}
    if any(layers.get(group) not in group_of_name for group in groups):
        return paths
    return [
        (group_of_name[layers[top_group(path)]] + path[len(top_group(path)) :], variable)
        for path, variable in paths
    ]
