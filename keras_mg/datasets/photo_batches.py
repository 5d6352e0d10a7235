"""Batches of photographs for `fit`: read, cropped, changed and normalised by several threads."""

from __future__ import annotations

import concurrent.futures
import functools
import io
import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np

from keras_mg.datasets.attribute_lines import AttributeLines
from keras_mg.datasets.image_folder import ImageFolder, TFDSPhotos
from keras_mg.datasets.keras_layers import apply_layers, one_hot
from keras_mg.layers.arguments import one_of, positive_int, standardize_data_format

# Of ImageNet's pixels, red, green and blue from 0 to 255.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CORRUPT = ("raise", "skip")
_ORDERS = ("shuffle", "replacement", "sequence")


class PhotoBatches(keras.utils.PyDataset):
    """Batches of photographs, for recipes on ImageNet and any folder of class folders.

    Whatever is drawn for an image is a function of `(seed, epoch, image)` alone, and the order of
    an epoch of `(seed, epoch)`: a run repeats with any number of threads, and a resumed one goes on
    in the middle of an epoch where it was. Pillow lets other threads run while it decodes and
    scales, so threads are as good as processes, which would copy every batch.

    ```python
    from keras_mg.datasets import ImageFolder, PhotoBatches, RandomAreaCrop
    from keras_mg.datasets import ColorJitter, PCALighting

    def training_data(folder):
        return PhotoBatches(
            ImageFolder(folder),
            RandomAreaCrop(224),
            batch_size=64,
            colors=(ColorJitter(), PCALighting()),
            flip=True,
        )

    # model.fit(keras_mg.training.prefetch(training_data("imagenet/train")), epochs=200)
    ```

    Args:
        photos: `ImageFolder`, `TFDSPhotos` or `AttributeLines`.
        crop: makes a square array of a photograph: `RandomAreaCrop`, `RandomAspectCrop`,
            `CenterCrop`, `TenCrops`.
        batch_size: int. Defaults to 64.
        colors: what changes the colours afterwards, one after the other: `ColorJitter`,
            `PCALighting`, `HSLJitter`. Defaults to none.
        flip: bool, whether an image is mirrored (left-right) with probability 1/2. Defaults to
            False.
        layers: augmentation layers of Keras for whole batches, before they are normalised; see
            `apply_layers`. They need `classes`. Defaults to none.
        classes: int, makes labels one-hot vectors of that length. Defaults to None.
        mean: numbers from 0 to 255, subtracted from red, green and blue. Defaults to ImageNet's.
        std: numbers, by which they are divided. Defaults to ImageNet's.
        order: "shuffle", in an order of its own in every epoch, "replacement", drawn anew each
            time, or "sequence". Defaults to "shuffle".
        steps_per_epoch: int, where an epoch is not once through all; photographs come each once
            before any comes again. Defaults to None.
        seed: int of at least 0. Defaults to 0.
        shard: `(number, of)`, which part of each epoch's photographs is read by this process,
            counted from 0. All parts are equally long, so that up to `of - 1` photographs are left
            out of an epoch. Defaults to (0, 1).
        on_corrupt: "raise" stops at a photograph that cannot be read, and names it; "skip" leaves
            it out of its batch, with a warning that names it. Defaults to "raise".
        threads: int, that read and change images; None is one for each core, up to 8.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: of `keras.utils.PyDataset`.

    Output shape:
        `(x, y)`: x float32 `(batch, size, size, 3)` (of `TenCrops` `(batch, 10, size, size, 3)`),
        or with the channels before the height; y int64 `(batch,)`, or float32 `(batch, classes)`,
        as of attributes.

    Raises:
        ValueError: if an argument is not of its kind.
        OSError: when a batch is made, if a photograph cannot be read.
    """

    def __init__(
        self,
        photos: ImageFolder | TFDSPhotos | AttributeLines,
        crop: Callable,
        batch_size: int = 64,
        colors: Sequence[Callable] = (),
        flip: bool = False,
        layers: Sequence[Callable[..., keras.layers.Layer]] = (),
        classes: int | None = None,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        order: Literal["shuffle", "replacement", "sequence"] = "shuffle",
        steps_per_epoch: int | None = None,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
        on_corrupt: Literal["raise", "skip"] = "raise",
        threads: int | None = None,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if len(shard) != 2 or not 0 <= shard[0] < shard[1]:
            raise ValueError(
                f"shard must be (number, of) with 0 <= number < of. Received: {tuple(shard)}"
            )
        if not hasattr(seed, "__index__") or not 0 <= seed < 2**64:
            raise ValueError(f"seed must be an integer from 0 to 2**64 - 1. Received: {seed!r}")
        self.photos, self.crop = photos, crop
        self.layers = tuple(layers)
        self.classes = None if classes is None else positive_int("classes", classes)
        if self.layers and classes is None:
            raise ValueError("layers mix labels, so they need classes. Received: classes=None")
        self.batch_size = positive_int("batch_size", batch_size)
        self.colors, self.flip = tuple(colors), flip
        self._factor = (1 / np.asarray(std, "float64")).astype("float32")
        self._offset = (-np.asarray(mean, "float64") / np.asarray(std, "float64")).astype("float32")
        self.order = one_of("order", order, _ORDERS)
        self.seed, self.shard = int(seed), (int(shard[0]), int(shard[1]))
        self.on_corrupt = one_of("on_corrupt", on_corrupt, CORRUPT)
        self.threads = positive_int("threads", threads or min(os.cpu_count() or 1, 8))
        self.data_format = standardize_data_format(data_format)
        self._count = len(photos) // self.shard[1]  # of this part
        if not self._count:
            raise ValueError(
                f"There must be a photograph for each part. Received: {len(photos)} photographs, "
                f"shard={self.shard}"
            )
        self._partial = steps_per_epoch is None
        self._steps = positive_int(
            "steps_per_epoch", steps_per_epoch or math.ceil(self._count / self.batch_size)
        )
        self.epoch = 0  # whose batches are made, counted from 0
        self._order_of = functools.lru_cache(maxsize=2)(self._draw_order)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Batch {index} of {len(self)} batches.")
        rows = self._rows_of(index % len(self))
        if self.threads == 1:
            made = [self._make(*row) for row in rows]
        else:
            with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
                made = list(pool.map(self._make, *zip(*rows, strict=True)))
        kept = [each for each in made if each is not None]
        if not kept:
            raise OSError(f"No photograph of batch {index} can be read.")
        x = np.stack([image for image, _ in kept])
        y = np.array([label for _, label in kept], "int64")
        if y.ndim == 2:
            y = y.astype("float32")
        elif self.classes is not None:
            y = one_hot(y, self.classes)
        if self.layers:
            x, y = apply_layers(self.layers, x, y, [self.seed, self.epoch, index % len(self)])
            x = self._normalized(x)
        if self.data_format == "channels_first":
            x = np.ascontiguousarray(np.moveaxis(x, -1, -3))
        return x, y

    def _rows_of(self, batch: int) -> list[tuple[int, int]]:
        """The photographs of a batch, each with the pass over all of them that it belongs to."""
        begin = batch * self.batch_size
        if self._partial:
            places = [
                (self.epoch, i) for i in range(begin, min(begin + self.batch_size, self._count))
            ]
        else:
            begin += self.epoch * len(self) * self.batch_size
            places = [divmod(i, self._count) for i in range(begin, begin + self.batch_size)]
        return [(int(self._order_of(number)[place]), number) for number, place in places]

    def _draw_order(self, number: int) -> np.ndarray:
        rows = np.arange(len(self.photos))
        if self.order == "shuffle":
            rows = np.random.default_rng([self.seed, number]).permutation(rows)
        elif self.order == "replacement":
            rows = np.random.default_rng([self.seed, number]).choice(rows, len(rows))
        first, step = self.shard
        return rows[first::step][: self._count]

    def _make(self, row: int, number: int) -> tuple[np.ndarray, Any] | None:
        photo = self.photos[row]
        try:
            image = decode(photo.content)
        except OSError as error:
            message = f"{photo.name} cannot be read as an image: {error}"
            if self.on_corrupt == "raise":
                raise OSError(message) from error
            warnings.warn(f"{message}; it is left out", stacklevel=2)
            return None
        if photo.box is not None:
            image = image.crop(photo.box)
        key = np.array([self.seed, number], "uint64")
        rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, row]))
        x = self.crop(image, rng)
        for change in self.colors:
            x = change(x.astype("float32", copy=False), rng)
        if self.flip and rng.random() < 0.5:
            x = x[..., ::-1, :]
        return x if self.layers else self._normalized(x), photo.label

    def _normalized(self, x: np.ndarray) -> np.ndarray:
        # By rows of all their channels: an inner loop of three numbers takes twice the time.
        wide = np.ascontiguousarray(x).reshape(-1, x.shape[-2] * 3)
        out = np.multiply(wide, np.tile(self._factor, x.shape[-2]), dtype="float32")
        out += np.tile(self._offset, x.shape[-2])
        return out.reshape(x.shape)

    def on_epoch_end(self) -> None:
        # Keras has stopped the workers by now. It also calls this once before training.
        self.epoch += 1


def decode(content: bytes):
    """A Pillow image in RGB, complete.

    Args:
        content: of a file.

    Raises:
        OSError: if it is no image, or a part is missing.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as photo:
            return photo.convert("RGB")
    except Exception as error:  # of any kind: whatever a damaged file brings Pillow to
        raise OSError(str(error) or type(error).__name__) from error
