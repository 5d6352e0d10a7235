"""How images become a network's input: published statistics, or fitted to the training images."""

from __future__ import annotations

import dataclasses
import os
import zipfile

import numpy as np

from keras_mg._files import expand
from keras_mg.layers.arguments import standardize_data_format
from keras_mg.ops import normalize_images

# Images are summed this many at a time: the squares of a whole data set would not fit.
_CHUNK = 1000


class Normalizer:
    """`(x - mean) / std`, of images with values 0 to 255.

    Args:
        mean: array `(channels,)`, or `(height, width, channels)` for one number per pixel.
        std: array of that shape, `(channels,)`, or one number.

    Example:

    >>> from keras_mg.datasets import Normalizer
    >>> import numpy as np
    >>> normalizer = Normalizer([1.0, 2.0], [1.0, 4.0])
    >>> normalizer(np.array([[[3, 4]]], "uint8"), data_format="channels_last").tolist()
    [[[2.0, 0.5]]]
    """

    def __init__(self, mean, std):
        self.mean = np.asarray(mean, "float32")
        self.std = np.asarray(std, "float32")

    def __call__(self, x, data_format: str | None = None):
        """Normalised images.

        Args:
            x: array or tensor, values 0 to 255, 3D or 4D.
            data_format: "channels_last", "channels_first" or None for Keras's global setting.

        Returns:
            An array or tensor of the same shape, floating point; `x` is unchanged.

        Raises:
            ValueError: if the images are not of the shape that the mean has.
        """
        return normalize_images(x, self.mean, self.std, standardize_data_format(data_format))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What `Normalizer(**arrays)` makes it anew of."""
        return {"mean": self.mean, "std": self.std}

    @classmethod
    def load(cls, path: str | os.PathLike) -> Normalizer:
        """The normaliser that a run has stored.

        Args:
            path: its .npz file.

        Raises:
            ValueError: the file cannot be read, or holds something else.
        """
        arrays = stored_arrays(path)
        if set(arrays) != {"mean", "std"}:
            raise ValueError(
                f"{os.fspath(path)} holds {', '.join(sorted(arrays))}; expected mean and std"
            )
        return cls(**arrays)


def stored_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of numbers of an .npz file, by name.

    Args:
        path: the file.

    Raises:
        ValueError: it is damaged, is none, or holds something else than numbers.
        OSError: it cannot be opened.
    """
    with open(expand(path), "rb") as file:
        try:
            if not zipfile.is_zipfile(file):  # NumPy would advise to unpickle it
                raise ValueError("it is no archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                arrays = dict(stored)
            kinds = [getattr(array, "dtype", np.dtype(object)).kind for array in arrays.values()]
            if not set(kinds) <= set("fiu"):
                raise ValueError("it holds something else than arrays of numbers")
        except Exception as error:  # NumPy, zipfile and zlib raise a dozen kinds for damaged files
            raise ValueError(
                f"{os.fspath(path)!r} is no .npz file of numbers ({type(error).__name__}: {error})"
            ) from error
    return arrays


@dataclasses.dataclass(frozen=True)
class ChannelStatistics:
    """Published statistics: one mean and one standard deviation per channel, in 0 to 255.

    Example:

    >>> from keras_mg.datasets import ChannelStatistics
    >>> import numpy as np
    >>> normalizer = ChannelStatistics((10.0,), (2.0,)).fit(np.zeros((1, 4, 4, 1), "uint8"))
    >>> float(normalizer(np.full((4, 4, 1), 14.0), data_format="channels_last")[0, 0, 0])
    2.0
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def fit(self, images: np.ndarray) -> Normalizer:
        """The normaliser. The images play no part: the statistics are known."""
        return Normalizer(self.mean, self.std)


@dataclasses.dataclass(frozen=True)
class MeanImage:
    """Statistics of the training images: the mean of each pixel, and one standard deviation.

    The deviation is that of all values of all images around their common mean, a single number.

    Example:

    >>> from keras_mg.datasets import MeanImage
    >>> import numpy as np
    >>> images = np.array([0, 4, 2, 10], "uint8").reshape(2, 2, 1, 1)  # two images of two pixels
    >>> normalizer = MeanImage().fit(images)
    >>> normalizer.mean[:, 0, 0].tolist(), round(float(normalizer.std), 4)
    ([1.0, 7.0], 3.7417)

    Reference:
        The residual-network study https://github.com/gcr/torch-residual-networks.
    """

    def fit(self, images: np.ndarray) -> Normalizer:
        """The normaliser of these training images.

        Args:
            images: uint8 `(n, height, width, channels)`, those that are trained on and no others.
        """
        total = np.zeros(images.shape[1:], "int64")
        squares = 0
        for begin in range(0, len(images), _CHUNK):
            chunk = images[begin : begin + _CHUNK].astype("int64")
            total += chunk.sum(0)
            squares += int(np.square(chunk).sum())
        variance = squares / images.size - (total.sum() / images.size) ** 2
        return Normalizer(total / len(images), np.sqrt(variance))
