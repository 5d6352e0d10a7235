"""Small images with class labels: CIFAR, SVHN, MNIST and its kin, and digits without a download.

All but the digits come through tensorflow-datasets, which reads prepared folders in the
array_record format without TensorFlow. The digits are the 1,797 real ones inside scikit-learn's
wheel, enlarged to the size of a CIFAR image: a stand-in on which a recipe runs offline. They are no
CIFAR, and figures of one do not compare with figures of the other.
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
    "svhn_cropped": DataSet("svhn_cropped", "train", (32, 32, 3), 10, False),
    "mnist": DataSet("mnist", "train", (28, 28, 1), 10, False),
    "fashion_mnist": DataSet("fashion_mnist", "train", (28, 28, 1), 10, True),
    "digits": DataSet(None, "train", (32, 32, 3), 10, False),
}

_DIGIT_NAMES = tuple("0123456789")
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "svhn": _DIGIT_NAMES,
    "svhn_cropped": _DIGIT_NAMES,
    "mnist": _DIGIT_NAMES,
    "digits": _DIGIT_NAMES,
}
"""In the order of the labels."""
LICENCES = {
    "cifar10": "none stated",
    "cifar100": "none stated",
    "svhn": "for non-commercial use",
    "svhn_cropped": "for non-commercial use",
    "mnist": "CC BY-SA 3.0",
    "fashion_mnist": "MIT",
    "digits": "CC BY 4.0",
}
"""Of the images, as stated where they are published."""


def load_images(
    dataset: str,
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
) -> Images:
    """A whole data set as uint8 arrays.

    Args:
        dataset: "cifar10", "cifar100", "svhn", "svhn_cropped", "mnist", "fashion_mnist" or
            "digits". The training images of "svhn" are those of `train` and `extra` together
            (604,388), as the papers use them; "svhn_cropped" has the 73,257 of `train` alone.
            "digits" is scikit-learn's set: 1,347 to train on and 450 others to test on.
        split: "train" or "test".
        data_dir: folder of prepared tensorflow-datasets; None is `TFDS_DATA_DIR` of the
            environment or `~/tensorflow_datasets`. Not used for "digits".
        download: bool, whether tensorflow-datasets may download and prepare what is missing.
            Defaults to False: nothing is downloaded unasked.

    Returns:
        `Images(images, labels)`.

    Raises:
        ValueError: for an unknown `dataset` or `split`, or a record of another shape or class.
        ImportError: if tensorflow-datasets (for "digits", scikit-learn) is not installed.
        FileNotFoundError: if the data set is not prepared in `data_dir`.

    Example:

    >>> from keras_mg.datasets import load_images
    >>> images, labels = load_images("digits", "test")
    >>> images.shape, str(images.dtype), labels.shape
    ((450, 32, 32, 3), 'uint8', (450,))
    """
    description = DATASETS[one_of("dataset", dataset, tuple(DATASETS))]
    one_of("split", split, SPLITS)
    if description.tfds_name is None:
        return _enlarged_digits(split)
    wanted = description.train if split == "train" else "test"
    source = open_prepared(description.tfds_name, wanted, data_dir, download)
    images = np.empty((len(source), *description.image_shape), "uint8")
    labels = np.empty(len(source), "int64")
    for begin in range(0, len(source), _CHUNK):
        rows = range(begin, min(begin + _CHUNK, len(source)))
        for i, record in zip(rows, source.__getitems__(list(rows)), strict=True):
            if record["image"].shape != description.image_shape or not (
                0 <= record["label"] < description.classes
            ):
                raise ValueError(
                    f"{dataset} must have images of shape {description.image_shape} and labels "
                    f"from 0 to {description.classes - 1}. Received, record {i} of {wanted}: "
                    f"shape {record['image'].shape}, label {record['label']}"
                )
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

    >>> from keras_mg.datasets import load_images, split_validation
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


def open_prepared(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    decode: bool = True,
):
    """The records of a prepared tensorflow-data set, by their number.

    Args:
        name: in tensorflow-datasets, such as "cifar10" or "cluttered_mnist/seg".
        split: such as "train", "train+validation" or "test[:100]".
        data_dir: folder of prepared tensorflow-datasets; see `load_images`.
        download: bool, whether what is missing may be downloaded. Defaults to False.
        decode: bool, whether an `image` is an array, or stays a packed file. Defaults to True.

    Raises:
        ImportError: if tensorflow-datasets is not installed.
        FileNotFoundError: if the data set is not prepared there; it says how to do that.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"{name} is read by tensorflow-datasets, which cannot be imported ({error}). "
            'Install it with the extra `data`: pip install "keras-mg[data]"'
        ) from error
    folder = None if data_dir is None else os.path.expanduser(data_dir)
    packed = {} if decode else {"decoders": {"image": tfds.decode.SkipDecoding()}}
    if download:
        return tfds.data_source(name, split=split, data_dir=folder, download=True, **packed)
    try:
        return tfds.data_source(name, split=split, data_dir=folder, download=False, **packed)
    # What tensorflow-datasets raises depends on what is missing: the folder, the array_record
    # format or a split of it.
    except (NotImplementedError, AssertionError, ValueError, OSError) as error:
        shown = folder or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
        raise FileNotFoundError(
            f"{name} (split {split}) is not prepared in {shown} in the array_record format. "
            + _how_to_prepare(name, shown)
        ) from error


def _how_to_prepare(name: str, folder: str) -> str:
    if name.startswith("cluttered_mnist"):
        return f"Make it: `keras-mg data prepare {name} --data-dir {folder}`."
    way = (
        "Prepare it, with access to the internet: "
        f"`tfds build {name} --file_format=array_record --data_dir={folder}`, or call "
        "`load_images(..., download=True)`."
    )
    if name in ("mnist", "fashion_mnist"):
        way += (
            f" From its idx files: `keras-mg data prepare {name} --source-dir FOLDER "
            f"--data-dir {folder}`."
        )
    if name == "imagenet2012":
        way += (
            " It needs ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, from "
            f"https://image-net.org after registration, in {folder}/downloads/manual. Unpacked "
            "into a folder for each class, ImageNet is read by `ImageFolder` as it is."
        )
    return way
