"""Batches of cluttered MNIST for `fit`: of stored canvases, or of ever new ones."""

from __future__ import annotations

import functools
import math

import keras
import numpy as np

from keras_mg.datasets.cluttered_mnist import MEAN, STD, Canvases
from keras_mg.layers.arguments import positive_int, standardize_data_format


class CanvasBatches(keras.utils.PyDataset):
    """Batches of cluttered MNIST, normalised as the papers do it.

    ```python
    from keras_mg.datasets import CanvasBatches, Canvases, SetEpoch, load_mnist_digits

    digits = load_mnist_digits("embedded")
    # Ever new canvases; with tfds.data_source("cluttered_mnist/rot", split="train") those on disk.
    data = CanvasBatches(Canvases("rot", digits["train"]), batch_size=16, steps_per_epoch=100)
    x, y = data[0]
    # model.fit(data, shuffle=False, epochs=3, callbacks=[SetEpoch(data)])
    ```

    Args:
        source: `Canvases`, of which every batch of every epoch takes the next ones, never the same
            twice; or what `tfds.data_source` gives of a prepared `cluttered_mnist`.
        batch_size: int, canvases per batch. Defaults to 64.
        steps_per_epoch: int, batches per epoch, which `Canvases` need. Stored canvases come each
            once before any comes again, whatever an epoch is. None is once through the stored
            ones, where the last batch may be smaller. Defaults to None.
        shuffle: bool, whether stored canvases come in an order that is drawn anew in every pass, or
            as they lie. Defaults to True.
        seed: int of at least 0, of that order. Defaults to 0.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Output shape:
        `(x, y)`, float32. Channels last: `(batch, 64, 64, 1)`, ink minus 0.1141, divided by
        0.2746, and `(batch, 64, 64, maps)`, zeros and ones.

    Raises:
        ValueError: if `Canvases` come without `steps_per_epoch`, there is no canvas, or an argument
            is not of its kind.
    """

    def __init__(
        self,
        source,
        batch_size: int = 64,
        steps_per_epoch: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.source = source
        self.batch_size = positive_int("batch_size", batch_size)
        self.shuffle = shuffle
        if not hasattr(seed, "__index__") or seed < 0:
            raise ValueError(f"seed must be an integer of at least 0. Received: {seed!r}")
        self.seed = int(seed)
        self.data_format = standardize_data_format(data_format)
        self._endless = isinstance(source, Canvases)
        self._count = 0 if self._endless else len(source)
        if not (self._endless or self._count):
            raise ValueError("There is no canvas. Received an empty source.")
        self._partial = steps_per_epoch is None
        if steps_per_epoch is None:
            if self._endless:
                raise ValueError(
                    "Canvases have no end, so an epoch of them needs steps_per_epoch. "
                    "Received: steps_per_epoch=None"
                )
            steps_per_epoch = math.ceil(self._count / self.batch_size)
        self.steps_per_epoch = positive_int("steps_per_epoch", steps_per_epoch)
        self.epoch = 0  # whose batches are drawn, counted from 0
        self._order = functools.lru_cache(maxsize=4)(self._draw_order)

    def __len__(self) -> int:
        return self.steps_per_epoch

    @property
    def canvases(self) -> int:
        """How many canvases an epoch has."""
        return self._count if self._partial else len(self) * self.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Batch {index} of {len(self)} batches.")
        examples = self._examples(index % len(self))
        x = np.stack([image for image, _ in examples])
        y = np.stack([target for _, target in examples]).astype("float32")
        x = (x - np.float32(MEAN)) / np.float32(STD)
        if self.data_format == "channels_first":
            x, y = (np.ascontiguousarray(np.moveaxis(array, -1, 1)) for array in (x, y))
        return x, y

    def _examples(self, batch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        begin = batch * self.batch_size
        if self._endless:
            begin += self.epoch * len(self) * self.batch_size
            return [self.source[i] for i in range(begin, begin + self.batch_size)]
        if self._partial:
            rows = self._order(self.epoch)[begin : begin + self.batch_size].tolist()
        else:
            begin += self.epoch * len(self) * self.batch_size
            places = [divmod(i, self._count) for i in range(begin, begin + self.batch_size)]
            rows = [int(self._order(number)[place]) for number, place in places]
        records = self.source.__getitems__(rows)
        return [(record["image"], record["target"]) for record in records]

    def _draw_order(self, number: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self._count)
        return np.random.default_rng([self.seed, number]).permutation(self._count)

    def on_epoch_end(self) -> None:
        # Keras has stopped the workers by now. It also calls this once before training.
        self.epoch += 1
