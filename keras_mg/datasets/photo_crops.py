"""How photographs of any size become squares: at random for training, in the middle for a test."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from keras_mg.layers.arguments import positive_int

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclasses.dataclass(frozen=True)
class RandomAreaCrop:
    """A part of a photograph of random area and shape, as a square.

    The part has a share of the area that is uniform between two bounds, and width over height
    uniform between two others; width and height are swapped with probability 1/2. Where it does not
    lie in the photograph it is drawn again; after ten attempts, the middle square of the photograph
    is taken. It is scaled by bicubic interpolation.

    Args:
        size: int, side of the square in pixels. Defaults to 224.
        area: smallest and largest share of the area. Defaults to (0.08, 1).
        aspect: smallest and largest width over height. Defaults to (3/4, 4/3).
        attempts: int. Defaults to 10.

    Raises:
        ValueError: for bounds that are not above 0 or are reversed.

    Example:

    >>> from keras_mg.datasets import RandomAreaCrop
    >>> import numpy as np
    >>> crop = RandomAreaCrop(size=8)
    >>> top, left, height, width = crop.draw(np.random.default_rng(0), 30, 40)
    >>> 0 <= top <= 30 - height, 0 <= left <= 40 - width
    (True, True)

    Reference:
        Szegedy et al., "Going Deeper with Convolutions", https://arxiv.org/abs/1409.4842, as
        Torch's ImageNet training (fb.resnet.torch) does it.
    """

    size: int = 224
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    attempts: int = 10

    def __post_init__(self):
        positive_int("size", self.size)
        positive_int("attempts", self.attempts)
        _bounds("area", self.area, most=1.0)
        _bounds("aspect", self.aspect)

    def draw(
        self, rng: np.random.Generator, height: int, width: int
    ) -> tuple[int, int, int, int] | None:
        """The part of a photograph.

        Args:
            rng: the generator.
            height: int, of the photograph, in pixels.
            width: likewise.

        Returns:
            `(top, left, height, width)`, or None where every attempt failed.
        """
        for _ in range(self.attempts):
            area = rng.uniform(*self.area) * height * width
            aspect = rng.uniform(*self.aspect)
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if rng.random() < 0.5:
                w, h = h, w
            if 0 < h <= height and 0 < w <= width:
                top = int(rng.integers(0, height - h, endpoint=True))
                return top, int(rng.integers(0, width - w, endpoint=True)), h, w
        return None

    def __call__(self, photo: Image, rng: np.random.Generator) -> np.ndarray:
        """The square.

        Args:
            photo: a Pillow image in RGB.
            rng: the generator.

        Returns:
            uint8 `(size, size, 3)`.
        """
        drawn = self.draw(rng, photo.height, photo.width)
        if drawn is None:
            return CenterCrop(self.size, self.size)(photo, rng)
        top, left, height, width = drawn
        part = photo.crop((left, top, left + width, top + height))
        return np.asarray(part.resize((self.size, self.size), _bicubic()))


@dataclasses.dataclass(frozen=True)
class RandomAspectCrop:
    """A square out of a photograph that was scaled at random, its width and height differently.

    The photograph is thought of with a shorter side of `packed`. It is scaled by `s`, uniform
    between two bounds, its width by `2 r s / (1 + r)` and its height by `2 s / (1 + r)` with `r`
    uniform between 1 - `aspect` and 1 + `aspect`, but no side becomes less than `size`; the square
    lies anywhere in it, all places equally likely. Scaling is bicubic and done once, on what the
    square needs.

    Args:
        size: int, side of the square in pixels. Defaults to 224.
        packed: int, pixels. Defaults to 480.
        scale: smallest and largest `s`. Defaults to (0.533, 1).
        aspect: float from 0 to less than 1. Defaults to 0.25.

    Raises:
        ValueError: for bounds that are not above 0 or are reversed.

    Reference:
        Training of the interleaved group convolutions, https://arxiv.org/abs/1707.02725, in MXNet.
    """

    size: int = 224
    packed: int = 480
    scale: tuple[float, float] = (0.533, 1.0)
    aspect: float = 0.25

    def __post_init__(self):
        positive_int("size", self.size)
        positive_int("packed", self.packed)
        _bounds("scale", self.scale)
        if not 0 <= self.aspect < 1:
            raise ValueError(f"aspect must be from 0 to less than 1. Received: {self.aspect}")

    def draw(
        self, rng: np.random.Generator, height: int, width: int
    ) -> tuple[float, float, float, float]:
        """The part of a photograph, `(top, left, height, width)` in its own pixels.

        Args:
            rng: the generator.
            height: int, of the photograph, in pixels.
            width: likewise.
        """
        scale = rng.uniform(*self.scale) * self.packed / min(height, width)
        ratio = rng.uniform(1 - self.aspect, 1 + self.aspect)
        high = max(self.size, round(2 * scale / (1 + ratio) * height))
        wide = max(self.size, round(2 * ratio * scale / (1 + ratio) * width))
        top = rng.integers(0, high - self.size, endpoint=True)
        left = rng.integers(0, wide - self.size, endpoint=True)
        # Pixels of the photograph per pixel of the scaled one.
        y, x = height / high, width / wide
        return float(top * y), float(left * x), self.size * y, self.size * x

    def __call__(self, photo: Image, rng: np.random.Generator) -> np.ndarray:
        """The square; see `RandomAreaCrop`."""
        top, left, height, width = self.draw(rng, photo.height, photo.width)
        box = left, top, min(left + width, photo.width), min(top + height, photo.height)
        return np.asarray(photo.resize((self.size, self.size), _bicubic(), box))


@dataclasses.dataclass(frozen=True)
class CenterCrop:
    """The middle of a photograph whose shorter side was scaled; nothing is random.

    Args:
        size: int, side of the square in pixels. Defaults to 224.
        shorter: int, what the shorter side is scaled to (bicubic), at least `size`. Defaults to
            256.

    Raises:
        ValueError: if the square does not fit.

    Example:

    >>> from keras_mg.datasets import CenterCrop
    >>> from PIL import Image
    >>> CenterCrop(2, 4)(Image.new("RGB", (8, 16), (1, 2, 3))).shape
    (2, 2, 3)
    """

    size: int = 224
    shorter: int = 256

    def __post_init__(self):
        positive_int("size", self.size)
        if positive_int("shorter", self.shorter) < self.size:
            raise ValueError(
                f"shorter must be at least size={self.size}. Received: shorter={self.shorter}"
            )

    def __call__(self, photo: Image, rng: np.random.Generator | None = None) -> np.ndarray:
        """The square, uint8 `(size, size, 3)`; see `RandomAreaCrop`."""
        scaled = scale_shorter_side(photo, self.shorter)
        left, top = (scaled.width - self.size) // 2, (scaled.height - self.size) // 2
        return np.asarray(scaled.crop((left, top, left + self.size, top + self.size)))


@dataclasses.dataclass(frozen=True)
class TenCrops(CenterCrop):
    """Ten squares of a photograph: the middle, the four corners, and the mirrored five.

    Their order is centre, top left, top right, bottom left, bottom right, then the same mirrored
    left to right. A network's answer is the mean of the ten probabilities.

    Args:
        size: as of `CenterCrop`, and so is `shorter`.
        shorter: likewise.

    Reference:
        Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
        Networks", 2012.

    Example:

    >>> from keras_mg.datasets import TenCrops
    >>> from PIL import Image
    >>> TenCrops(2, 4)(Image.new("RGB", (8, 16), (1, 2, 3))).shape
    (10, 2, 2, 3)
    """

    def __call__(self, photo: Image, rng: np.random.Generator | None = None) -> np.ndarray:
        """The squares, uint8 `(10, size, size, 3)`."""
        return ten_crops(np.asarray(scale_shorter_side(photo, self.shorter)), self.size)


def ten_crops(image: np.ndarray, size: int) -> np.ndarray:
    """Centre, corners and the mirrored five of an image; see `TenCrops`.

    Args:
        image: array `(height, width, channels)`.
        size: int, side of the squares in pixels.

    Returns:
        An array `(10, size, size, channels)`.

    Raises:
        ValueError: if the square does not fit.
    """
    height, width = image.shape[:2]
    if min(height, width) < positive_int("size", size):
        raise ValueError(f"size={size} must fit the image. Received shape: {image.shape}")
    down, right = height - size, width - size
    places = ((down // 2, right // 2), (0, 0), (0, right), (down, 0), (down, right))
    crops = np.stack([image[top : top + size, left : left + size] for top, left in places])
    return np.concatenate([crops, crops[:, :, ::-1]])


def scale_shorter_side(photo: Image, side: int) -> Image:
    """A photograph whose shorter side has so many pixels; the longer one is rounded down.

    Args:
        photo: a Pillow image.
        side: int, pixels.
    """
    width, height = photo.size
    if min(width, height) == side:
        return photo
    if width < height:
        return photo.resize((side, max(side * height // width, side)), _bicubic())
    return photo.resize((max(side * width // height, side), side), _bicubic())


def _bicubic():
    from PIL import Image

    return Image.Resampling.BICUBIC


def _bounds(name: str, value: tuple[float, float], most: float = math.inf) -> None:
    if len(value) != 2 or not 0 < value[0] <= value[1] <= most:
        raise ValueError(
            f"{name} must be (smallest, largest), above 0 and at most {most}. Received: {value}"
        )
