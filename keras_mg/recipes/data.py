"""What recipes train on: a record of the data, and what it opens as."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from keras_mg.datasets.augmentation import ShiftAndFlip
from keras_mg.datasets.augmented_images import SAMPLINGS
from keras_mg.datasets.device_images import images_on
from keras_mg.datasets.digits import NUM_CLASSES, ScatteredDigits
from keras_mg.datasets.images import DATASETS, Images, load_images, split_validation
from keras_mg.datasets.keras_layers import LAYERS
from keras_mg.datasets.normalization import ChannelStatistics, MeanImage
from keras_mg.datasets.scale_and_crop import ScaleAndCrop
from keras_mg.datasets.whitening import ContrastAndZCA, make_preprocessing
from keras_mg.layers.arguments import one_of

VALIDATION_FRACTION = 0.1
_EVALUATION_BATCH = 256  # images


class Splits(NamedTuple):
    """Data, opened: batches for `fit` and `evaluate`, and what was fitted to make them."""

    train: keras.utils.PyDataset  # with an `epoch` that can be set
    validation: keras.utils.PyDataset | None
    test: keras.utils.PyDataset
    sizes: dict[str, int]  # images of each
    description: str  # for people
    classes: int  # or maps
    fitted: dict[str, np.ndarray]  # arrays that were fitted to the training images, by name
    place: str | None  # where the batches are made, "host" or "device"
    # What the loss takes from the training data.
    loss_arguments: Mapping[str, Any] = MappingProxyType({})
    attributes: list[str] | None = None  # their names, where labels are bits of them


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """A data set of images with one label each.

    Args:
        dataset: a name in `keras_mg.datasets.images.DATASETS`.
        preprocessing: `ChannelStatistics`, or `MeanImage` or `ContrastAndZCA`, which are fitted to
            the training images.
        augmentation: what happens to training images, or None.
        sampling: how an epoch draws its images; see `AugmentedImages`. Defaults to "shuffle".
        steps_per_epoch: int, where it is not the images that decide; likewise.
        evaluation: what happens to the images that a network is measured on, or None.
        layers: names of Keras's augmentation layers in `keras_mg.datasets.LAYERS`, for training.
            Labels are one-hot vectors then; `with_layers` makes a recipe of it.

    Raises:
        ValueError: for another data set or sampling.

    Example:

    >>> from keras_mg.datasets import ChannelStatistics
    >>> from keras_mg.recipes import LabelledImages
    >>> data = LabelledImages("digits", ChannelStatistics((120.0,) * 3, (60.0,) * 3))
    >>> splits = data.open(batch_size=32, validation_fraction=0.1)
    >>> splits.sizes
    {'train': 1211, 'validation': 136, 'test': 450}
    >>> tuple(splits.train[0][0].shape)
    (32, 32, 32, 3)
    """

    dataset: str
    preprocessing: ChannelStatistics | MeanImage | ContrastAndZCA
    augmentation: ShiftAndFlip | ScaleAndCrop | None = None
    sampling: Literal["shuffle", "replacement", "balanced", "sequence"] = "shuffle"
    steps_per_epoch: int | None = None
    evaluation: ScaleAndCrop | None = None
    layers: tuple[str, ...] = ()

    def __post_init__(self):
        one_of("dataset", self.dataset, tuple(DATASETS))
        one_of("sampling", self.sampling, SAMPLINGS)

    @property
    def needs_folder(self) -> bool:
        """Whether the data lie in a folder of prepared tensorflow-datasets."""
        return DATASETS[self.dataset].tfds_name is not None

    def open(
        self,
        batch_size: int,
        seed: int = 0,
        data_dir: str | os.PathLike | None = None,
        validation_fraction: float | None = None,
        augment_on: str | None = None,
        fitted: Mapping[str, np.ndarray] | None = None,
    ) -> Splits:
        """Reads the images.

        Args:
            batch_size: int, training images per step.
            seed: int, of order and augmentation. Defaults to 0.
            data_dir: folder of prepared tensorflow-datasets; see `load_images`.
            validation_fraction: float in [0, 1), of the training images of each class, kept from
                training; they are the same for every seed. Defaults to 0.1.
            augment_on: "host", "device" or None for the device where it is a GPU.
            fitted: the arrays that were fitted in an earlier part of this run.

        Raises:
            ValueError: for a `data_dir` where the data need none, or an argument out of its range.
            FileNotFoundError: if the data set is not prepared there.
        """
        if data_dir is not None and not self.needs_folder:
            raise ValueError(
                f"The {self.dataset} are embedded and need no folder. Received: data_dir={data_dir}"
            )
        make = images_on(augment_on)
        if validation_fraction is None:
            validation_fraction = VALIDATION_FRACTION
        train, held = split_validation(
            load_images(self.dataset, "train", data_dir), validation_fraction
        )
        test = load_images(self.dataset, "test", data_dir)
        normalizer = make_preprocessing(fitted) if fitted else self.preprocessing.fit(train.images)

        classes = DATASETS[self.dataset].classes if self.layers else None

        def plain(images: Images):
            return make(
                images,
                normalizer,
                _EVALUATION_BATCH,
                self.evaluation,
                sampling="sequence",
                classes=classes,
            )

        sizes = {
            "train": len(train.labels),
            "validation": 0 if held is None else len(held.labels),
            "test": len(test.labels),
        }
        description = (
            f"{self.dataset}, {sizes['train']:,} images to train on, {sizes['validation']:,} to "
            f"validate, {sizes['test']:,} others to test once at the end."
        )
        if not self.needs_folder:
            description += (
                "\nThe embedded digits of scikit-learn stand in for real data: this shows that the "
                "recipe runs and learns, no published figure."
            )
        return Splits(
            make(
                train,
                normalizer,
                batch_size,
                self.augmentation,
                self.sampling,
                seed,
                steps_per_epoch=self.steps_per_epoch,
                layers=[LAYERS[one_of("layers", name, tuple(LAYERS))] for name in self.layers],
                classes=classes,
            ),
            None if held is None else plain(held),
            plain(test),
            sizes,
            description,
            1 + int(max(train.labels.max(), test.labels.max())),
            normalizer.arrays,
            "host" if make is images_on("host") else "device",
        )


@dataclasses.dataclass(frozen=True)
class DigitCanvases:
    """Canvases of scattered digits, new in every training step; those of the test stay the same.

    Args:
        steps_per_epoch: int.
        validation: int, canvases to measure after each epoch.
        test: int, canvases to measure at the end.

    Example:

    >>> from keras_mg.recipes import DigitCanvases
    >>> DigitCanvases(steps_per_epoch=3, validation=8, test=20).open(batch_size=4).sizes
    {'train': 12, 'validation': 8, 'test': 20}
    """

    steps_per_epoch: int
    validation: int
    test: int

    needs_folder = False
    # What is subtracted from the ink, which is from 0 to 1, and what it is divided by then.
    normalization = (0.0, 1.0)

    def open(
        self,
        batch_size: int,
        seed: int = 0,
        data_dir: str | os.PathLike | None = None,
        validation_fraction: float | None = None,
        augment_on: str | None = None,
        fitted: Mapping[str, np.ndarray] | None = None,
    ) -> Splits:
        """Makes the canvases; what is given besides `batch_size` and `seed` is an error.

        Args:
            batch_size: int, canvases per step.
            seed: int, of the training canvases; the others are of seed 0, so that runs with other
                seeds are measured on the same. Defaults to 0.
            data_dir: must be None, as must be the rest.
            validation_fraction: the split of the digits is fixed.
            augment_on: canvases are drawn on the host.
            fitted: there is nothing to fit.

        Raises:
            ValueError: if one of these is given.
        """
        given = {
            "data_dir": data_dir,
            "validation_fraction": validation_fraction,
            "augment_on": augment_on,
        }
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    "Scattered digits are embedded, split once and for all, and drawn on the host: "
                    f"they take no {name}. Received: {name}={value}"
                )
        counts = {
            "train": self.steps_per_epoch * batch_size,
            "validation": self.validation,
            "test": self.test,
        }
        train = ScatteredDigits("train", counts["train"], batch_size, seed=seed)
        validation, test = (
            ScatteredDigits(split, counts[split], batch_size) for split in ("validation", "test")
        )
        digits, others = (len(data.scatterer.digits.labels) for data in (train, test))
        description = (
            f"{counts['train']:,} new canvases per epoch, drawn from {digits:,} handwritten "
            f"digits; {counts['test']:,} canvases of {others:,} other digits to test at the end."
        )
        return Splits(
            train, validation, test, counts, description, NUM_CLASSES, fitted={}, place=None
        )
