"""Augmentation layers of Keras and keras-cv on batches, each batch by a seed of its own."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import keras
import numpy as np


def _of_keras_cv(layer: str, **arguments) -> Callable[..., keras.layers.Layer]:
    """What makes a layer of keras-cv, which is imported then."""

    def make(seed: int):
        try:
            import keras_cv
        except ImportError as error:
            raise ImportError(
                f"{layer} of keras-cv needs the package and TensorFlow. "
                'Install them with the extra `cv`: pip install "keras-mg[cv]"'
            ) from error
        return getattr(keras_cv.layers, layer)(seed=seed, **arguments)

    return make


# By name: what is called with a seed and gives a layer, for pixels from 0 to 255. "cv_": of
# keras-cv, which is no longer developed.
LAYERS: Mapping[str, Callable[..., keras.layers.Layer]] = {
    "rand_augment": partial(
        keras.layers.RandAugment, value_range=(0, 255), data_format="channels_last"
    ),
    "aug_mix": partial(keras.layers.AugMix, value_range=(0, 255), data_format="channels_last"),
    "cut_mix": partial(keras.layers.CutMix, data_format="channels_last"),
    "mix_up": partial(keras.layers.MixUp, data_format="channels_last"),
    "cv_rand_augment": _of_keras_cv("RandAugment", value_range=(0, 255)),
    "cv_aug_mix": _of_keras_cv("AugMix", value_range=(0, 255)),
    "cv_cut_mix": _of_keras_cv("CutMix"),
    "cv_mix_up": _of_keras_cv("MixUp"),
}

# Python and TensorFlow have one seed for all threads.
_COMMON_SEED = threading.Lock()


def apply_layers(
    layers: Sequence[Callable[..., keras.layers.Layer]], images, labels, words: Sequence[int]
) -> tuple:
    """A batch as the layers change it, in their order.

    A layer is made anew for each batch, so what it draws depends on the seed alone and not on the
    batches before, and a run that is resumed goes on as it would have.

    Args:
        layers: each is called with `seed=` and gives a layer that takes and returns
            `{"images": ..., "labels": ...}`: those of `LAYERS`, or further ones of keras-cv, such
            as `functools.partial(keras_cv.layers.GridMask)`; these set TensorFlow's seed.
        images: array or tensor `(batch, height, width, channels)`, values 0 to 255.
        labels: array or tensor `(batch, classes)`, one-hot.
        words: integers of at least 0 that are the seed, such as seed, epoch and number of a batch.

    Returns:
        `(images, labels)`, float32: arrays where arrays came, and tensors otherwise.

    Example:

    >>> from keras_mg.datasets import LAYERS, apply_layers
    >>> import numpy as np
    >>> images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.eye(4, dtype="float32")
    >>> x, y = apply_layers([LAYERS["mix_up"]], images, labels, [0, 1])
    >>> x.shape, y.sum(1).round(4).tolist()
    ((4, 8, 8, 3), [1.0, 1.0, 1.0, 1.0])
    """
    on_host = isinstance(images, np.ndarray)
    batch = {
        "images": keras.ops.cast(images, "float32"),
        "labels": keras.ops.cast(labels, "float32"),
    }
    seeds = np.random.SeedSequence([int(word) for word in words]).generate_state(len(layers))
    for make, seed in zip(layers, seeds.tolist(), strict=True):
        layer = make(seed=seed % 2**31)
        if type(layer).__module__.partition(".")[0] == "keras_cv":
            batch = _in_tensorflow(layer, batch, seed)
        elif isinstance(layer, keras.layers.AugMix):
            batch = _with_python_seed(layer, batch, seed)
        else:
            batch = layer(batch, training=True)
    # RandAugment's brightness and contrast go beyond white.
    made = keras.ops.clip(batch["images"], 0, 255), batch["labels"]
    return tuple(map(keras.ops.convert_to_numpy, made)) if on_host else made


def _with_python_seed(layer, batch: dict, seed: int) -> dict:
    """A batch as AugMix changes it, which draws from Python's own state beside its seed."""
    with _COMMON_SEED:
        before = random.getstate()
        random.seed(seed)
        try:
            return layer(batch, training=True)
        finally:
            random.setstate(before)


def _in_tensorflow(layer, batch: dict, seed: int) -> dict:
    """A batch as a layer of keras-cv changes it, under any backend.

    Most of them draw from TensorFlow's own state, whatever seed they are given. Labels of 64 bits
    some refuse.
    """
    import tensorflow

    given = {key: keras.ops.convert_to_numpy(value) for key, value in batch.items()}
    with _COMMON_SEED:
        tensorflow.random.set_seed(seed)
        made = layer(given, training=True)
    return {key: keras.ops.convert_to_tensor(np.asarray(made[key])) for key in batch}


def one_hot(labels, classes: int):
    """Labels as vectors of one 1 and else 0.

    Args:
        labels: array or tensor of integers, `(batch,)`.
        classes: int.

    Returns:
        A float32 array or tensor `(batch, classes)`.

    Raises:
        ValueError: if a label of an array is not below `classes`.
    """
    if not isinstance(labels, np.ndarray):
        return keras.ops.one_hot(labels, classes, dtype="float32")
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"Labels must be from 0 to {classes - 1}. Received labels from {labels.min()} to "
            f"{labels.max()}"
        )
    return np.eye(classes, dtype="float32")[labels]
