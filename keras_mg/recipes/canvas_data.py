"""Cluttered MNIST as the data of a recipe."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Literal

import numpy as np

from keras_mg.datasets.canvas_batches import CanvasBatches
from keras_mg.datasets.cluttered_mnist import MEAN, SPLITS, STD, TASKS, Canvases
from keras_mg.datasets.images import open_prepared
from keras_mg.datasets.mnist_digits import load_mnist_digits
from keras_mg.layers.arguments import one_of, positive_int
from keras_mg.recipes.data import Splits

KINDS = ("stored", "stream", "embedded")


@dataclasses.dataclass(frozen=True)
class ClutteredMNIST:
    """One of the six tasks of cluttered MNIST.

    Args:
        task: a name in `keras_mg.datasets.cluttered_mnist.TASKS`.
        steps_per_epoch: int.
        kind: where canvases come from: "stored", the prepared data set, each canvas once before any
            comes again; "stream", ever new ones of the prepared `mnist`; "embedded", ever new ones
            of the digits that need no folder. Defaults to "stored".
        evaluated: int, canvases to validate and to test on, for "stream" and "embedded"; the stored
            ones are all used. Defaults to 1,000.

    Raises:
        ValueError: for another task or kind.

    Example:

    >>> from keras_mg.recipes import ClutteredMNIST
    >>> data = ClutteredMNIST("rot", steps_per_epoch=3, kind="embedded", evaluated=20)
    >>> data.open(batch_size=4).sizes
    {'train': 12, 'validation': 20, 'test': 20}
    """

    task: str
    steps_per_epoch: int
    kind: Literal["stored", "stream", "embedded"] = "stored"
    evaluated: int = 1000

    # What is subtracted from the ink, which is from 0 to 1, and what it is divided by then.
    normalization = (MEAN, STD)

    def __post_init__(self):
        one_of("task", self.task, tuple(TASKS))
        one_of("kind", self.kind, KINDS)
        positive_int("steps_per_epoch", self.steps_per_epoch)
        positive_int("evaluated", self.evaluated)

    @property
    def needs_folder(self) -> bool:
        """Whether the data lie in a folder of prepared tensorflow-datasets."""
        return self.kind != "embedded"

    def open(
        self,
        batch_size: int,
        seed: int = 0,
        data_dir: str | os.PathLike | None = None,
        validation_fraction: float | None = None,
        augment_on: str | None = None,
        fitted: Mapping[str, np.ndarray] | None = None,
    ) -> Splits:
        """Opens the canvases.

        Args:
            batch_size: int, canvases per step.
            seed: int, of the order of stored canvases, or of new ones; those of validation and test
                stay the same. Defaults to 0.
            data_dir: folder of prepared tensorflow-datasets; see `load_images`.
            validation_fraction: None keeps the parts apart; 0 trains on the stored canvases of
                `train` and `validation` together and validates on none, as the paper does for the
                five transformations.
            augment_on: must be None: nothing is augmented.
            fitted: there is nothing to fit.

        Raises:
            ValueError: for a needless argument.
            FileNotFoundError: if the data are not prepared there.
        """
        joined = validation_fraction == 0 and self.kind == "stored"
        for name, value, allowed in (
            ("validation_fraction", validation_fraction, joined),
            ("augment_on", augment_on, False),
            ("data_dir", data_dir, self.needs_folder),
        ):
            if value is not None and not allowed:
                raise ValueError(
                    f"Cluttered MNIST of the kind {self.kind!r} has its own parts and is not "
                    f"augmented: it takes no {name} of this kind. Received: {name}={value}"
                )
        sources = self._sources(data_dir, joined, seed)
        train = CanvasBatches(sources["train"], batch_size, self.steps_per_epoch, seed=seed)
        rest = {
            split: CanvasBatches(source, batch_size, shuffle=False)
            for split, source in sources.items()
            if split != "train"
        }
        sizes = {
            "train": train.canvases,
            "validation": rest["validation"].canvases if "validation" in rest else 0,
            "test": rest["test"].canvases,
        }
        description = (
            f"cluttered MNIST ({TASKS[self.task].title}, {self.kind}): {sizes['train']:,} canvases "
            f"per epoch; {sizes['validation']:,} to validate, {sizes['test']:,} others to test "
            "once at the end."
        )
        return Splits(
            train,
            rest.get("validation"),
            rest["test"],
            sizes,
            description,
            TASKS[self.task].maps,
            fitted={},
            place=None,
        )

    def _sources(self, data_dir, joined: bool, seed: int) -> dict:
        if self.kind == "stored":
            splits = {"train": "train+validation"} if joined else {"validation": "validation"}
            splits = {"train": "train", **splits, "test": "test"}
            return {
                name: open_prepared(f"cluttered_mnist/{self.task}", split, data_dir)
                for name, split in splits.items()
            }
        digits = (
            load_mnist_digits("embedded")
            if self.kind == "embedded"
            else load_mnist_digits("tfds", data_dir)
        )
        canvases = {
            split: Canvases(self.task, digits[split], split, seed if split == "train" else 0)
            for split in SPLITS
        }
        fixed = {split: _Fixed(canvases[split], self.evaluated) for split in SPLITS[1:]}
        return {"train": canvases["train"], **fixed}


class _Fixed:
    """The first canvases, drawn once."""

    def __init__(self, canvases: Canvases, count: int):
        drawn = (canvases[i] for i in range(count))
        self._records = [{"image": image, "target": target} for image, target in drawn]

    def __len__(self) -> int:
        return len(self._records)

    def __getitems__(self, rows):
        return [self._records[row] for row in rows]
