"""Weights that were trained here: the record of a file, and the folders that files lie in.

A folder of weights holds files whose names end in their hash, and `index.json`, the list of their
records. The package has such a folder inside; a host serves one (`KERAS_MG_WEIGHTS_MIRROR`), and
`keras-mg weights publish` makes one from the folders of finished runs.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_mg._files import replacing
from keras_mg.layers.arguments import standardize_data_format
from keras_mg.ops import normalize_images
from keras_mg.weights._arrays import WeightsError
from keras_mg.weights._assign import HEAD
from keras_mg.weights._hashing import check_form, matches

INDEX = "index.json"
FORMAT = "keras-mg weights 1"
PACKAGE_FOLDER = Path(__file__).parent / "files"


@dataclasses.dataclass(frozen=True)
class TrainedInfo:
    """One file of weights that a recipe of this project made, and all that is known of its making.

    Args:
        network: name of the constructor in `keras_mg.applications`.
        tag: what to give as `weights=`.
        arguments: what the constructor has to be given for the file to fit; none for the network as
            it comes.
        filename: the weights file's name in its folder.
        size: its size in bytes.
        hash: `sha256:` and 64 hexadecimal digits.
        preprocessing: likewise of the .npz with the statistics that images are normalised by:
            `{"filename": ..., "hash": ...}`, or None where the network takes images as they are.
        licence: of the weights.
        data: the data set.
        data_licence: of the data, as stated where they are published.
        classes: number of classes or output maps.
        class_names: in the order of the outputs.
        input_shape: of one image, channels last.
        parameters: trained numbers in the file (without the moving statistics).
        layers: by the name of a layer with weights, a digest of its settings: networks of equal
            shapes may compute different things.
        recipe: name of the recipe.
        differs: in what the recipe differs from the published one.
        command: that trained it.
        seed: of initial weights, order and augmentation.
        epochs: of the whole training.
        validation_fraction: of the training images, kept from training; None for what the recipe
            has.
        images: images of each split: "train", "validation", "test".
        figures: measured on the test images, once, with the weights after the last epoch.
        spread: of the validation figures over the last epochs:
            `{"epochs": 5, "val_accuracy": {"mean": ..., "std": ...}}`; empty without validation.
        claims: what was published for the recipe.
        hours: of training.
        hardware: that it was trained on.
        versions: of what trained it.
        source: the publication, and the code that it was released with.
        folder: where the file lies: a folder, or the base address of a host.
    """

    network: str
    tag: str
    arguments: Mapping[str, Any]
    filename: str
    size: int
    hash: str
    preprocessing: Mapping[str, str] | None
    licence: str
    data: str
    data_licence: str
    classes: int
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    parameters: int
    layers: Mapping[str, str]
    recipe: str
    differs: tuple[str, ...]
    command: str
    seed: int
    epochs: int
    validation_fraction: float | None
    images: Mapping[str, int]
    figures: Mapping[str, float]
    spread: Mapping[str, Any]
    claims: Mapping[str, float]
    hours: float
    hardware: str
    versions: Mapping[str, str | None]
    source: str
    folder: str = ""

    def record(self) -> dict[str, Any]:
        """The record in JSON's types, as an index has it."""
        record = dataclasses.asdict(self)
        del record["folder"]
        return record

    @property
    def path(self) -> Path:
        """The weights file of a folder on this machine, checked.

        Raises:
            WeightsError: (a `ValueError`) it is not there, or is another file.
        """
        return self._checked(self.filename, self.hash)

    @property
    def preprocessing_path(self) -> Path | None:
        """The .npz of the statistics, likewise; None where the network takes images as they are.

        Raises:
            WeightsError: (a `ValueError`) it is not there, or is another file.
        """
        if not self.preprocessing:
            return None
        return self._checked(self.preprocessing["filename"], self.preprocessing["hash"])

    def preprocess(self, images, data_format: str | None = None):
        """Images as the network was trained on them.

        Args:
            images: array or tensor, 3D or 4D: values 0 to 255 where the record has a
                `preprocessing`.
            data_format: "channels_last", "channels_first" or None for Keras's global setting.

        Returns:
            An array or tensor of the same shape; `images` is unchanged.

        Raises:
            ValueError: for images of another shape.
            WeightsError: (a `ValueError`) the statistics cannot be read.
        """
        path = self.preprocessing_path
        if path is None:
            return images
        mean, std = _statistics(path)
        return normalize_images(images, mean, std, standardize_data_format(data_format))

    def _checked(self, filename: str, expected: str) -> Path:
        path = Path(self.folder) / filename
        if not path.is_file():
            raise WeightsError(f"{self.network} {self.tag!r}: there is no file {path}")
        if not matches(path, expected):
            raise WeightsError(f"{path}: the file does not have the hash {expected}.")
        return path

    def call(self) -> str:
        """How the network is built, as Python: `SegPMG(filters=(16, 16), weights="digits")`."""
        arguments = ", ".join(f"{key}={_plain(value)!r}" for key, value in self.arguments.items())
        return f'{self.network}({arguments}{", " if arguments else ""}weights="{self.tag}")'


@functools.lru_cache(maxsize=8)
def _statistics(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = set(arrays)
            if names == {"mean", "std"}:
                return arrays["mean"], arrays["std"]
    except (OSError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} holds no statistics of images: {error}") from error
    raise WeightsError(
        f"{path} holds {', '.join(sorted(names))}: keras_mg.datasets.load_preprocessing reads it"
    )


# What does not change what a layer of given weights computes in inference.
_NO_MATTER = ("name", "trainable", "dtype", "data_format", "momentum", "norm_frozen")


def layer_digests(model: keras.Model) -> dict[str, str]:
    """A digest of the settings of each of this package's layers in a model, by name.

    Args:
        model: a functional model.
    """
    digests = {}
    for layer in model.layers:
        if not type(layer).__module__.startswith("keras_mg.layers.") or not layer.weights:
            continue
        settings = {
            key: value
            for key, value in layer.get_config().items()
            if key not in _NO_MATTER and not key.endswith("_initializer")
        }
        if layer.name == HEAD:
            settings.pop("activation", None)  # `classifier_activation`
        text = json.dumps([type(layer).__name__, settings], sort_keys=True, default=str)
        digests[layer.name] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return digests


def read_index(folder: str | os.PathLike, text: str | None = None) -> tuple[TrainedInfo, ...]:
    """The records of a folder of weights.

    Args:
        folder: the folder, or the base address of a host.
        text: what its index holds, where it has been read already.

    Raises:
        WeightsError: (a `ValueError`) the index cannot be read, or is none.
    """
    where = f"{os.fspath(folder)}/{INDEX}"
    try:
        text = Path(where).read_text(encoding="utf-8") if text is None else text
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise WeightsError(
                f"{where}: the format must be {FORMAT!r}. Received: {content['format']!r}"
            )
        return tuple(_from_json(record, os.fspath(folder)) for record in content["weights"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(
            f"{where} is no index of weights: {type(error).__name__}: {error}"
        ) from error


def add_to_index(folder: str | os.PathLike, record: TrainedInfo) -> tuple[TrainedInfo, ...]:
    """Writes a record into the index of a folder, in place of one of the same network and tag.

    Args:
        folder: that holds the record's files. Its index is made where it has none.
        record: what is known of the weights.

    Returns:
        The records that stood in its place before: none or one, whose files nothing names now.

    Raises:
        WeightsError: (a `ValueError`) there is an index that cannot be read.
        OSError: if it cannot be written; the one that was there stays.
    """
    target = Path(folder) / INDEX
    records = read_index(folder) if target.exists() else ()
    same = tuple(r for r in records if (r.network, r.tag) == (record.network, record.tag))
    entries = [each.record() for each in (*(r for r in records if r not in same), record)]
    entries.sort(key=lambda entry: (entry["network"], entry["tag"]))
    text = json.dumps({"format": FORMAT, "weights": entries}, indent=1) + "\n"
    read_index(folder, text)  # what could not be read again is not written
    with replacing(target) as part:
        part.write_text(text, encoding="utf-8")
    return same


@functools.cache
def shipped() -> dict[tuple[str, str], TrainedInfo]:
    """(network, tag) -> record, of the weights inside the package."""
    if not (PACKAGE_FOLDER / INDEX).is_file():
        return {}
    return {(each.network, each.tag): each for each in read_index(PACKAGE_FOLDER)}


_KINDS: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "tuple": list,
    "Mapping": dict,
}


def _from_json(record: dict[str, Any], folder: str) -> TrainedInfo:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(TrainedInfo):
        if field.name == "folder":
            continue
        if field.name not in record:
            raise WeightsError(f"{folder}: a record lacks {field.name!r}")
        value: Any = record[field.name]
        kind = re.split(r"\[| \|", str(field.type))[0]
        if not (isinstance(value, _KINDS[kind]) or (value is None and "None" in str(field.type))):
            raise WeightsError(f"{folder}: {field.name} must be a {kind}. Received: {value!r}")
        if isinstance(value, bool) or (field.name == "size" and value in range(-(2**63), 1)):
            raise WeightsError(f"{folder}: {field.name} is out of range. Received: {value!r}")
        values[field.name] = tuple(value) if isinstance(value, list) else value
    files = [(values["filename"], values["hash"])]
    if values["preprocessing"]:
        files.append((values["preprocessing"]["filename"], values["preprocessing"]["hash"]))
    for filename, digest in files:
        # It becomes part of a path, and an index may come from anywhere.
        if not re.fullmatch(r"\w[\w.-]*\.(weights\.h5|npz)", str(filename), re.ASCII):
            raise WeightsError(f"{folder}: a file needs a plain name. Received: {filename!r}")
        if check_form(str(digest)) != digest:
            raise WeightsError(f"{folder}: a hash has small letters. Received: {digest!r}")
    return TrainedInfo(**values, folder=folder)


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list) else value
