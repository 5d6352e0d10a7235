"""Global contrast normalisation and ZCA whitening, fitted to the training images."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Literal

import keras
import numpy as np

from keras_mg.datasets.normalization import Normalizer, stored_arrays
from keras_mg.layers.arguments import one_of, standardize_data_format
from keras_mg.ops import constant_like

CONTRAST = 55.0  # what an image's L2 norm becomes
FILTER_BIAS = 0.1  # what is added to the eigenvalues of the covariance
ORDERS = ("rgb", "bgr", "gray")
# An image whose L2 norm is below this is of one colour, and stays as it is.
_FLAT = 1e-8
_GRAY = (0.299, 0.587, 0.114)  # of red, green and blue, as Torch7 has it
_CHUNK = 1000  # images at a time


class Whitener:
    """Images of equal contrast whose pixels, over the training images, are uncorrelated.

    Of an image `x` as a vector of all its pixels and channels,
    `y = (55 (x - mean(x)) / ||x - mean(x)|| - m) W` with the training images' mean `m` and
    `W = V (S + 0.1)^(-1/2) V'`, where `V S V'` is their covariance: whitening that stays closest to
    the images.

    Args:
        mean: `m`, float array `(height * width * channels,)`.
        whitening: `W`, symmetric, a float array of twice that length.
        colours: integers, the channels in the order in which they are wanted, or floats
            `(channels, 1)`, what each adds to grey.

    Reference:
        A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; constants of
        the released code of "Multigrid Neural Architectures", https://arxiv.org/abs/1611.07661.

    Example:

    >>> from keras_mg.datasets import ContrastAndZCA
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (500, 2, 2, 3), "uint8")
    >>> whitener = ContrastAndZCA("bgr").fit(images)
    >>> y = whitener(images, data_format="channels_last")
    >>> y.shape, str(y.dtype), float(abs(y.mean(0)).max()) < 1e-4
    ((500, 2, 2, 3), 'float32', True)
    """

    def __init__(self, mean, whitening, colours):
        self.mean = np.asarray(mean, "float32")
        self.whitening = np.asarray(whitening, "float32")
        self.colours = np.asarray(colours)
        size = len(self.mean)
        if self.mean.ndim != 1 or self.whitening.shape != (size, size) or size % self._channels:
            raise ValueError(
                "whitening must be square and of the mean's length, a number of pixels times "
                f"{self._channels} channels. Received: mean {self.mean.shape}, whitening "
                f"{self.whitening.shape}"
            )

    @property
    def _channels(self) -> int:
        return self.colours.shape[-1]

    def __call__(self, x, data_format: str | None = None):
        """Whitened images.

        Args:
            x: array or tensor of images, values 0 to 255, 3D or 4D, of the size that was fitted.
            data_format: "channels_last", "channels_first" or None for Keras's global setting.

        Returns:
            An array or tensor, float32 (in a tensor `keras.config.floatx()`), its channels in the
            order that was fitted; `x` is unchanged.

        Raises:
            ValueError: if the images are not of the size that was fitted.
        """
        xp, x = _operations(x)
        first = standardize_data_format(data_format) == "channels_first"
        if first:
            x = xp.moveaxis(x, -3, -1)
        shape = tuple(x.shape)
        images = _in_colours(xp, x, self.colours)
        pixels = len(self.mean) // self._channels
        if len(shape) not in (3, 4) or shape[-3] * shape[-2] != pixels:
            raise ValueError(
                f"The images must have {pixels} pixels, as those that were fitted. Received "
                f"shape: {shape}"
            )
        flat, _, _ = _equal_contrast(xp, images)
        mean, whitening = self.mean, self.whitening
        if xp is not np:
            mean, whitening = constant_like(mean, flat), constant_like(whitening, flat)
        y = xp.matmul(flat - mean, whitening)
        y = xp.reshape(y, (*shape[:-1], self._channels))
        return xp.moveaxis(y, -1, -3) if first else y

    def contrast(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What global contrast normalisation takes away, and `inverse` needs to give it back.

        Args:
            images: `(n, height, width, channels)`, values 0 to 255.

        Returns:
            `(mean, norm)` of each image, float32 `(n,)`.
        """
        _, mean, norm = _equal_contrast(np, _in_colours(np, np.asarray(images), self.colours))
        return mean[:, 0], norm[:, 0]

    def inverse(self, y: np.ndarray, mean=0.0, norm=CONTRAST) -> np.ndarray:
        """The images that were whitened.

        Args:
            y: array `(n, height, width, channels)`, what the whitener gave.
            mean: of `contrast`, for the images themselves; the default gives those of equal
                contrast.
            norm: likewise.

        Returns:
            A float32 array of that shape, the channels in the whitener's order (grey stays grey).
        """
        flat = np.asarray(y, "float64").reshape(len(y), -1)
        x = np.linalg.solve(self.whitening.astype("float64"), flat.T).T + self.mean
        per_image = [np.reshape(np.asarray(value, "float64"), (-1, 1)) for value in (mean, norm)]
        return (x * per_image[1] / CONTRAST + per_image[0]).reshape(y.shape).astype("float32")

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What `Whitener(**arrays)` makes it anew of."""
        return {"mean": self.mean, "whitening": self.whitening, "colours": self.colours}


def make_preprocessing(arrays: Mapping[str, np.ndarray]) -> Normalizer | Whitener:
    """What `arrays` of a `Normalizer` or a `Whitener` make anew.

    Args:
        arrays: by name.
    """
    return (Whitener if "whitening" in arrays else Normalizer)(**arrays)


def load_preprocessing(path: str | os.PathLike) -> Normalizer | Whitener:
    """What normalises or whitens the images of a run, as the run has stored it.

    Args:
        path: its `preprocessing.npz`.

    Raises:
        ValueError: the file cannot be read, or holds something else.
        OSError: it cannot be opened.
    """
    arrays = stored_arrays(path)
    if set(arrays) not in ({"mean", "std"}, {"mean", "whitening", "colours"}):
        raise ValueError(
            f"{os.fspath(path)!r} holds {', '.join(sorted(arrays))}; expected what normalises or "
            "whitens images: mean and std, or mean, whitening and colours"
        )
    return make_preprocessing(arrays)


@dataclasses.dataclass(frozen=True)
class ContrastAndZCA:
    """Global contrast normalisation and ZCA whitening of the training images; see `Whitener`.

    Args:
        order: "rgb", "bgr" or "gray", what becomes of the images' red, green and blue. Defaults to
            "rgb".
        filter_bias: float above 0, added to the eigenvalues. Defaults to 0.1.

    Raises:
        ValueError: for another order or bias.
    """

    order: Literal["rgb", "bgr", "gray"] = "rgb"
    filter_bias: float = FILTER_BIAS

    def __post_init__(self):
        one_of("order", self.order, ORDERS)
        if not self.filter_bias > 0:
            raise ValueError(f"filter_bias must be above 0. Received: {self.filter_bias}")

    def fit(self, images: np.ndarray) -> Whitener:
        """The whitener of these training images; 50,000 CIFAR images take about a minute.

        Args:
            images: uint8 `(n, height, width, channels)`, those that are trained on and no others;
                channels are red, green and blue, or one, which every order leaves as it is.

        Raises:
            ValueError: if there is no image, or the channels are not 1 or 3.
        """
        channels = images.shape[-1]
        if not len(images) or channels not in (1, 3):
            raise ValueError(
                "The images must be some, of 1 channel or red, green and blue. Received shape: "
                f"{images.shape}"
            )
        colours = np.arange(channels)
        if channels == 3 and self.order != "rgb":
            colours = colours[::-1] if self.order == "bgr" else np.reshape(_GRAY, (3, 1))
        if colours.dtype.kind == "f":
            colours = colours.astype("float32")
        chunks = [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)]

        def flat(chunk: np.ndarray) -> np.ndarray:
            return _equal_contrast(np, _in_colours(np, chunk, colours))[0]

        mean = sum(flat(chunk).sum(0, dtype="float64") for chunk in chunks) / len(images)
        values, vectors = _spectrum(chunks, lambda chunk: flat(chunk) - mean.astype("float32"))
        # W = V (S + b)^(-1/2) V', written so that directions without variance need no vector.
        least = 1 / np.sqrt(self.filter_bias)
        scales = 1 / np.sqrt(np.maximum(values, 0) + self.filter_bias)
        whitening = (vectors * (scales - least)) @ vectors.T
        whitening[np.diag_indices(len(mean))] += least
        return Whitener(mean, whitening, colours)


def _spectrum(chunks: list[np.ndarray], centred: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the covariance of images, and eigenvectors as columns."""
    count = sum(map(len, chunks))
    first = centred(chunks[0])
    size = first.shape[1]
    if count < size:
        rows = np.concatenate([centred(chunk) for chunk in chunks]).astype("float64")
        _, values, vectors = np.linalg.svd(rows / np.sqrt(count), full_matrices=False)
        return np.square(values), vectors.T
    covariance = np.zeros((size, size))
    for chunk in chunks:
        rows = centred(chunk)
        covariance += rows.T @ rows
    return np.linalg.eigh(covariance / count)


def _operations(x):
    """NumPy or Keras's operations, and the images in floating point."""
    if isinstance(x, np.ndarray):
        return np, x.astype("float32")
    return keras.ops, keras.ops.cast(x, keras.config.floatx())


def _in_colours(xp, images, colours: np.ndarray):
    if colours.dtype.kind == "f":
        weights = colours if xp is np else constant_like(colours, images)
        return xp.matmul(images.astype("float32") if xp is np else images, weights)
    if (colours == np.arange(len(colours))).all():
        return images
    return xp.flip(images, -1)


def _equal_contrast(xp, images):
    """Images as vectors of mean 0 and one L2 norm; the means, and the norms before."""
    size = int(np.prod(images.shape[-3:]))
    flat = xp.reshape(images, (*images.shape[:-3], size))
    if xp is np:
        flat = flat.astype("float32")
    mean = xp.mean(flat, axis=-1, keepdims=True)
    flat = flat - mean
    norm = xp.sqrt(xp.sum(xp.square(flat), axis=-1, keepdims=True))
    return flat * (CONTRAST / xp.where(norm < _FLAT, CONTRAST, norm)), mean, norm
