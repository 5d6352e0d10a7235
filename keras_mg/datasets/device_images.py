"""Batches of shifted, mirrored and normalised images, made where the network runs."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from keras_mg.datasets.augmented_images import AugmentedImages
from keras_mg.datasets.images import Images
from keras_mg.layers.arguments import one_of

PLACES = ("device", "host")


def images_on(place: str | None) -> type[AugmentedImages]:
    """The class that augments images in one of two places.

    Args:
        place: "device" for `DeviceImages`, "host" for `AugmentedImages`, None for the device where
            it is a GPU and the host otherwise.

    Raises:
        ValueError: for another `place`.
    """
    if place is None:
        place = "device" if "cuda" in str(keras.ops.zeros((1,)).device).lower() else "host"
    return DeviceImages if one_of("augment_on", place, PLACES) == "device" else AugmentedImages


class DeviceImages(AugmentedImages):
    """`AugmentedImages` on the device: for data sets that fit into its memory.

    The images are copied to the device once, as uint8 (CIFAR-10: 154 MB), and drawn, cropped,
    mirrored and normalised there: during an epoch nothing is copied and the host waits for nothing,
    so a GPU is kept busy whatever the host. On a CPU it works too.

    Arguments and rules are those of `AugmentedImages`: all crops are equally likely, an image is
    mirrored with probability 1/2, and order, crops and mirrors of batch `i` depend on
    `(seed, epoch, i)` alone. They come from the backend's generator on that device, so another
    device draws others, and so does `AugmentedImages`.

    ```python
    import keras
    import numpy as np
    from keras_mg.applications import resnet
    from keras_mg.datasets import DeviceImages, Images, SetEpoch

    some = Images(np.zeros((64, 32, 32, 3), "uint8"), np.arange(64) % 10)
    data = DeviceImages(some, resnet.preprocess_input, batch_size=32)
    model = resnet.ResNet20()
    model.compile(loss="sparse_categorical_crossentropy")
    model.fit(data, shuffle=False, callbacks=[SetEpoch(data)])
    ```

    Args:
        data: `Images(images, labels)`: uint8 `(n, height, width, channels)`, and labels `(n,)`.
        preprocess_input: called with a uint8 tensor of a batch and `data_format=`; gives the batch
            that the network takes. A family's own, e.g.
            `keras_mg.applications.resnet.preprocess_input`, or anything made of `keras.ops`.
        batch_size: int, images per batch; the last batch of an epoch may be smaller.
            Defaults to 128.
        shift: int, the largest displacement in pixels; 0 for none. Defaults to 4.
        flip: bool, whether images are mirrored (left-right) at random. Defaults to True.
        shuffle: bool, whether each epoch has an order of its own. Defaults to True.
        seed: int of at least 0, of order, crops and mirrors. Defaults to 0.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.

    Output shape:
        `(x, y)`, tensors on the device that was Keras's when the data set was made: x as
        `preprocess_input` gives it, `(batch, height, width, channels)` or
        `(batch, channels, height, width)`; y `(batch,)`.

    Raises:
        ValueError: if the images are not uint8, 4D and as many as the labels, there is none, or an
            argument is not of its kind.

    Example:

    >>> from keras_mg.applications import resnet
    >>> from keras_mg.datasets.images import load_images
    >>> normalise = resnet.preprocess_input
    >>> data = DeviceImages(load_images("digits"), normalise, data_format="channels_last")
    >>> x, y = data[0]
    >>> tuple(x.shape), tuple(y.shape), len(data)
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
    ):
        super().__init__(
            data, preprocess_input, batch_size, shift, flip, shuffle, seed, data_format
        )
        self._images = keras.ops.convert_to_tensor(self.images)
        self._labels = keras.ops.convert_to_tensor(self.labels)
        _, height, width, _ = self.images.shape
        self._rows = keras.ops.arange(height, dtype="int32")
        self._columns = keras.ops.arange(width, dtype="int32")
        self._mirrored_columns = keras.ops.flip(self._columns)

    def _draw_epoch(self) -> None:
        # For the whole epoch at once: a batch then takes its part, and needs no generator.
        count = len(self.labels)
        order_seed, crop_seed, mirror_seed = self._seeds(3)
        self._order = keras.ops.arange(count, dtype="int32")
        if self.shuffle:
            self._order = keras.random.shuffle(self._order, seed=order_seed)
        if not (self.shift or self.flip):
            return
        places = 2 * self.shift + 1
        self._crops = keras.random.randint((2, count, 1), 0, places, "int32", seed=crop_seed)
        mirrors = keras.random.randint((count, 1), 0, 2, "int32", seed=mirror_seed)
        self._mirrors = keras.ops.cast(mirrors * self.flip, "bool")

    def _seeds(self, count: int) -> list[int]:
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(count)
        return [int(word) for word in state]

    def __getitem__(self, index: int):
        places = self._places(index)
        rows = self._order[places]
        x = self._images[rows]
        if self.shift or self.flip:
            x = self._crop_and_mirror(x, places)
        if self.data_format == "channels_first":
            x = keras.ops.moveaxis(x, -1, 1)
        return self.preprocess_input(x, data_format=self.data_format), self._labels[rows]

    def _crop_and_mirror(self, x, places: slice):
        down, right = self._crops[0, places], self._crops[1, places]
        if self.shift:
            frame = (self.shift, self.shift)
            x = keras.ops.pad(x, ((0, 0), frame, frame, (0, 0)))
        rows = down + self._rows
        columns = right + keras.ops.where(
            self._mirrors[places], self._mirrored_columns, self._columns
        )
        numbers = keras.ops.arange(x.shape[0], dtype="int32")
        return x[numbers[:, None, None], rows[:, :, None], columns[:, None, :]]
