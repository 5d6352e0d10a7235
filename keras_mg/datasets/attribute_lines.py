"""Objects in photographs, with a box and a bit for each attribute, from a file of lines."""

from __future__ import annotations

import copy
import dataclasses
import os
from typing import TYPE_CHECKING

import numpy as np

from keras_mg._files import expand
from keras_mg.datasets.image_folder import Photo
from keras_mg.layers.arguments import positive_int

if TYPE_CHECKING:
    from PIL.Image import Image


class AttributeLines:
    r"""Objects as a file lists them: a line is file, class, x1 y1 x2 y2 and the bits, with spaces.

    The box is in pixels counted from 0, without its last column and row. `attributes.txt` beside
    the file may name the attributes, a line each. That is the form of
    aPascal, https://vision.cs.uiuc.edu/attributes/, as the attribute networks of the Torch study
    read it.

    Args:
        path: of the file.
        images: the folder that its files are in.

    Raises:
        FileNotFoundError: if there is no such file or folder, or a photograph is not there.
        ValueError: for a line of another form, which is named, or no line.

    Example:

    >>> from keras_mg.datasets import AttributeLines
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (8, 6)).save(Path(folder, "one.png"))
    ...     _ = Path(folder, "train.txt").write_text("one.png cat 1 2 7 6 0 1 1\n")
    ...     lines = AttributeLines(Path(folder, "train.txt"), folder)
    ...     len(lines), lines[0].label.tolist(), lines[0].box
    (1, [0, 1, 1], (1, 2, 7, 6))
    """

    def __init__(self, path: str | os.PathLike, images: str | os.PathLike):
        self.path, self.folder = expand(path), expand(images)
        for what in (self.path, self.folder):
            if not what.exists():
                raise FileNotFoundError(
                    f"There is no {what}. Attributes need a file of lines (file, class, x1 y1 x2 "
                    "y2, bits) and the folder of its photographs."
                )
        self.files: list[str] = []
        self.classes: list[str] = []
        boxes: list[list[int]] = []
        bits: list[list[int]] = []
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            words = line.split()
            problem = self._problem(words, len(bits[0]) if bits else None)
            if problem:
                raise ValueError(f"{self.path}, line {number}: {problem}. Received: {line[:80]!r}")
            self.files.append(words[0])
            self.classes.append(words[1])
            boxes.append([int(float(word)) for word in words[2:6]])
            bits.append([int(word) for word in words[6:]])
        if not bits:
            raise ValueError(f"{self.path} must have a line for each object. Received: no line")
        self.boxes, self.labels = np.array(boxes), np.array(bits, "int8")
        self.names = self._read_names()

    def _read_names(self) -> list[str] | None:
        path = self.path.parent / "attributes.txt"
        if not path.exists():
            return None
        names = path.read_text(encoding="utf-8").split("\n")
        names = [name.strip() for name in names if name.strip()]
        if len(names) != self.attributes:
            raise ValueError(
                f"{path} must name the {self.attributes} attributes of {self.path.name}. "
                f"Received: {len(names)} names"
            )
        return names

    def _problem(self, words: list[str], attributes: int | None) -> str | None:
        if len(words) < 7:
            return "a line is file, class, x1 y1 x2 y2 and a bit or more"
        if attributes is not None and len(words) - 6 != attributes:
            return f"the lines before have {attributes} bits, this one {len(words) - 6}"
        if any(word not in ("0", "1") for word in words[6:]):
            return "bits are 0 or 1"
        try:
            x1, y1, x2, y2 = (int(float(word)) for word in words[2:6])
        except (ValueError, OverflowError):
            return "x1 y1 x2 y2 are numbers"
        if not (0 <= x1 < x2 and 0 <= y1 < y2):
            return "a box has x1 < x2 and y1 < y2, of at least 0"
        if not (self.folder / words[0]).is_file():
            return f"there is no {self.folder / words[0]}"
        return None

    @property
    def attributes(self) -> int:
        """How many attributes a line has."""
        return self.labels.shape[1]

    def split(self, fraction: float, seed: int = 0) -> tuple[AttributeLines, AttributeLines]:
        """Two parts, of which the second has a fraction of the lines.

        Args:
            fraction: float between 0 and 1; rounded to whole lines.
            seed: int; the same seed gives the same parts. Defaults to 0.

        Raises:
            ValueError: if a part would be empty.
        """
        first, second = split_rows(len(self), fraction, seed)
        return self._part(first), self._part(second)

    def _part(self, rows: np.ndarray) -> AttributeLines:
        part = copy.copy(self)
        part.files = [self.files[i] for i in rows]
        part.classes = [self.classes[i] for i in rows]
        part.boxes, part.labels = self.boxes[rows], self.labels[rows]
        return part

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Photo:
        path = self.folder / self.files[index]
        box = tuple(self.boxes[index].tolist())
        return Photo(path.read_bytes(), self.labels[index], str(path), box)


def split_rows(count: int, fraction: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The rows of two parts, of which the second has a fraction.

    Args:
        count: int, of all rows.
        fraction: float between 0 and 1; rounded to whole rows.
        seed: int; the same seed gives the same parts. Defaults to 0.

    Raises:
        ValueError: if a part would be empty.

    Example:

    >>> from keras_mg.datasets.attribute_lines import split_rows
    >>> [len(part) for part in split_rows(10, 0.2)]
    [8, 2]
    """
    second = round(fraction * count)
    if not 0 < second < count:
        raise ValueError(
            f"Each part must have an object. Received: fraction={fraction} of {count} objects"
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[second:]), np.sort(order[:second])


@dataclasses.dataclass(frozen=True)
class PadToSquare:
    """A photograph whose longer side is scaled, in the middle of a black square.

    Args:
        size: int, side of the square in pixels. Defaults to 224.

    Example:

    >>> from keras_mg.datasets import PadToSquare
    >>> from PIL import Image
    >>> square = PadToSquare(8)(Image.new("RGB", (4, 2), (9, 9, 9)))
    >>> square[:, 0, 0].tolist()
    [0, 0, 9, 9, 9, 9, 0, 0]
    """

    size: int = 224

    def __post_init__(self):
        positive_int("size", self.size)

    def __call__(self, photo: Image, rng: np.random.Generator | None = None) -> np.ndarray:
        """The square, uint8 `(size, size, 3)`; nothing is random."""
        from PIL import Image

        longer = max(photo.size)
        width, height = (max(1, self.size * side // longer) for side in photo.size)
        scaled = photo.resize((width, height), Image.Resampling.BILINEAR)
        square = np.zeros((self.size, self.size, 3), "uint8")
        top, left = (self.size - height) // 2, (self.size - width) // 2
        square[top : top + height, left : left + width] = np.asarray(scaled)
        return square
