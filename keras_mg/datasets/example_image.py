"""A picture to try a network on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_FILE = Path(__file__).parent / "data" / "cifar10_test_0.npy"


def example_image() -> np.ndarray:
    """The first image of CIFAR-10's test set, which no network here was trained on.

    Returns:
        uint8 array `(32, 32, 3)`, values 0 to 255.

    Example:

    >>> from keras_mg.datasets import example_image
    >>> example_image().shape
    (32, 32, 3)
    """
    return np.load(_FILE, allow_pickle=False)
