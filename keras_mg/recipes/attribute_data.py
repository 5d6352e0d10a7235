"""Objects with attributes as the data of a recipe."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import partial
from typing import Literal

import numpy as np

from keras_mg._files import expand
from keras_mg.datasets.attribute_digits import AttributeDigits
from keras_mg.datasets.attribute_lines import AttributeLines, PadToSquare
from keras_mg.datasets.photo_batches import PhotoBatches
from keras_mg.layers.arguments import one_of, positive_int
from keras_mg.recipes.data import VALIDATION_FRACTION, Splits

Objects = AttributeLines | AttributeDigits
KINDS = ("folder", "embedded")
_EVALUATION_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Attributes:
    """Boxes in photographs, with a bit for each attribute; see `AttributeLines`.

    Args:
        kind: "folder", one with files of lines and `images/`, or "embedded", digits with attributes
            that can be read off the picture (`AttributeDigits`). Defaults to "folder".
        size: int, side in pixels of the square that a box becomes. Defaults to 224.
        train: the file of lines to train on. Defaults to "train.txt".
        test: the file of lines to test on. Defaults to "test.txt".

    Raises:
        ValueError: for another kind, or a size that is no positive integer.

    Example:

    >>> from keras_mg.recipes import Attributes
    >>> splits = Attributes("embedded", size=32).open(batch_size=8)
    >>> splits.sizes, splits.classes, splits.train[0][1].shape
    ({'train': 1212, 'validation': 135, 'test': 450}, 10, (8, 10))
    """

    kind: Literal["folder", "embedded"] = "folder"
    size: int = 224
    train: str = "train.txt"
    test: str = "test.txt"

    def __post_init__(self):
        one_of("kind", self.kind, KINDS)
        positive_int("size", self.size)

    @property
    def needs_folder(self) -> bool:
        """Whether the data lie in a folder."""
        return self.kind == "folder"

    def sources(self, data_dir: str | os.PathLike | None) -> tuple[Objects, Objects]:
        """The objects to train on and to test on.

        Args:
            data_dir: the folder, where the data lie in one.

        Raises:
            ValueError: for a missing or needless `data_dir`, or lines of other attributes.
            FileNotFoundError: if the data are not there.
        """
        if self.kind == "embedded":
            if data_dir is not None:
                raise ValueError(
                    f"The digits are embedded and need no folder. Received: data_dir={data_dir}"
                )
            return AttributeDigits("train"), AttributeDigits("test")
        if data_dir is None:
            raise ValueError(
                "Attributes lie in a folder that must be named: data_dir (--data-dir), with "
                f"{self.train}, {self.test} and images/ in it. Received: None"
            )
        folder = expand(data_dir)
        train, test = (
            AttributeLines(folder / name, folder / "images") for name in (self.train, self.test)
        )
        if train.attributes != test.attributes:
            raise ValueError(
                f"{self.train} and {self.test} must have bits of the same attributes. Received: "
                f"{train.attributes} and {test.attributes} bits"
            )
        return train, test

    def batches(self, objects: Objects) -> PhotoBatches:
        """Objects as they lie, for measuring: squares from 0 to 1, and bits.

        Args:
            objects: `AttributeLines` or `AttributeDigits`.
        """
        return self._make(objects, batch_size=_EVALUATION_BATCH, order="sequence")

    @property
    def _make(self):
        return partial(PhotoBatches, crop=PadToSquare(self.size), mean=(0.0,) * 3, std=(255.0,) * 3)

    def open(
        self,
        batch_size: int,
        seed: int = 0,
        data_dir: str | os.PathLike | None = None,
        validation_fraction: float | None = None,
        augment_on: str | None = None,
        fitted: Mapping[str, np.ndarray] | None = None,
    ) -> Splits:
        """Reads the lines; photographs are read when their batch is made.

        Args:
            batch_size: int, objects per step.
            seed: int, of the draws, which are with replacement. Defaults to 0.
            data_dir: the folder of the files and of `images/`.
            validation_fraction: float in [0, 1), of the training objects, kept from training; they
                are the same for every seed. Defaults to 0.1.
            augment_on: must be None or "host", where photographs are decoded.
            fitted: there is nothing to fit.

        Raises:
            ValueError: for an argument out of its range, or lines that do not fit.
            FileNotFoundError: if the data are not there.
        """
        one_of("augment_on", augment_on, (None, "host"))
        train: Objects
        train, test = self.sources(data_dir)
        if validation_fraction is None:
            validation_fraction = VALIDATION_FRACTION
        if not 0 <= validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be in [0, 1). Received: {validation_fraction}"
            )
        held: Objects | None = None
        if validation_fraction:
            train, held = train.split(validation_fraction)
        sizes = {
            "train": len(train),
            "validation": 0 if held is None else len(held),
            "test": len(test),
        }
        where = "digits inside scikit-learn" if data_dir is None else str(expand(data_dir))
        have = train.labels.sum(0, dtype="int64")
        return Splits(
            self._make(train, batch_size=batch_size, order="replacement", seed=seed),
            None if held is None else self.batches(held),
            self.batches(test),
            sizes,
            f"objects of {train.attributes} attributes in {where}, {sizes['train']:,} to train on, "
            f"{sizes['validation']:,} to validate, {sizes['test']:,} others to test once at the "
            "end.",
            train.attributes,
            fitted={},
            place="host",
            loss_arguments={
                "positives": have.tolist(),
                "negatives": (len(train) - have).tolist(),
            },
            attributes=train.names or [str(i) for i in range(train.attributes)],
        )
