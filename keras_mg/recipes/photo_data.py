"""Photographs in class folders, such as ImageNet, as the data of a recipe."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import numpy as np

from keras_mg._files import expand
from keras_mg.datasets.image_folder import ImageFolder
from keras_mg.datasets.keras_layers import LAYERS
from keras_mg.datasets.normalization import ChannelStatistics
from keras_mg.datasets.photo_batches import MEAN, STD, PhotoBatches
from keras_mg.datasets.photo_crops import CenterCrop, RandomAreaCrop, RandomAspectCrop
from keras_mg.layers.arguments import one_of
from keras_mg.recipes.data import Splits

# Of 1,281,167 photographs of ImageNet: some 25,000, half as many as there are to test on.
VALIDATION_FRACTION = 0.02
_EVALUATION_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Photographs:
    """A folder with `train/` and `val/`, each with a folder for each class; `val/` is the test.

    Args:
        crop: what becomes of a photograph in training. Defaults to `RandomAreaCrop(224)`.
        colors: what changes its colours afterwards. Defaults to nothing.
        flip: bool, whether it is mirrored with probability 1/2. Defaults to True.
        statistics: `ChannelStatistics` of red, green and blue. Defaults to ImageNet's.
        evaluation: what becomes of a photograph that a network is measured on. Defaults to
            `CenterCrop(224, 256)`.
        steps_per_epoch: int, or None for once through all. Defaults to None.
        layers: names in `keras_mg.datasets.LAYERS`; see `with_layers`. Defaults to none.
        on_corrupt: "raise" or "skip", of training photographs; see `PhotoBatches`. Defaults to
            "raise".
    """

    crop: RandomAreaCrop | RandomAspectCrop | CenterCrop = dataclasses.field(
        default_factory=RandomAreaCrop
    )
    colors: tuple[Callable, ...] = ()
    flip: bool = True
    statistics: ChannelStatistics = dataclasses.field(
        default_factory=lambda: ChannelStatistics(MEAN, STD)
    )
    evaluation: CenterCrop = dataclasses.field(default_factory=CenterCrop)
    steps_per_epoch: int | None = None
    layers: tuple[str, ...] = ()
    on_corrupt: Literal["raise", "skip"] = "raise"

    needs_folder = True

    def open(
        self,
        batch_size: int,
        seed: int = 0,
        data_dir: str | os.PathLike | None = None,
        validation_fraction: float | None = None,
        augment_on: str | None = None,
        fitted: Mapping[str, np.ndarray] | None = None,
    ) -> Splits:
        """Lists the photographs; they are read when their batch is made.

        Args:
            batch_size: int, photographs per step.
            seed: int, of order and augmentation. Defaults to 0.
            data_dir: the folder of `train/` and `val/`.
            validation_fraction: float in [0, 1), of the training photographs of each class, kept
                from training; they are the same for every seed. Defaults to 0.02.
            augment_on: must be None or "host", where photographs are decoded.
            fitted: there is nothing to fit.

        Raises:
            ValueError: for no `data_dir`, another `augment_on`, or folders that do not fit.
            FileNotFoundError: if there is no `train/` or `val/`.
        """
        if data_dir is None:
            raise ValueError(
                "Photographs lie in a folder that must be named: data_dir (--data-dir), with "
                "train/ and val/ in it, each with a folder for each class. Received: None"
            )
        one_of("augment_on", augment_on, (None, "host"))
        folder = expand(data_dir)
        train = ImageFolder(folder / "train")
        test = ImageFolder(folder / "val", train.class_names)
        if validation_fraction is None:
            validation_fraction = VALIDATION_FRACTION
        if not 0 <= validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be in [0, 1). Received: {validation_fraction}"
            )
        held = None
        if validation_fraction:
            train, held = train.split(validation_fraction)
        classes = len(train.class_names)
        make = partial(
            PhotoBatches,
            mean=self.statistics.mean,
            std=self.statistics.std,
            classes=classes if self.layers else None,
        )

        def plain(photos: ImageFolder) -> PhotoBatches:
            return make(photos, self.evaluation, _EVALUATION_BATCH, order="sequence")

        batches = make(
            train,
            self.crop,
            batch_size,
            colors=self.colors,
            flip=self.flip,
            layers=[LAYERS[one_of("layers", name, tuple(LAYERS))] for name in self.layers],
            steps_per_epoch=self.steps_per_epoch,
            seed=seed,
            on_corrupt=self.on_corrupt,
        )
        sizes = {
            "train": len(train),
            "validation": 0 if held is None else len(held),
            "test": len(test),
        }
        return Splits(
            batches,
            None if held is None else plain(held),
            plain(test),
            sizes,
            f"photographs of {classes:,} classes in {folder}, {sizes['train']:,} to train on, "
            f"{sizes['validation']:,} to validate, {sizes['test']:,} others to test once at the "
            "end.",
            classes,
            fitted={},
            place="host",
        )
