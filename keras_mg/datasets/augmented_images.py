"""Batches of augmented and normalised images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import keras
import numpy as np

from keras_mg.datasets.augmentation import ShiftAndFlip
from keras_mg.datasets.images import Images
from keras_mg.datasets.keras_layers import apply_layers, one_hot
from keras_mg.datasets.scale_and_crop import ScaleAndCrop
from keras_mg.layers.arguments import one_of, positive_int, standardize_data_format

SAMPLINGS = ("shuffle", "replacement", "balanced", "sequence")
WITH_REPLACEMENT = ("replacement", "balanced")


class AugmentedImages(keras.utils.PyDataset):
    """Batches of a data set for `model.fit`, augmented as the papers do it.

    Order and augmentation of an epoch are drawn from `(seed, epoch)` alone, so a run repeats, and
    one that is resumed at epoch `e` sees what it would have seen; `DeviceImages` sees the same:

    ```python
    import keras
    import numpy as np
    from keras_mg.applications import resnet
    from keras_mg.datasets import AugmentedImages, Images, SetEpoch, ShiftAndFlip

    some = Images(np.zeros((64, 32, 32, 3), "uint8"), np.arange(64) % 10)
    data = AugmentedImages(some, resnet.preprocess_input, 32, ShiftAndFlip(shift=4))
    model = resnet.ResNet20()
    model.compile(loss="sparse_categorical_crossentropy")
    # Without shuffle=False, Keras shuffles the batches once more, by a state of its own.
    model.fit(data, shuffle=False, initial_epoch=1, epochs=2, callbacks=[SetEpoch(data)])
    ```

    A batch of 128 CIFAR images takes about two milliseconds, so one worker (the default) does. More
    are safe: a batch is a function of its index, and what changes from epoch to epoch changes only
    while Keras has stopped the workers. But Keras may then hand batches that it has read ahead to
    the next epoch, and the order of such a run does not repeat.

    Args:
        data: `Images(images, labels)`: uint8 `(n, height, width, channels)`, and labels `(n,)`.
        preprocess_input: called with a uint8 batch and `data_format="channels_last"`; gives the
            normalised batch. A family's own, e.g. `keras_mg.applications.resnet.preprocess_input`,
            or a `Normalizer`.
        batch_size: int, images per batch. Defaults to 128.
        augmentation: `ShiftAndFlip`, `ScaleAndCrop`, or None for images as they are. Defaults to
            None.
        sampling: how the images of an epoch come: "shuffle", each once in an order of its own;
            "sequence", each once as they lie; "replacement", each batch full of images that are
            drawn independently, the same one perhaps twice; "balanced", likewise, but first a class
            is drawn, all equally likely, then an image of it. There are `ceil(n / batch_size)`
            batches, of which the last may be smaller unless images are drawn with replacement.
            Defaults to "shuffle".
        seed: int of at least 0, of order and augmentation. Defaults to 0.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        steps_per_epoch: int, another number of batches, where images are drawn with replacement.
            Defaults to None.
        layers: augmentation layers of Keras for the pixels, after `augmentation` on "pixels" and
            before they are normalised; see `apply_layers`. They need `classes`. Defaults to none.
        classes: int, makes labels one-hot vectors of that length. Defaults to None.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Output shape:
        `(x, y)`: x as `preprocess_input` gives it, `(batch, height, width, channels)` or
        `(batch, channels, height, width)`; y `(batch,)`, or `(batch, classes)`.

    Raises:
        ValueError: if the images are not uint8, 4D and as many as the labels, there is none, or an
            argument is not of its kind.

    Example:

    >>> from keras_mg.applications import resnet
    >>> from keras_mg.datasets import AugmentedImages, load_images
    >>> normalise = resnet.preprocess_input
    >>> data = AugmentedImages(load_images("digits"), normalise, data_format="channels_last")
    >>> x, y = data[0]
    >>> x.shape, y.shape, len(data)
    ((128, 32, 32, 3), (128,), 11)
    """

    def __init__(
        self,
        data: Images,
        preprocess_input: Callable,
        batch_size: int = 128,
        augmentation: ShiftAndFlip | ScaleAndCrop | None = None,
        sampling: Literal["shuffle", "replacement", "balanced", "sequence"] = "shuffle",
        seed: int = 0,
        data_format: str | None = None,
        steps_per_epoch: int | None = None,
        layers: Sequence[Callable[..., keras.layers.Layer]] = (),
        classes: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        images, labels = np.asarray(data.images), np.asarray(data.labels)
        if images.dtype != np.uint8 or images.ndim != 4 or labels.shape != images.shape[:1]:
            raise ValueError(
                "The images must be uint8 of shape (n, height, width, channels), the labels of "
                f"shape (n,). Received: images {images.dtype} {images.shape}, labels {labels.shape}"
            )
        if not len(images):
            raise ValueError(f"There is no image. Received: images {images.shape}")
        if not hasattr(seed, "__index__") or seed < 0:
            raise ValueError(f"seed must be an integer of at least 0. Received: {seed!r}")
        self.preprocess_input = preprocess_input
        self.batch_size = positive_int("batch_size", batch_size)
        self.augmentation = augmentation
        self.sampling = one_of("sampling", sampling, SAMPLINGS)
        self.seed = int(seed)
        self.data_format = standardize_data_format(data_format)
        if steps_per_epoch is not None and sampling not in WITH_REPLACEMENT:
            raise ValueError(
                "steps_per_epoch is for images that are drawn with replacement. "
                f"Received: steps_per_epoch={steps_per_epoch}, sampling={sampling!r}"
            )
        # The rows of each class, one class after the other.
        self._by_class = np.argsort(labels, kind="stable").astype("int32")
        self._class_sizes = np.unique(labels, return_counts=True)[1]
        self.layers = tuple(layers)
        self.classes = None if classes is None else positive_int("classes", classes)
        if self.layers and classes is None:
            raise ValueError("layers mix labels, so they need classes. Received: classes=None")
        if classes is not None:
            labels = one_hot(labels, classes)
        self._count = len(labels)
        self._steps = positive_int(
            "steps_per_epoch", steps_per_epoch or math.ceil(self._count / self.batch_size)
        )
        self._images, self._labels = self._put(images), self._put(labels)
        self.epoch = 0

    def _put(self, array: np.ndarray):
        """An array where the batches are made."""
        return array

    @property
    def epoch(self) -> int:
        """The epoch whose batches are drawn, counted from 0."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = int(epoch)
        # Drawn here, not by the first batch that needs it: that would be one of several workers.
        self._rows = self._put(self._draw_rows())
        self._drawn: tuple = ()
        if self.augmentation is not None:
            # The 1 keeps this stream apart from that of the rows.
            rng = np.random.default_rng([self.seed, self._epoch, 1])
            drawn = self.augmentation.draw(rng, len(self._rows))
            self._drawn = tuple(self._put(array) for array in drawn)

    def _draw_rows(self) -> np.ndarray:
        rng = np.random.default_rng([self.seed, self._epoch])
        if self.sampling == "balanced":
            classes = rng.integers(len(self._class_sizes), size=len(self) * self.batch_size)
            sizes = self._class_sizes[classes]
            begins = np.cumsum(self._class_sizes)[classes] - sizes
            return self._by_class[begins + rng.integers(sizes)]
        if self.sampling == "replacement":
            return rng.integers(self._count, size=len(self) * self.batch_size, dtype="int32")
        rows = np.arange(self._count, dtype="int32")
        return rng.permutation(rows) if self.sampling == "shuffle" else rows

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int):
        if not -len(self) <= index < len(self):
            raise IndexError(f"Batch {index} of {len(self)} batches.")
        begin = index % len(self) * self.batch_size
        places = slice(begin, begin + self.batch_size)
        rows = self._rows[places]
        x, y = self._augment(self._images[rows], "pixels", places), self._labels[rows]
        if self.layers:
            # The 2 keeps this stream apart from those of the rows and of the augmentation.
            words = [self.seed, self._epoch, 2, index % len(self)]
            x, y = apply_layers(self.layers, x, y, words)
        x = self.preprocess_input(x, data_format="channels_last")
        x = self._augment(x, "normalized", places)
        if self.data_format == "channels_first":
            x = self._channels_first(x)
        return x, y

    def _augment(self, x, stage: str, places: slice):
        if self.augmentation is None or self.augmentation.on != stage:
            return x
        return self.augmentation(x, *(array[places] for array in self._drawn))

    def _channels_first(self, x):
        return np.ascontiguousarray(np.moveaxis(x, -1, 1))

    def on_epoch_end(self) -> None:
        # Keras has stopped the workers by now. It also calls this once before training.
        self.epoch += 1
