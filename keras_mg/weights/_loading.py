"""`load`: the one way by which a constructor's `weights=` gets into its model."""

from __future__ import annotations

from pathlib import Path

import keras

from keras_mg.weights._array_names import foreign_pairs, head_keys, unwrapped
from keras_mg.weights._arrays import PathLike, StoredArray, WeightsError
from keras_mg.weights._assign import HEAD, Pair, assign
from keras_mg.weights._download import fetch
from keras_mg.weights._keras_files import (
    pair_by_layer,
    top_group,
    variable_paths,
)
from keras_mg.weights._opening import open_arrays
from keras_mg.weights._published import WeightsInfo
from keras_mg.weights._sniff import Format
from keras_mg.weights._sources import find_source
from keras_mg.weights._trained import TrainedInfo, layer_digests

KERAS_FORMATS = ("weights.h5", "keras")


def load(
    model: keras.Model,
    source: PathLike | None,
    *,
    network: str | None = None,
    skip_mismatch: bool = False,
    cache_dir: PathLike | None = None,
    offline: bool | None = None,
    progress: bool = True,
) -> keras.Model:
    """Load pretrained weights into a built model: all of them, or none.

    Args:
        model: a built model, as the constructors make it.
        source: None (nothing is loaded); a tag (`"imagenet"`, `"cifar10"`; `weights_info` lists
            them: the package's own are inside it, others are fetched); or the
            path or address (`https://`, `file://`, `hf://owner/repository/file`) of a
            `.weights.h5`, `.keras`, `.safetensors`, MXNet `.params` or PyTorch file. What format
            a file has is told by its content. An address may end in `#sha256=` and the file's
            hash, which is then checked.
        network: the constructor's name, under which weights are published.
        skip_mismatch: leave layers whose arrays do not fit as they are, with a warning, instead
            of raising: for a new head, `classes=7, skip_mismatch=True`.
        cache_dir: where fetched files are kept, instead of `KERAS_HOME` or `~/.keras`.
        offline: True fetches nothing; None asks the environment variable `KERAS_MG_OFFLINE`.
        progress: whether to show a progress bar while fetching.

    Returns:
        `model`.

    Raises:
        WeightsError: (a `ValueError`) no such tag or file; it cannot be fetched; it is damaged;
            it is of another network (the first array that differs is named). The model is
            unchanged.

    Example:
        >>> from keras_mg import weights
        >>> import keras
        >>> def network():
        ...     image = keras.Input((4,))
        ...     return keras.Model(image, keras.layers.Dense(2, name="predictions")(image))
        >>> network().save_weights("trained.weights.h5")
        >>> model = weights.load(network(), "trained.weights.h5")
    """
    if source is None:
        return model
    network = network or model.name
    found = find_source(source, network, cache_dir=cache_dir, offline=offline, progress=progress)
    if isinstance(found.record, TrainedInfo) and found.path is not None:
        _load_trained(model, found.record, found.path, found.name, skip_mismatch)
    elif found.path is not None:
        load_file(model, found.path, file=found.name, skip_mismatch=skip_mismatch)
    elif isinstance(found.record, WeightsInfo):
        _load_published(
            model,
            found.record,
            found.name,
            skip_mismatch=skip_mismatch,
            cache_dir=cache_dir,
            offline=offline,
            progress=progress,
        )
    return model


def load_file(model: keras.Model, path: PathLike, *, file: str, skip_mismatch: bool) -> None:
    """Load a file on this machine, of any format; `file` is its name for messages."""
    with open_arrays(path, file) as (kind, stored):
        arrays = stored if kind in KERAS_FORMATS else unwrapped(model, stored)
        pairs, head = make_pairs(model, kind, arrays, file)
        assign(model, pairs, arrays, file, head_keys=head, skip_mismatch=skip_mismatch)


def make_pairs(
    model: keras.Model, kind: Format, arrays: dict[str, StoredArray], file: str
) -> tuple[list[Pair], list[str]]:
    """The table between a model and a file, and the arrays that make the file's head."""
    if kind in KERAS_FORMATS:
        paths, layers = variable_paths(model)
        pairs = [Pair(key, v) for key, v in pair_by_layer(paths, layers, arrays)]
        return pairs, [key for key, a in arrays.items() if _is_head(key, a.layer)]
    return foreign_pairs(model, arrays, file)


def _is_head(key: str, layer: str | None) -> bool:
    # Files of older Keras versions have no layer names; the head is the one Dense layer then.
    return layer == HEAD if layer is not None else top_group(key) == "layers/dense"


def _load_trained(
    model: keras.Model, record: TrainedInfo, path: Path, name: str, skip_mismatch: bool
) -> None:
    if not skip_mismatch:
        _check_classes(model, record, name)
    for layer, digest in layer_digests(model).items():
        if record.layers.get(layer, digest) != digest:
            raise WeightsError(
                f"{name}: layer {layer!r} has other settings than the one that was trained, though "
                f"its arrays may have the same shapes. The file is for {record.call()}."
            )
    try:
        load_file(model, path, file=name, skip_mismatch=skip_mismatch)
    except WeightsError as error:
        raise WeightsError(f"{error} The file is for {record.call()}.") from error


def _load_published(
    model: keras.Model,
    record: WeightsInfo,
    name: str,
    *,
    skip_mismatch: bool,
    cache_dir: PathLike | None,
    offline: bool | None,
    progress: bool,
) -> None:
    if not skip_mismatch:
        _check_classes(model, record, name)
    path = fetch(
        record.address,
        record.filename,
        expected=record.hash,
        cache_dir=cache_dir,
        offline=offline,
        progress=progress,
        use_mirrors=True,
        size=record.size,
    )
    load_file(model, path, file=f"{name} ({path})", skip_mismatch=skip_mismatch)


def _check_classes(model: keras.Model, record: WeightsInfo | TrainedInfo, name: str) -> None:
    """Raise for another number of classes before anything is fetched."""
    head = next((layer for layer in model.layers if layer.name == HEAD), None)
    units = getattr(head, "units", record.classes)
    if isinstance(units, int) and units != record.classes:  # a head of maps has layers there
        raise WeightsError(
            f"{name}: classes={units} was asked for, and the published head is for "
            f"{record.classes} classes. Use classes={record.classes}, include_top=False for the "
            "trunk alone, or skip_mismatch=True to load all but the head."
        )


def head_classes(
    source: PathLike, *, network: str, cache_dir: PathLike | None = None
) -> int | None:
    """The number of classes of a weights file's head; None where it has none.

    Args:
        source: as in `load`.
        network: the constructor's name.
        cache_dir: as in `load`.

    Raises:
        WeightsError: (a `ValueError`) as in `load`.

    Example:
        >>> from keras_mg import weights
        >>> weights.head_classes("imagenet", network="IGC_L100M2")
        1000
    """
    found = find_source(source, network, cache_dir=cache_dir)
    if found.record is not None:
        return found.record.classes
    assert found.path is not None
    with open_arrays(found.path, found.name) as (kind, arrays):
        if kind in KERAS_FORMATS:
            shapes = [a.shape for key, a in arrays.items() if _is_head(key, a.layer)]
            return next((shape[1] for shape in shapes if len(shape) == 2), None)
        shapes = [arrays[key].shape for key in head_keys(arrays)]
        return next((shape[0] for shape in shapes if len(shape) == 2), None)
