"""Handwritten digits of 28x28 pixels: MNIST, from where it is, or a stand-in without a download."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_mg._files import expand
from keras_mg.datasets.digit_operations import scale
from keras_mg.datasets.digits import Digits, split_digits
from keras_mg.datasets.images import load_images
from keras_mg.layers.arguments import one_of

SOURCES = ("tfds", "idx", "embedded")
# MNIST's training images in their own order: the first are trained on, the others validate.
TRAINED_ON = 50_000
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_SIDE, _BOX = 28, 20  # pixels: MNIST fits its digits into a box of 20 in the middle of 28


class MNISTDigits(NamedTuple):
    """`images`, uint8 0 to 255 of shape `(n, 28, 28)`, and int64 `labels` `(n,)`."""

    images: np.ndarray
    labels: np.ndarray


def load_mnist_digits(
    source: str = "tfds", data_dir: str | os.PathLike | None = None
) -> dict[str, MNISTDigits]:
    """The digits to train on, to validate on and to test on.

    Args:
        source: "tfds", the prepared tensorflow-data set `mnist`; "idx", MNIST's four files as they
            are published, packed by gzip or not; "embedded", scikit-learn's 1,797 digits of 8x8
            pixels, enlarged to MNIST's box of 20 in a frame of 28: no MNIST, but there without a
            download. Defaults to "tfds".
        data_dir: for "tfds" as of `load_images`; for "idx" the folder of the files.

    Returns:
        A dictionary with the keys `"train"`, `"validation"` and `"test"`. MNIST's 60,000 training
        digits are 50,000 to train on and, the last ones, 10,000 to validate on.

    Raises:
        ValueError: for an unknown source, a missing or needless `data_dir`, or a damaged file.
        FileNotFoundError: if the digits are not there; it says what to get and where to put it.

    Example:

    >>> from keras_mg.datasets import load_mnist_digits
    >>> digits = load_mnist_digits("embedded")
    >>> {name: part.images.shape for name, part in digits.items()}
    {'train': (1168, 28, 28), 'validation': (179, 28, 28), 'test': (450, 28, 28)}
    """
    if one_of("source", source, SOURCES) == "embedded":
        if data_dir is not None:
            raise ValueError(f"Embedded digits need no folder. Received: data_dir={data_dir}")
        return {name: _enlarged(digits) for name, digits in split_digits().items()}
    if source == "idx":
        if data_dir is None:
            raise ValueError('The source "idx" needs a data_dir, the folder of its files.')
        train, test = (read_idx_digits(data_dir, part) for part in ("train", "test"))
    else:
        train, test = (
            MNISTDigits(images[..., 0], labels)
            for images, labels in (load_images("mnist", part, data_dir) for part in _FILES)
        )
    return {
        "train": MNISTDigits(*(array[:TRAINED_ON] for array in train)),
        "validation": MNISTDigits(*(array[TRAINED_ON:] for array in train)),
        "test": test,
    }


def read_idx_digits(folder: str | os.PathLike, split: str) -> MNISTDigits:
    """Images and labels of 28x28 pixels from a pair of idx files, as MNIST is published.

    Args:
        folder: of the files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and, for the test,
            the two that begin with `t10k`; each may be packed by gzip and then ends in `.gz`.
        split: "train" or "test".

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file is no idx file of its kind, or there are not as many labels as images.
    """
    names = _FILES[one_of("split", split, tuple(_FILES))]
    images, labels = (
        _read_idx(expand(folder), name, axes) for name, axes in zip(names, (3, 1), strict=True)
    )
    if images.shape != (len(labels), _SIDE, _SIDE) or (labels > 9).any():
        raise ValueError(
            f"{folder} must hold digits of {_SIDE}x{_SIDE} pixels and one label from 0 to 9 for "
            f"each. Received: images {images.shape}, labels {labels.shape} up to {labels.max()}"
        )
    return MNISTDigits(images, labels.astype("int64"))


def _read_idx(folder: Path, name: str, axes: int) -> np.ndarray:
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{folder} holds no {name} and no {name}.gz. Put MNIST's four idx files there, as "
            "https://yann.lecun.com/exdb/mnist and its mirrors publish them."
        )
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    head = 4 * (axes + 1)
    magic, *shape = struct.unpack(f">{axes + 1}I", content[:head].ljust(head, b"\0"))
    # 8 in the third byte is for unsigned bytes; the fourth is the number of axes.
    if magic != 0x800 + axes or len(content) - head != np.prod(shape):
        raise ValueError(
            f"{path} must be an idx file of unsigned bytes with {axes} axes. Received: "
            f"{len(content)} bytes that begin with {content[:4].hex()}"
        )
    return np.frombuffer(content, "uint8", offset=head).reshape(shape)


def _enlarged(digits: Digits) -> MNISTDigits:
    frame = (_SIDE - _BOX) // 2
    images = np.zeros((len(digits.labels), _SIDE, _SIDE), "uint8")
    inner = slice(frame, frame + _BOX)
    images[:, inner, inner] = np.rint(255 * scale(digits.images, _BOX))
    return MNISTDigits(images, digits.labels)
