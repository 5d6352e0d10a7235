"""Colours of photographs changed at random."""

from __future__ import annotations

import dataclasses

import numpy as np

# Of red, green and blue, in the grey that contrast and saturation are blended with.
_GRAY = np.array([0.299, 0.587, 0.114], "float32")
# Standard deviations and directions of the colours of ImageNet's pixels, from 0 to 1.
_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast and saturation, in random order.

    Each blends the image with another, `a x + (1 - a) y`, where `a` is uniform between 1 minus and
    1 plus the argument: y is black for brightness, the image's mean grey for contrast, its grey
    form for saturation. Nothing is clipped.

    Args:
        brightness: float from 0. Defaults to 0.4.
        contrast: likewise.
        saturation: likewise.

    Reference:
        Torch's ImageNet training (fb.resnet.torch), which "Multigrid Neural Architectures" uses.

    Example:

    >>> from keras_mg.datasets import ColorJitter
    >>> import numpy as np
    >>> image = np.full((2, 2, 3), 100, "float32")
    >>> bright = ColorJitter(0.4, 0, 0)(image, np.random.default_rng(0))
    >>> bool((60 <= bright).all() and (bright <= 140).all())
    True
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) >= 0:
                raise ValueError(
                    f"{field.name} must be at least 0. Received: {getattr(self, field.name)}"
                )

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The changed image.

        Args:
            image: float32 `(height, width, 3)`, on any scale.
            rng: the generator.
        """
        changes = [(self.brightness, _black), (self.contrast, _mean), (self.saturation, _gray)]
        for k in rng.permutation(len(changes)):
            amount, other = changes[k]
            if amount:
                a = np.float32(rng.uniform(1 - amount, 1 + amount))
                image = a * image + (1 - a) * other(image)
        return image


@dataclasses.dataclass(frozen=True)
class PCALighting:
    """One colour added to the whole image: along the main directions of ImageNet's colours.

    It is the sum over three directions of `a_i v_i d_i`, with `a_i` normal of mean 0 and standard
    deviation `std`, `d_i` the direction and `v_i` its weight.

    Args:
        std: float from 0. Defaults to 0.1.
        largest: float, the value of white in the images. Defaults to 255.

    Reference:
        Krizhevsky, Sutskever, Hinton, 2012; the figures of Torch's ImageNet training
        (fb.resnet.torch).

    Example:

    >>> from keras_mg.datasets import PCALighting
    >>> import numpy as np
    >>> image = np.zeros((2, 2, 3), "float32")
    >>> PCALighting(0.0)(image, np.random.default_rng(0)).tolist() == image.tolist()
    True
    """

    std: float = 0.1
    largest: float = 255.0

    def __post_init__(self):
        if not self.std >= 0:
            raise ValueError(f"std must be at least 0. Received: {self.std}")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The changed image; see `ColorJitter`."""
        color = _EIGENVECTORS @ (rng.normal(0, self.std, 3) * _EIGENVALUES)
        return image + (self.largest * color).astype("float32")


@dataclasses.dataclass(frozen=True)
class HSLJitter:
    """Hue, saturation and lightness, each moved by a random number for the whole image.

    The numbers are integers, uniform between minus and plus the arguments; hue runs from 0 to 180
    (two degrees each), saturation and lightness from 0 to 255, and what leaves that is clipped.

    Args:
        hue: int from 0. Defaults to 36.
        saturation: likewise, 50.
        lightness: likewise, 50.

    Reference:
        MXNet's image augmenter, with the settings of the interleaved group convolutions,
        https://arxiv.org/abs/1707.02725.

    Example:

    >>> from keras_mg.datasets import HSLJitter
    >>> import numpy as np
    >>> image = np.full((1, 1, 3), 128, "float32")
    >>> grey = HSLJitter(36, 0, 50)(image, np.random.default_rng(0))[0, 0]
    >>> bool(78 <= grey[0] <= 178), bool(np.ptp(grey) < 0.01)
    (True, True)
    """

    hue: int = 36
    saturation: int = 50
    lightness: int = 50

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not hasattr(value, "__index__") or value < 0:
                raise ValueError(f"{field.name} must be an integer from 0. Received: {value!r}")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The changed image.

        Args:
            image: `(height, width, 3)`, values 0 to 255.
            rng: the generator.

        Returns:
            A float32 array of that shape, values 0 to 255.
        """
        h, s, l = (  # noqa: E741 (their names)
            int(rng.integers(-most, most, endpoint=True))
            for most in (self.hue, self.saturation, self.lightness)
        )
        hue, lightness, saturation = rgb_to_hls(np.asarray(image, "float32") / 255)
        hue = np.clip(hue + h / 180, 0, 1)
        lightness = np.clip(lightness + l / 255, 0, 1)
        saturation = np.clip(saturation + s / 255, 0, 1)
        return 255 * hls_to_rgb(hue, lightness, saturation)


def rgb_to_hls(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue, lightness and saturation from 0 to 1, as `colorsys.rgb_to_hls` has them.

    Args:
        image: floats from 0 to 1, red, green and blue on the last axis.
    """
    red, green, blue = (image[..., i] for i in range(3))
    most, least = image.max(-1), image.min(-1)
    total, spread = most + least, most - least
    lightness = total / 2
    safe = np.where(spread > 0, spread, 1)
    below = np.where(lightness <= 0.5, total, 2 - total)
    saturation = spread / np.where(spread > 0, below, 1)
    hue = np.where(
        red == most,
        (green - blue) / safe,
        np.where(green == most, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    return (hue / 6) % 1, lightness, saturation


def hls_to_rgb(hue: np.ndarray, lightness: np.ndarray, saturation: np.ndarray) -> np.ndarray:
    """The inverse of `rgb_to_hls`; red, green and blue on a new last axis.

    Args:
        hue: floats from 0 to 1.
        lightness: likewise.
        saturation: likewise.
    """
    # Of each channel: l - a max(min(k - 3, 9 - k, 1), -1), k its place on the wheel of twelve.
    amplitude = saturation * np.minimum(lightness, 1 - lightness)
    channels = []
    for begin in (0, 8, 4):
        k = (begin + 12 * hue) % 12
        channels.append(
            lightness - amplitude * np.clip(np.minimum(k - 3, 9 - k), -1, 1).astype("float32")
        )
    return np.stack(channels, -1).astype("float32")


def _black(image: np.ndarray) -> np.float32:
    return np.float32(0)


def _gray(image: np.ndarray) -> np.ndarray:
    return (image @ _GRAY)[..., None]


def _mean(image: np.ndarray) -> np.float32:
    return np.float32(_gray(image).mean())
