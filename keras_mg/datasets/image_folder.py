"""Photographs with labels: from a folder of class folders, or a prepared tensorflow-data set."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_mg._files import expand
from keras_mg.datasets.images import open_prepared

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")


class Photo(NamedTuple):
    """A photograph as it is stored: its `content`, its `label`, and its `name` for people.

    Of an object in it, `box` is (x1, y1, x2, y2) in pixels, and `label` may be a vector.
    """

    content: bytes
    label: Any
    name: str
    box: tuple[int, int, int, int] | None = None


class ImageFolder:
    """Photographs in a folder that has a folder for each class, such as ImageNet's `train/`.

    Nothing is read but names; a photograph is read when it is asked for.

    Args:
        folder: the folder of class folders. Files that are no image by their suffix, and whatever
            begins with a dot, are left out.
        classes: the names of the class folders in the order of their labels; None takes all there
            are, sorted, which for ImageNet is the order of the WordNet ids. Defaults to None.

    Raises:
        FileNotFoundError: if there is no such folder, or no folder of a class.
        ValueError: if there is no class folder, a class without an image, or a folder of a class
            that `classes` does not name.

    Example:

    >>> from keras_mg.datasets import ImageFolder
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         Path(folder, name).mkdir()
    ...         Image.new("RGB", (8, 8)).save(Path(folder, name, "one.png"))
    ...     photos = ImageFolder(folder)
    ...     photos.class_names, photos[1].label, len(photos)
    (['cat', 'dog'], 1, 2)
    """

    def __init__(self, folder: str | os.PathLike, classes: Sequence[str] | None = None):
        self.folder = expand(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"There is no folder {self.folder}. Put a folder of images of each class there, as "
                "in ImageNet's train/n01440764/*.JPEG."
            )
        there = sorted(
            entry.name
            for entry in os.scandir(self.folder)
            if entry.is_dir() and not entry.name.startswith(".")
        )
        if not there:
            raise ValueError(
                f"{self.folder} must hold one folder of images for each class. Received: "
                f"{len(os.listdir(self.folder))} files, and no folder"
            )
        self.class_names = there if classes is None else list(classes)
        if unknown := sorted(set(there) - set(self.class_names)):
            raise ValueError(
                f"classes must name every folder in {self.folder}. Received none for: "
                f"{', '.join(unknown[:5])}"
            )
        if missing := [name for name in self.class_names if name not in there]:
            raise FileNotFoundError(
                f"{self.folder} must hold a folder of each class. Missing: {', '.join(missing[:5])}"
            )
        names, labels = [], []
        for label, name in enumerate(self.class_names):
            files = sorted(
                entry.name
                for entry in os.scandir(self.folder / name)
                if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")
            )
            if not files:
                raise ValueError(
                    f"Each class must have an image ({', '.join(SUFFIXES)}). Received none in "
                    f"{self.folder / name}"
                )
            names += [f"{name}/{file}" for file in files]
            labels += [label] * len(files)
        self.names = names
        self.labels = np.array(labels, "int64")

    def split(self, fraction: float, seed: int = 0) -> tuple[ImageFolder, ImageFolder]:
        """Two parts with the same classes, of which the second has a fraction of each class.

        Args:
            fraction: float between 0 and 1, of each class; rounded to whole photographs.
            seed: int; the same seed gives the same parts. Defaults to 0.

        Raises:
            ValueError: if a class would be empty in one of the parts.
        """
        rng = np.random.default_rng(seed)
        second = np.zeros(len(self), bool)
        for label, name in enumerate(self.class_names):
            rows = rng.permutation(np.flatnonzero(self.labels == label))
            count = round(fraction * len(rows))
            if not 0 < count < len(rows):
                raise ValueError(
                    "Each class must have a photograph in both parts. Received: "
                    f"fraction={fraction}, and {len(rows)} photographs of {name}"
                )
            second[rows[:count]] = True
        return self._part(~second), self._part(second)

    def _part(self, chosen: np.ndarray) -> ImageFolder:
        part = copy.copy(self)
        part.names = [self.names[i] for i in np.flatnonzero(chosen)]
        part.labels = self.labels[chosen]
        return part

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Photo:
        path = self.folder / self.names[index]
        return Photo(path.read_bytes(), int(self.labels[index]), str(path))


class TFDSPhotos:
    """Photographs of a prepared tensorflow-data set, such as `imagenet2012`, still packed.

    Args:
        name: of the data set, whose records have an `image` and a `label`.
        split: such as "train" or "validation[:1000]".
        data_dir: folder of prepared tensorflow-datasets; None is `TFDS_DATA_DIR` of the environment
            or `~/tensorflow_datasets`.

    Raises:
        ImportError: if tensorflow-datasets is not installed.
        FileNotFoundError: if the data set is not prepared there.
    """

    def __init__(self, name: str, split: str, data_dir: str | os.PathLike | None = None):
        self.name, self.split = name, split
        self._source = open_prepared(name, split, data_dir, decode=False)
        names = self._source.dataset_info.features["label"].names
        self.class_names = list(names)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Photo:
        record = self._source[index]
        name = f"{self.name} {self.split} {index}"
        return Photo(bytes(record["image"]), int(record["label"]), name)
