"""Small images with class labels: CIFAR-10, CIFAR-100, SVHN, MNIST, and digits without a download.

The first four come through tensorflow-datasets, which reads prepared folders in the array_record
format without TensorFlow. The digits are the 1,797 real ones inside scikit-learn's wheel, enlarged
to the size of a CIFAR image: a stand-in on which a recipe runs offline. They are no CIFAR, and
figures of one do not compare with figures of the other.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from keras_mg.datasets.digits import split_digits
from keras_mg.layers.arguments import one_of

SPLITS = ("train", "test")
# Records are decoded this many at a time, straight into their place: no second copy of a data set.
_CHUNK = 1000
# Pixels per pixel of a digit: 8x8 becomes 32x32.
_ENLARGEMENT = 4


class Images(NamedTuple):
    """`images`, uint8 0 to 255 of shape `(n, height, width, channels)`, and int64 `labels` (n,)."""

    images: np.ndarray
    labels: np.ndarray


class DataSet(NamedTuple):
    """A data set: where it is, and what an image of it looks like."""

    tfds_name: str | None  # in tensorflow-datasets; None for the embedded digits
    train: str  # the tensorflow-datasets splits that the papers train on
    image_shape: tuple[int, int, int]  # height and width in pixels, channels
    classes: int
    mirrors: bool  # whether a mirrored image is still one of its class


DATASETS = {
    "cifar10": DataSet("cifar10", "train", (32, 32, 3), 10, True),
    "cifar100": DataSet("cifar100", "train", (32, 32, 3), 100, True),
    "svhn": DataSet("svhn_cropped", "train+extra", (32, 32, 3), 10, False),
    "mnist": DataSet("mnist", "train", (28, 28, 1), 10, False),
    "digits": DataSet(None, "train", (32, 32, 3), 10, False),
}


def load_images(
    dataset: str,
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
) -> Images:
    """A whole data set as uint8 arrays.

    Args:
        dataset: "cifar10", "cifar100", "svhn", "mnist" or "digits". SVHN's training images are
            those of `train` and `extra` together (604,388), as the papers use them. "digits" is
            scikit-learn's set: 1,347 to train on and 450 others to test on.
        split: "train" or "test".
        data_dir: folder of prepared tensorflow-datasets; None is `TFDS_DATA_DIR` of the
            environment or `~/tensorflow_datasets`. Not used for "digits".
        download: bool, whether tensorflow-datasets may download and prepare what is missing.
            Defaults to False: nothing is downloaded unasked.

    Returns:
        `Images(images, labels)`.

    Raises:
        ValueError: for an unknown `dataset` or `split`.
        ImportError: if tensorflow-datasets (for "digits", scikit-learn) is not installed.
        FileNotFoundError: if the data set is not prepared in `data_dir`.

    Example:

    >>> images, labels = load_images("digits", "test")
    >>> images.shape, str(images.dtype), labels.shape
    ((450, 32, 32, 3), 'uint8', (450,))
    """
    description = DATASETS[one_of("dataset", dataset, tuple(DATASETS))]
    one_of("split", split, SPLITS)
    if description.tfds_name is None:
        return _enlarged_digits(split)
    source = _open(description, split, data_dir, download)
    images = np.empty((len(source), *description.image_shape), "uint8")
    labels = np.empty(len(source), "int64")
    for begin in range(0, len(source), _CHUNK):
        rows = range(begin, min(begin + _CHUNK, len(source)))
        for i, record in zip(rows, source.__getitems__(list(rows)), strict=True):
            images[i], labels[i] = record["image"], record["label"]
    return Images(images, labels)


def split_validation(
    data: Images, fraction: float = 0.1, seed: int = 0
) -> tuple[Images, Images | None]:
    """Cuts a validation set from training images, the same fraction of each class.

    Args:
        data: the training images.
        fraction: float in [0, 1), of each class; rounded to whole images. Defaults to 0.1.
        seed: int; the same seed gives the same cut.

    Returns:
        `(train, validation)`, disjoint, together all of `data`; `(data, None)` for a `fraction`
        of 0.

    Raises:
        ValueError: if `fraction` is out of its range or so small or large that one of the sets
            would be empty.

    Example:

    >>> train, validation = split_validation(load_images("digits"), 0.1)
    >>> len(train.labels), len(validation.labels)
    (1211, 136)
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"`fraction` must be in [0, 1). Received: {fraction}")
    if fraction == 0:
        return data, None
    rng = np.random.default_rng(seed)
    held = np.zeros(len(data.labels), bool)
    for label in np.unique(data.labels):
        rows = rng.permutation(np.flatnonzero(data.labels == label))
        held[rows[: round(fraction * len(rows))]] = True
    if held.all() or not held.any():
        raise ValueError(
            f"A `fraction` of {fraction} of {len(held)} images, cut class by class, leaves the "
            f"{'training' if held.all() else 'validation'} set empty."
        )
    return (
        Images(data.images[~held], data.labels[~held]),
        Images(data.images[held], data.labels[held]),
    )


def _enlarged_digits(split: str) -> Images:
    # What the digits' own split holds back for validation is training data here: the validation
    # set is cut from the training images whatever the data set.
    parts = split_digits()
    names = ("train", "validation") if split == "train" else ("test",)
    images = np.concatenate([parts[name].images for name in names])
    grey = np.rint(255 * images).astype("uint8")
    grey = grey.repeat(_ENLARGEMENT, axis=1).repeat(_ENLARGEMENT, axis=2)
    return Images(
        grey[..., None].repeat(3, axis=3), np.concatenate([parts[name].labels for name in names])
    )


def _open(description: DataSet, split: str, data_dir, download: bool):
    name = description.tfds_name
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"{name} is read by tensorflow-datasets, which cannot be imported ({error}). "
            'Install it with the extra `data`: pip install "keras-mg[data]"'
        ) from error
    folder = None if data_dir is None else os.path.expanduser(data_dir)
    wanted = description.train if split == "train" else "test"
    if download:
        return tfds.data_source(name, split=wanted, data_dir=folder, download=True)
    try:
        return tfds.data_source(name, split=wanted, data_dir=folder, download=False)
    # What tensorflow-datasets raises depends on what is missing: the folder, the array_record
    # format or a split of it.
    except (NotImplementedError, AssertionError, ValueError, OSError) as error:
        made = ""
        if name in ("mnist", "fashion_mnist"):
            made = (
                f" From its idx files: `keras-mg data prepare {name} --source-dir FOLDER "
                f"--data-dir {folder or '...'}`."
            )
        shown = folder or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
        raise FileNotFoundError(
            f"{name} (split {wanted}) is not prepared in {shown} in the array_record format. "
            "Prepare it, with access to the internet: "
            f"`tfds build {name} --file_format=array_record --data_dir={shown}`, or call "
            f"`load_images(..., download=True)`.{made}"
        ) from error
