"""Cluttered MNIST: digits turned, sheared, scaled and scattered on a canvas, by the exact formulas.

The six tasks of Ke, Maire and Yu, "Multigrid Neural Architectures" (CVPR 2017,
https://arxiv.org/abs/1611.07661): find and name the digits of a canvas (`seg`), or show where and
how a digit was before it was turned, sheared, scaled and moved (`spt` does all of it, `rot`, `sca`,
`tra` and `aff` one each). The formulas are those of the authors' generator, which is a change of
DeepMind's cluttered MNIST.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from keras_mg.datasets.digit_operations import centre as centre
from keras_mg.datasets.digit_operations import rotate as rotate
from keras_mg.datasets.digit_operations import scale as scale
from keras_mg.datasets.digit_operations import shear as shear
from keras_mg.datasets.mnist_digits import MNISTDigits
from keras_mg.layers.arguments import one_of

NUM_CLASSES = 10
CANVAS = 64  # pixels a side
# A pixel belongs to a digit where its ink there is at least this (ink runs from 0 to 1).
INK_THRESHOLD = 0.3
# What the papers subtract from a canvas and divide it by, in all six tasks.
MEAN, STD = 0.1141, 0.2746
SPLITS = ("train", "validation", "test")
_POSITIONS = 10  # tried for one scale of a digit
_SCALES = 1000  # tried for one digit; so many have never been needed
_BLOCK = 1024  # canvases whose numbers of digits are drawn together


@dataclasses.dataclass(frozen=True)
class Task:
    """What is done to digits, and what is asked.

    Args:
        title: for people.
        scale: the smallest and the largest factor, uniform between them; 1 leaves 28 pixels.
        rotation: the largest angle in degrees, uniform between minus and plus it.
        shear: likewise; along which axis is a fair coin.
        scattered: bool, whether a digit may be anywhere on the canvas, or is in the middle.
        sizes: canvases of `train`, `validation` and `test`.
        digits: mean and standard deviation of the number of digits, which is normal and rounded up,
            or None for one digit.
        overlap: the largest share, in tenths, of a digit's own pixels on others', where there is
            more than one digit.
    """

    title: str
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    shear: float = 0.0
    scattered: bool = False
    sizes: tuple[int, int, int] = (50_000, 10_000, 10_000)
    digits: tuple[float, float] | None = None
    overlap: int = 3

    @property
    def maps(self) -> int:
        """Output maps: one per class where digits are named, else one."""
        return 1 if self.digits is None else NUM_CLASSES


TASKS = {
    "seg": Task(
        "segmentation",
        scale=(0.5, 1.25),
        rotation=60.0,
        scattered=True,
        sizes=(10_000, 1_000, 1_000),
        digits=(5.0, 0.5),
    ),
    "spt": Task(
        "spatial transformation", scale=(0.5, 1.5), rotation=60.0, shear=60.0, scattered=True
    ),
    "rot": Task("rotation", rotation=60.0),
    "sca": Task("scaling", scale=(0.5, 1.5)),
    "tra": Task("translation", scattered=True),
    "aff": Task("affine transformation", shear=60.0),
}


class Canvases:
    """The canvases of one task and part, by number, without an end.

    Canvas `i` is a function of `(task, part, seed, i)` and the digits alone: it is the same whoever
    draws it, and in whatever order. Digits come by a permutation, each once before any comes again;
    every pass has a permutation of its own.

    Args:
        task: a name in `TASKS`.
        digits: `MNISTDigits`, those of this part alone.
        split: "train", "validation" or "test": each has its own random numbers.
        seed: int from 0 to 2**64 - 1. Defaults to 0.

    Raises:
        ValueError: for an unknown task or part, another seed, or no digit.

    Example:

    >>> from keras_mg.datasets import Canvases, load_mnist_digits
    >>> canvases = Canvases("seg", load_mnist_digits("embedded")["test"], "test")
    >>> image, target = canvases[7]
    >>> image.shape, str(image.dtype), target.shape, str(target.dtype)
    ((64, 64, 1), 'float32', (64, 64, 10), 'uint8')
    """

    def __init__(self, task: str, digits: MNISTDigits, split: str = "train", seed: int = 0):
        self.task = TASKS[one_of("task", task, tuple(TASKS))]
        one_of("split", split, SPLITS)
        if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed < 2**64:
            raise ValueError(f"seed must be an integer from 0 to 2**64 - 1. Received: {seed!r}")
        if not len(digits.labels):
            raise ValueError("There is no digit to draw from.")
        self.digits = digits
        self.seed = int(seed)
        self._arguments = task, digits, split, self.seed
        self._stream = 10 * list(TASKS).index(task) + SPLITS.index(split)
        self._order = functools.lru_cache(maxsize=4)(self._draw_order)
        # Digits of all canvases up to the first of each block that has been looked at.
        self._before = [0]
        self._numbers = functools.lru_cache(maxsize=4)(self._draw_numbers)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Canvas number `index`.

        Returns:
            `(image, target)`: float32 ink from 0 to 1 of shape `(64, 64, 1)`, and uint8 zeros and
            ones of shape `(64, 64, maps)`.
        """
        if not hasattr(index, "__index__") or index < 0:
            raise IndexError(f"A canvas has a number of at least 0. Received: {index!r}")
        rng = self._rng(0, int(index))
        begin, number = self._share(int(index))
        size = len(self.digits.labels)
        rows = [self._order(k // size)[k % size] for k in range(begin, begin + number)]
        images, labels = self.digits.images[rows], self.digits.labels[rows]
        canvas = np.zeros((CANVAS, CANVAS))
        maps = np.zeros((self.task.maps, CANVAS, CANVAS))
        for image, label in zip(images, labels, strict=True):
            ink = image / 255.0
            digit, y, x = self._place(self._deform(ink, rng), canvas, rng)
            place = slice(y, y + len(digit)), slice(x, x + len(digit))
            canvas[place] += digit
            if self.task.digits is not None:
                maps[label][place] += digit
            else:
                y = x = centre(len(ink))
                maps[0, y : y + len(ink), x : x + len(ink)] = ink
        target = np.moveaxis(maps >= INK_THRESHOLD, 0, -1).astype("uint8")
        return np.minimum(canvas, 1.0).astype("float32")[..., None], target

    def __iter__(self):
        """The canvases from the first, without an end."""
        index = 0
        while True:
            yield self[index]
            index += 1

    def __reduce__(self):
        # What has been looked up is not sent to other processes.
        return Canvases, self._arguments

    def _deform(self, ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.task.rotation:
            ink = rotate(ink, math.radians(rng.uniform(-self.task.rotation, self.task.rotation)))
        if self.task.shear:
            angle = math.radians(rng.uniform(-self.task.shear, self.task.shear))
            ink = shear(ink, angle, axis=int(rng.integers(2)))
        return ink

    def _place(self, ink: np.ndarray, canvas: np.ndarray, rng: np.random.Generator):
        """The scaled digit, and its first row and column."""
        least, most = self.task.scale
        for _ in range(_SCALES):
            factor = least if least == most else rng.uniform(least, most)
            digit = scale(ink, math.ceil(factor * len(ink)))
            if digit.any():
                digit = digit / digit.max()
            if not self.task.scattered:
                return digit, centre(len(digit)), centre(len(digit))
            own = digit > 0
            for _ in range(_POSITIONS):
                y, x = rng.integers(0, CANVAS - len(digit), 2, endpoint=True).tolist()
                there = canvas[y : y + len(digit), x : x + len(digit)] > 0
                if self.task.digits is None or 10 * (own & there).sum() <= (
                    self.task.overlap * own.sum()
                ):
                    return digit, y, x
        raise RuntimeError(
            f"A digit may lie on others with at most {10 * self.task.overlap}% of its pixels; in "
            f"{_SCALES} scales of {_POSITIONS} positions each, no place was found for it."
        )

    def _rng(self, purpose: int, number: int) -> np.random.Generator:
        # Counter-based: numbers of one key that are 2**192 draws apart never meet.
        key = np.array([self.seed, 10 * self._stream + purpose], "uint64")
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number]))

    def _draw_order(self, passes: int) -> np.ndarray:
        return self._rng(1, passes).permutation(len(self.digits.labels))

    def _draw_numbers(self, block: int) -> np.ndarray:
        if self.task.digits is None:
            return np.ones(_BLOCK, "int64")
        drawn = np.ceil(self._rng(2, block).normal(*self.task.digits, _BLOCK))
        return np.maximum(drawn, 1).astype("int64")

    def _share(self, index: int) -> tuple[int, int]:
        """The first of this canvas's digits in the sequence of all, and how many it has."""
        block, place = divmod(index, _BLOCK)
        while len(self._before) <= block:
            self._before.append(self._before[-1] + int(self._numbers(len(self._before) - 1).sum()))
        numbers = self._numbers(block)
        return self._before[block] + int(numbers[:place].sum()), int(numbers[place])
