"""Images that are enlarged and cropped at random: drawn on the host, made where the images are."""

from __future__ import annotations

import dataclasses
from typing import Literal

import keras
import numpy as np

from keras_mg.datasets.augmentation import STAGES
from keras_mg.datasets.digit_operations import rotate, shear
from keras_mg.layers.arguments import one_of, positive_int

DISTORTIONS = (None, "rotation", "shear")


@dataclasses.dataclass(frozen=True)
class ScaleAndCrop:
    """Images enlarged, cropped to their own size near the middle, and mirrored at random.

    Enlarging is linear between aligned corners, as Torch7 does it. Where an image is cropped is an
    integer between two bounds on each axis, all equally likely; it is mirrored (left-right) with
    probability 1/2. Before, it can be turned (nearest pixel, 0 outside) or sheared (bilinear, along
    a random axis) about its centre. What is drawn is a function of a NumPy generator alone.

    Args:
        scaled: int, the side that images are enlarged to, in pixels. Defaults to 36.
        offsets: the first and the last row and column at which a crop may begin, from 0. Defaults
            to (1, 3).
        flip: bool. Defaults to True.
        distortion: None, "rotation" or "shear", by an angle that is uniform between minus and plus
            `degrees`; of arrays on the host alone. Defaults to None.
        degrees: float. Defaults to 30.
        on: "pixels" or "normalized": whether images are cropped before or after they are
            normalised. Defaults to "normalized".

    Raises:
        ValueError: if an argument is not of its kind, or, when it is called, if the crops do not
            lie in the enlarged images.

    Example:

    >>> from keras_mg.datasets import ScaleAndCrop
    >>> import numpy as np
    >>> crops = ScaleAndCrop(scaled=3, offsets=(1, 1), flip=False)
    >>> image = np.array([[0.0, 2.0], [4.0, 6.0]], "float32").reshape(1, 2, 2, 1)
    >>> crops(image, *crops.draw(np.random.default_rng(0), 1))[0, :, :, 0].tolist()
    [[3.0, 4.0], [5.0, 6.0]]

    Reference:
        Released code of "Multigrid Neural Architectures", https://arxiv.org/abs/1611.07661.
    """

    scaled: int = 36
    offsets: tuple[int, int] = (1, 3)
    flip: bool = True
    distortion: Literal["rotation", "shear"] | None = None
    degrees: float = 30.0
    on: Literal["pixels", "normalized"] = "normalized"

    def __post_init__(self):
        positive_int("scaled", self.scaled)
        if len(self.offsets) != 2 or not 0 <= self.offsets[0] <= self.offsets[1]:
            raise ValueError(
                f"offsets must be (first, last) with 0 <= first <= last. Received: {self.offsets}"
            )
        if not isinstance(self.flip, bool):
            raise ValueError(f"flip must be a boolean. Received: {self.flip!r}")
        one_of("distortion", self.distortion, DISTORTIONS)
        one_of("on", self.on, STAGES)

    @property
    def evaluation(self) -> ScaleAndCrop:
        """The same without chance: the middle offset, no mirror, no distortion."""
        middle = sum(self.offsets) // 2
        return dataclasses.replace(self, offsets=(middle, middle), flip=False, distortion=None)

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
        """What happens to each of `count` images.

        Args:
            rng: the generator; its state alone decides.
            count: int, how many images.

        Returns:
            `(down, right, mirrored)`: where each enlarged image is cropped, int32, and whether it
            is mirrored, bool; with a distortion also its angle in radians, float64, and the axis,
            int32; all `(count,)`.
        """
        down, right = rng.integers(*self.offsets, (2, count), "int32", endpoint=True)
        mirrored = rng.integers(0, 1, count, "int32", endpoint=True).astype(bool) & self.flip
        if self.distortion is None:
            return down, right, mirrored
        angle = np.radians(rng.uniform(-self.degrees, self.degrees, count))
        return down, right, mirrored, angle, rng.integers(0, 1, count, "int32", endpoint=True)

    def __call__(self, images, down, right, mirrored, angle=None, axis=None):
        """Images as they were drawn.

        Args:
            images: array or tensor `(count, height, width, channels)`.
            down: of `draw`, an array or tensor as `images` is; and so are the others.
            right: likewise.
            mirrored: likewise.
            angle: likewise.
            axis: likewise.

        Returns:
            An array or tensor of the shape and type of `images`; on "pixels" rounded.
        """
        _, height, width, _ = images.shape
        if self.offsets[1] + max(height, width) > self.scaled:
            raise ValueError(
                f"A crop of {height}x{width} at {self.offsets[1]} must lie in {self.scaled}x"
                f"{self.scaled}. Received images of shape {tuple(images.shape)}"
            )
        on_host = isinstance(images, np.ndarray)
        xp = np if on_host else keras.ops
        if angle is not None:
            if not on_host:
                raise ValueError(
                    f"distortion={self.distortion!r} is of arrays on the host. Received a tensor."
                )
            images = self._distorted(images, angle, axis)
        dtype = images.dtype
        if self.on == "pixels":
            images = images.astype("float32") if on_host else keras.ops.cast(images, "float32")
        steps = xp.arange(width, dtype="int32")[None, :]
        columns = right[:, None] + xp.where(mirrored[:, None], width - 1 - steps, steps)
        rows = down[:, None] + xp.arange(height, dtype="int32")[None, :]
        images = self._resampled(xp, images, rows, 1)
        images = self._resampled(xp, images, columns, 2)
        if self.on == "pixels":
            images = xp.round(images)
            return images.astype(dtype) if on_host else keras.ops.cast(images, dtype)
        return images

    def _resampled(self, xp, images, places, axis: int):
        """Places of the enlarged images along one axis, each between two of its pixels."""
        source = images.shape[axis]
        # The places are few, so the table of where each one lies is made once, in full precision.
        exact = np.arange(self.scaled) * (source - 1) / max(self.scaled - 1, 1)
        first = np.minimum(np.floor(exact), max(source - 2, 0)).astype("int32")
        part = (exact - first).astype("float32")
        second = np.minimum(first + 1, source - 1).astype("int32")
        if xp is not np:
            first, second, part = (keras.ops.convert_to_tensor(a) for a in (first, second, part))
        numbers = xp.arange(images.shape[0], dtype="int32")[:, None]
        between = part[places][:, :, None, None]
        if axis == 1:
            low, high = images[numbers, first[places]], images[numbers, second[places]]
        else:
            turned = xp.swapaxes(images, 1, 2)
            low, high = turned[numbers, first[places]], turned[numbers, second[places]]
        mixed = low + (high - low) * between
        return mixed if axis == 1 else xp.swapaxes(mixed, 1, 2)

    def _distorted(self, images: np.ndarray, angle, axis) -> np.ndarray:
        out = np.empty(images.shape, images.dtype)
        for i, image in enumerate(np.moveaxis(images, -1, 1)):
            if self.distortion == "rotation":
                made = rotate(image, float(angle[i]))
            else:
                made = shear(image, float(angle[i]), axis=int(axis[i]))
            out[i] = np.moveaxis(np.rint(made) if out.dtype == np.uint8 else made, 0, -1)
        return out
