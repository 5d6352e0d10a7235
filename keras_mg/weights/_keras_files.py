"""Reading `.weights.h5` and `.keras` files as data: no configuration in them is ever run.

Keras writes the variables of a model to HDF5 groups named after the way to them
(`layers/dense_1/vars/0`). Which variable belongs to which group is asked of Keras itself, by
letting its own saving code write to a store that only takes notes; so the answer is right for
nested layers too, and cannot drift from the installed Keras.
"""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Iterator

import h5py
import keras
import numpy as np

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras
from keras_mg.weights._arrays import NUMERIC_KINDS, PathLike, StoredArray, WeightsError

KERAS_MEMBER = "model.weights.h5"

MAX_EXPANSION = 20
"""A compressed member or data set may be at most this many times its bytes in the file (floats
hardly compress), or `MAX_EXPANSION_FLOOR` bytes."""
MAX_EXPANSION_FLOOR = 1 << 20

HDF5_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What h5py raises when the library beneath it meets damaged structures."""


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


def _not_a_weight(path: str) -> bool:
    """True for what a `.keras` file holds beside the weights: optimizer, metrics, random state."""
    return not path.startswith("layers/") or "/seed_generator" in path


def _checked_dataset(file: str, group: h5py.Group, name: str, layer: str | None) -> StoredArray:
    path = f"{group.name}/{name}".strip("/")
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset):
        raise WeightsError(f"{file}: {path}: expected an array, found a {type(dataset).__name__}.")
    if dataset.external or dataset.is_virtual:
        raise WeightsError(
            f"{file}: {path}: its data lie in another file; a weights file must hold its own data."
        )
    if dataset.shape is None:
        raise WeightsError(f"{file}: {path}: the array has no shape.")
    bfloat16 = dataset.attrs.get("dtype") == "bfloat16"
    if dataset.dtype.kind not in NUMERIC_KINDS and not bfloat16:
        raise WeightsError(
            f"{file}: {path}: the array's type {dataset.dtype} is not a number type."
        )
    nbytes = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if nbytes > max(MAX_EXPANSION_FLOOR, MAX_EXPANSION * stored):
        raise WeightsError(
            f"{file}: {path}: the array states the shape {dataset.shape} ({nbytes} bytes), and "
            f"the file holds only {stored} bytes for it."
        )

    def read() -> np.ndarray:
        try:
            values = dataset[()]
        except HDF5_ERRORS as error:
            raise WeightsError(f"{file}: {path}: the array cannot be read ({error}).") from error
        values = np.asarray(values)
        if bfloat16:
            import ml_dtypes

            bits = values.view(np.uint16) if values.dtype.itemsize == 2 else values
            values = bits.view(ml_dtypes.bfloat16).astype(np.float32)
        return values

    dtype = np.dtype(np.float32) if bfloat16 else dataset.dtype
    return StoredArray(tuple(dataset.shape), dtype, read, layer)


def _collect(file: str, root: h5py.File) -> dict[str, StoredArray]:
    arrays: dict[str, StoredArray] = {}
    seen: set[int] = set()

    def layer_name(group: h5py.Group) -> str | None:
        """The name of a top-level layer: Keras notes it on the layer's own `vars` group."""
        own = group.get("vars", getlink=True)
        name = group["vars"].attrs.get("name") if isinstance(own, h5py.HardLink) else None
        return name if isinstance(name, str) else None

    def visit(group: h5py.Group, layer: str | None) -> None:
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            raise WeightsError(f"{file}: {group.name}: the group contains itself.")
        seen.add(address)
        for name in group:
            if group.get(name, getclass=True, getlink=True) is not h5py.HardLink:
                raise WeightsError(
                    f"{file}: {group.name}/{name}: a link to another place; a weights file must "
                    "hold its own data."
                )
            path = f"{group.name}/{name}".strip("/")
            if group.get(name, getclass=True) is h5py.Group:
                top = group.name == "/layers"
                visit(group[name], layer_name(group[name]) if top else layer)
            elif not _not_a_weight(path):
                arrays[path] = _checked_dataset(file, group, name, layer)

    visit(root, None)
    return arrays


@contextlib.contextmanager
def open_h5(source: PathLike | io.BytesIO, file: str) -> Iterator[dict[str, StoredArray]]:
    """The weight arrays of a Keras `.weights.h5` file, by their paths in it.

    The arrays can be read inside the `with` block only. `file` is the name for messages.

    Raises:
        WeightsError: a damaged file, one that Keras 3 did not write, links or external data.
    """
    try:
        root = h5py.File(source, "r")
    except HDF5_ERRORS as error:
        raise WeightsError(f"{file}: not a readable HDF5 file ({error}).") from error
    with root:
        try:
            if "layer_names" in root.attrs or "model_weights" in root:
                raise WeightsError(
                    f"{file}: written by Keras 2 (`.h5`); load the model there or with "
                    "`tf_keras`, and save it as `.weights.h5` with Keras 3."
                )
            arrays = _collect(file, root)
        except WeightsError:
            raise
        except (*HDF5_ERRORS, RecursionError) as error:
            raise WeightsError(f"{file}: damaged HDF5 file ({error}).") from error
        if not arrays:
            raise WeightsError(
                f"{file}: holds no Keras weights (no array under `layers/`); its top groups are "
                f"{sorted(root)[:8]}."
            )
        yield arrays


@contextlib.contextmanager
def open_keras(path: PathLike, file: str) -> Iterator[dict[str, StoredArray]]:
    """The weight arrays of a `.keras` file. Its `config.json` is not looked at.

    Raises:
        WeightsError: a damaged archive, or one without `model.weights.h5`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if KERAS_MEMBER not in archive.namelist():
                raise WeightsError(f"{file}: the archive has no member {KERAS_MEMBER!r}.")
            member = archive.getinfo(KERAS_MEMBER)
            limit = max(MAX_EXPANSION_FLOOR, MAX_EXPANSION * os.path.getsize(path))
            if member.file_size > limit:
                raise WeightsError(
                    f"{file}: {KERAS_MEMBER} states a size of {member.file_size} bytes, and the "
                    f"file holds only {member.compress_size} for it."
                )
            with archive.open(member) as stream:
                content = stream.read(member.file_size + 1)
    except WeightsError:
        raise
    except Exception as error:
        # zipfile raises a dozen kinds (BadZipFile, zlib.error, NotImplementedError,
        # struct.error, RuntimeError for encrypted members, UnicodeDecodeError, ...).
        raise WeightsError(f"{file}: not a readable .keras archive ({error}).") from error
    with open_h5(io.BytesIO(content), f"{file}:{KERAS_MEMBER}") as arrays:
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
