"""Batches of shifted, mirrored and normalised images."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np

from keras_mg.datasets.images import Images
from keras_mg.layers.arguments import positive_int, standardize_data_format


class AugmentedImages(keras.utils.PyDataset):
    """Batches of a data set for `model.fit`, augmented as the papers do it.

    An image is framed by `shift` black pixels on each side and cropped to its size at a random
    place (all `(2 * shift + 1) ** 2` are equally likely), mirrored with probability 1/2, and then
    normalised. Order, crops and mirrors of batch `i` depend on `(seed, epoch, i)` alone, so a run
    repeats, and one that is resumed at epoch `e` sees what it would have seen:

    ```python
    import keras
    import numpy as np
    from keras_mg.applications import resnet
    from keras_mg.datasets import AugmentedImages, Images, SetEpoch

    some = Images(np.zeros((64, 32, 32, 3), "uint8"), np.arange(64) % 10)
    data = AugmentedImages(some, resnet.preprocess_input, batch_size=32)
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
        preprocess_input: called with a uint8 batch and `data_format=`; gives the batch that the
            network takes. A family's own, e.g. `keras_mg.applications.resnet.preprocess_input`.
        batch_size: int, images per batch; the last batch of an epoch may be smaller.
            Defaults to 128.
        shift: int, the largest displacement in pixels; 0 for none. Defaults to 4.
        flip: bool, whether images are mirrored (left-right) at random. Defaults to True.
        shuffle: bool, whether each epoch has an order of its own. Defaults to True.
        seed: int of at least 0, of order, crops and mirrors. Defaults to 0.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Output shape:
        `(x, y)`: x as `preprocess_input` gives it, `(batch, height, width, channels)` or
        `(batch, channels, height, width)`; y `(batch,)`.

    Raises:
        ValueError: if the images are not uint8, 4D and as many as the labels, there is none, or an
            argument is not of its kind.

    Example:

    >>> from keras_mg.applications import resnet
    >>> from keras_mg.datasets.images import load_images
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
        shift: int = 4,
        flip: bool = True,
        shuffle: bool = True,
        seed: int = 0,
        data_format: str | None = None,
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
        if isinstance(shift, bool) or not hasattr(shift, "__index__") or shift < 0:
            raise ValueError(f"shift must be an integer of at least 0. Received: {shift!r}")
        if not hasattr(seed, "__index__") or seed < 0:
            raise ValueError(f"seed must be an integer of at least 0. Received: {seed!r}")
        self.images, self.labels = images, labels
        self.preprocess_input = preprocess_input
        self.batch_size = positive_int("batch_size", batch_size)
        self.shift = int(shift)
        self.flip = bool(flip)
        self.shuffle = bool(shuffle)
        self.seed = int(seed)
        self.data_format = standardize_data_format(data_format)
        self.epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch whose batches are drawn, counted from 0."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = int(epoch)
        # Drawn here, not by the first batch that needs it: that would be one of several workers.
        self._draw_epoch()

    def _draw_epoch(self) -> None:
        rows = np.arange(len(self.labels))
        self._order = self._rng().permutation(rows) if self.shuffle else rows

    def _rng(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self._epoch, *numbers])

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def _places(self, index: int) -> slice:
        """Where a batch stands in the order of the epoch."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"Batch {index} of {len(self)} batches.")
        index %= len(self)
        return slice(index * self.batch_size, (index + 1) * self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self._order[self._places(index)]
        index %= len(self)
        x = self.images[rows]
        if self.shift or self.flip:
            # The leading 1 keeps this stream apart from that of the order.
            x = self._augment(x, self._rng(1, index))
        if self.data_format == "channels_first":
            x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
        return self.preprocess_input(x, data_format=self.data_format), self.labels[rows]

    def _augment(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        count, height, width, _ = x.shape
        down, right = rng.integers(0, 2 * self.shift, (2, count, 1), endpoint=True)
        mirrored = rng.integers(0, 1, (count, 1), endpoint=True) * self.flip
        frame = (self.shift, self.shift)
        framed = np.pad(x, ((0, 0), frame, frame, (0, 0)))
        rows = down + np.arange(height)
        columns = right + np.where(mirrored, np.arange(width)[::-1], np.arange(width))
        return framed[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]

    def on_epoch_end(self) -> None:
        # Keras has stopped the workers by now. It also calls this once before training.
        self.epoch += 1


class SetEpoch(keras.callbacks.Callback):
    """Tells the data which epoch of training begins, also when training is resumed.

    Args:
        data: the `AugmentedImages` or `DeviceImages` that `fit` is given.
    """

    def __init__(self, data: AugmentedImages):
        super().__init__()
        self.data = data

    def on_epoch_begin(self, epoch, logs=None):
        if self.data.epoch != epoch:
            self.data.epoch = epoch
