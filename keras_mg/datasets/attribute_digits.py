"""Real handwritten digits with attributes that can be read off the picture, for trials.

The 1,797 digits inside scikit-learn (E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
Digits", UCI Machine Learning Repository, CC BY 4.0), each once, in colours, on a ground, turned or
stretched, somewhere in a picture whose rest is noise.
"""

from __future__ import annotations

import copy
import io
import os
from pathlib import Path
from typing import Literal

import numpy as np

from keras_mg._files import expand, replacing
from keras_mg.datasets.attribute_lines import split_rows
from keras_mg.datasets.digit_operations import scale
from keras_mg.datasets.digits import Digits, split_digits
from keras_mg.datasets.image_folder import Photo
from keras_mg.layers.arguments import one_of

ATTRIBUTES = (
    "red", "green", "blue", "bright ground", "stripes", "frame", "tall", "turned", "even",
    "less than five",
)  # fmt: skip
_SIDE, _PICTURE, _MARGIN = 24, 64, 4  # pixels: of a digit, of a picture, around the digit
_COLOURS = {"red": (230, 40, 40), "green": (40, 200, 60), "blue": (60, 90, 240)}


class AttributeDigits:
    """Pictures of one digit each, with its box and a bit for each of `ATTRIBUTES`.

    Ink is red, green, blue or, where it is none of these, black or white as the ground is bright or
    dark; a tall digit is half as high again, a turned one lies on its side. One in ten has a frame.

    Args:
        split: "train" or "test", of which no digit is in the other.
        seed: int, of what is done to the digits. Defaults to 0.

    Raises:
        ValueError: for another part.
        ImportError: if scikit-learn is not installed.

    Example:

    >>> from keras_mg.datasets import AttributeDigits
    >>> digits = AttributeDigits("test")
    >>> len(digits), digits.attributes, digits[0].box
    (450, 10, (...))
    """

    def __init__(self, split: Literal["train", "test"] = "train", seed: int = 0):
        one_of("split", split, ("train", "test"))
        parts = split_digits()
        used = (parts["test"],) if split == "test" else (parts["train"], parts["validation"])
        self.digits = Digits(*(np.concatenate(arrays) for arrays in zip(*used, strict=True)))
        self._key = [seed, int(split == "test")]
        count = len(self.digits.labels)
        drawn = np.random.default_rng(self._key).random((count, 6))
        colour = (4 * drawn[:, 0]).astype(int)
        labels = self.digits.labels
        self.labels = np.stack(
            [
                *(colour == i for i in range(3)),
                *(drawn[:, i] < share for i, share in enumerate((0.5, 0.3, 0.1, 0.4, 0.4), 1)),
                labels % 2 == 0,
                labels < 5,
            ],
            1,
        ).astype("int8")
        self.rows = np.arange(count)
        self.names = list(ATTRIBUTES)

    @property
    def attributes(self) -> int:
        """How many attributes a picture has."""
        return len(ATTRIBUTES)

    def split(self, fraction: float, seed: int = 0) -> tuple[AttributeDigits, AttributeDigits]:
        """Two parts, of which the second has a fraction; see `AttributeLines.split`."""
        first, second = split_rows(len(self), fraction, seed)
        return self._part(first), self._part(second)

    def _part(self, chosen: np.ndarray) -> AttributeDigits:
        part = copy.copy(self)
        part.rows, part.labels = self.rows[chosen], self.labels[chosen]
        return part

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Photo:
        from PIL import Image

        row, bits = int(self.rows[index]), self.labels[index]
        has = dict(zip(ATTRIBUTES, bits.tolist(), strict=True))
        rng = np.random.default_rng([*self._key, row])
        ink = scale(self.digits.images[row].astype("float64"), _SIDE)
        if has["turned"]:
            ink = np.rot90(ink, 1 if rng.random() < 0.5 else 3)
        if has["tall"]:
            ink = ink[np.arange(_SIDE * 3 // 2) * 2 // 3]
        ink = np.pad(np.clip(ink, 0, 1), _MARGIN)
        if has["frame"]:
            ink[:2] = ink[-2:] = ink[:, :2] = ink[:, -2:] = 1
        ground = np.full((*ink.shape, 3), 215.0 if has["bright ground"] else 40.0)
        if has["stripes"]:
            ground[np.arange(len(ink)) % 6 < 3] += -70 if has["bright ground"] else 70
        colours = [colour for name, colour in _COLOURS.items() if has[name]]
        colour = colours[0] if colours else (10,) * 3 if has["bright ground"] else (250,) * 3
        patch = ground + ink[..., None] * (np.array(colour) - ground)
        picture = rng.normal(128, 25, (_PICTURE, _PICTURE, 3))
        y, x = (int(rng.integers(0, _PICTURE - side, endpoint=True)) for side in ink.shape)
        picture[y : y + ink.shape[0], x : x + ink.shape[1]] = patch
        picture += rng.normal(0, 8, picture.shape)
        file = io.BytesIO()
        Image.fromarray(np.clip(picture, 0, 255).astype("uint8")).save(file, "PNG")
        box = (x, y, x + ink.shape[1], y + ink.shape[0])
        return Photo(file.getvalue(), bits, f"digit {row}", box)

    def write(self, folder: str | os.PathLike, name: str) -> Path:
        """Writes the pictures to `images` in a folder, and beside it a file of lines.

        `AttributeLines` reads them; `attributes.txt` has the names of the attributes.

        Args:
            folder: is made if it is not there.
            name: of the file, without its suffix, such as "train".

        Returns:
            The path of the file of lines.
        """
        target = expand(folder)
        (target / "images").mkdir(parents=True, exist_ok=True)
        lines = []
        for i in range(len(self)):
            photo = self[i]
            file = f"{name}-{int(self.rows[i]):04d}.png"
            (target / "images" / file).write_bytes(photo.content)
            numbers = [*(photo.box or ()), *photo.label.tolist()]
            label = int(self.digits.labels[self.rows[i]])
            lines.append(" ".join([file, str(label), *map(str, numbers)]))
        for path, rows in (("attributes.txt", ATTRIBUTES), (f"{name}.txt", lines)):
            with replacing(target / path) as part:
                part.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return target / f"{name}.txt"
