"""Batches of augmented and normalised images, made where the network runs."""

from __future__ import annotations

import keras
import numpy as np

from keras_mg.datasets.augmented_images import AugmentedImages
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

    The images are copied to the device once, as uint8 (CIFAR-10: 154 MB), and gathered, cropped,
    mirrored and normalised there: during an epoch nothing is copied and the host waits for nothing,
    so a GPU is kept busy whatever the host. What happens to which image is drawn on the host, once
    per epoch, so the crops are those of `AugmentedImages`, bit for bit. On a CPU it works too.

    ```python
    import keras
    import numpy as np
    from keras_mg.applications import resnet
    from keras_mg.datasets import DeviceImages, Images, SetEpoch, ShiftAndFlip

    some = Images(np.zeros((64, 32, 32, 3), "uint8"), np.arange(64) % 10)
    data = DeviceImages(some, resnet.preprocess_input, 32, ShiftAndFlip(shift=4))
    model = resnet.ResNet20()
    model.compile(loss="sparse_categorical_crossentropy")
    model.fit(data, shuffle=False, callbacks=[SetEpoch(data)])
    ```

    Args:
        data: as of `AugmentedImages`, and so are `batch_size`, `augmentation`, `sampling`, `seed`
            and `data_format`.
        preprocess_input: called with a uint8 tensor of a batch and `data_format="channels_last"`;
            gives the normalised batch. A family's own, e.g.
            `keras_mg.applications.resnet.preprocess_input`, a `Normalizer`, or anything made of
            `keras.ops`.

    Output shape:
        `(x, y)`, tensors on the device that was Keras's when the data set was made: x as
        `preprocess_input` gives it, `(batch, height, width, channels)` or
        `(batch, channels, height, width)`; y `(batch,)`.

    Raises:
        ValueError: as `AugmentedImages` does.

    Example:

    >>> from keras_mg.applications import resnet
    >>> from keras_mg.datasets import DeviceImages, load_images
    >>> normalise = resnet.preprocess_input
    >>> data = DeviceImages(load_images("digits"), normalise, data_format="channels_last")
    >>> x, y = data[0]
    >>> tuple(x.shape), tuple(y.shape), len(data)
    ((128, 32, 32, 3), (128,), 11)
    """

    def _put(self, array: np.ndarray):
        return keras.ops.convert_to_tensor(array)

    def _channels_first(self, x):
        return keras.ops.moveaxis(x, -1, 1)
