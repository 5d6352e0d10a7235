"""Real handwritten digits scattered on a canvas: a segmentation task that needs no download.

The 1,797 digits of 8x8 pixels (E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
Digits", UCI Machine Learning Repository, CC BY 4.0) come inside scikit-learn's wheel. They are
rotated, scaled and placed on an empty canvas, and the target has one binary map per class: the
form of the segmentation task of Ke, Maire and Yu, "Multigrid Neural Architectures" (CVPR 2017,
https://arxiv.org/abs/1611.07661), on smaller digits. It is not their cluttered MNIST, and figures
of one do not compare with figures of the other.
"""

import math
from typing import Literal, NamedTuple

import keras
import numpy as np

from keras_mg.layers.arguments import one_of, positive_int, standardize_data_format

NUM_CLASSES = 10
SPLITS = ("train", "validation", "test")
# The digits kept for validation and for test, as fractions of each class.
VALIDATION_FRACTION = 0.1
TEST_FRACTION = 0.25
# A pixel belongs to a digit where the digit's ink there is at least this (ink runs from 0 to 1).
INK_THRESHOLD = 0.3
# Source pixels per digit side, and the finer grid that they are interpolated to once, so that
# drawing a digit needs only a bilinear look-up.
_SIDE = 8
_UPSAMPLING = 4
# One source pixel of empty frame on each side: ink fades out inside the frame, never at a cut edge.
_FRAME = 1
# Fixed canvases are drawn this many at a time, whatever the batch size, so that they do not depend
# on it.
_CHUNK = 32


class Digits(NamedTuple):
    """Handwritten digits: `images` of shape (n, 8, 8), float32 ink from 0 to 1; `labels` (n,)."""

    images: np.ndarray
    labels: np.ndarray


def load_digits() -> Digits:
    """The 1,797 handwritten digits inside scikit-learn's wheel (nothing is downloaded).

    Returns:
        `Digits(images, labels)`: images of shape `(1797, 8, 8)`, float32 in [0, 1], and integer
        labels of shape `(1797,)`.

    Raises:
        ImportError: if scikit-learn is not installed.

    Example:

    >>> from keras_mg.datasets import load_digits
    >>> load_digits().images.shape
    (1797, 8, 8)
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError as error:
        raise ImportError(
            "The handwritten digits come inside scikit-learn, which is not installed. "
            'Install it with the extra `data`: pip install "keras-mg[data]"'
        ) from error
    bunch = load()
    images = np.asarray(bunch.images, dtype="float32") / 16.0
    return Digits(images, np.asarray(bunch.target, dtype="int64"))


def split_digits(digits: Digits | None = None, seed: int = 0) -> dict[str, Digits]:
    """Splits the digits into disjoint sets: 65% training, 10% validation, 25% test of each class.

    The split is by digit. The data set does not say who wrote which digit, so one writer's hand
    can be in all three sets.

    Args:
        digits: the digits to split; by default those of `load_digits()`.
        seed: integer; the same seed gives the same split.

    Returns:
        A dictionary with the keys `"train"`, `"validation"` and `"test"`, each a `Digits`.

    Example:

    >>> from keras_mg.datasets import split_digits
    >>> {name: len(part.labels) for name, part in split_digits().items()}
    {'train': 1168, 'validation': 179, 'test': 450}
    """
    digits = load_digits() if digits is None else digits
    rng = np.random.default_rng(seed)
    chosen: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    for label in np.unique(digits.labels):
        order = rng.permutation(np.flatnonzero(digits.labels == label))
        tested = round(TEST_FRACTION * len(order))
        validated = round(VALIDATION_FRACTION * len(order))
        chosen["test"].append(order[:tested])
        chosen["validation"].append(order[tested : tested + validated])
        chosen["train"].append(order[tested + validated :])
    rows = {name: np.sort(np.concatenate(parts)) for name, parts in chosen.items()}
    return {name: Digits(digits.images[r], digits.labels[r]) for name, r in rows.items()}


class DigitScatterer:
    """Draws canvases of scattered digits, a whole batch at a time.

    Each canvas gets a number of digits drawn from `digits_per_canvas`. Each digit is rotated about
    its centre by an angle from U(-`rotation`, `rotation`), enlarged by a factor from U(`scale`) and
    placed wholly inside the canvas at a uniform integer position. A position at which more than
    `overlap` of the digit's own pixels fall on earlier digits is drawn again, up to `tries` times;
    then the least overlapping of the tried positions is taken. Ink adds up, clipped to 1.

    Args:
        digits: the `Digits` to draw from.
        size: integer, the side of the canvas in pixels.
        digits_per_canvas: the smallest and the largest number of digits.
        rotation: the largest angle, in degrees.
        scale: the smallest and the largest factor; 2.0 makes a digit of 8 pixels one of 16.
        overlap: the largest fraction of a digit's pixels that may lie on earlier digits.
        tries: integer, how many positions are tried for a digit.

    Raises:
        ValueError: for an empty or reversed range, or a canvas too small for the largest digit.
    """

    def __init__(
        self,
        digits: Digits,
        size: int = 64,
        digits_per_canvas: tuple[int, int] = (3, 5),
        rotation: float = 30.0,
        scale: tuple[float, float] = (2.0, 3.0),
        overlap: float = 0.1,
        tries: int = 20,
    ):
        _check_range("digits_per_canvas", digits_per_canvas, 1)
        _check_range("scale", scale, 0.5)
        if not 0 <= rotation <= 180:
            raise ValueError(f"`rotation` must be from 0 to 180 degrees. Received: {rotation}")
        if not 0 <= overlap <= 1:
            raise ValueError(f"`overlap` must be from 0 to 1. Received: {overlap}")
        if digits.images.ndim != 3 or digits.images.shape[1:] != (_SIDE, _SIDE):
            raise ValueError(
                f"`digits.images` must have shape (n, {_SIDE}, {_SIDE}). "
                f"Received: {digits.images.shape}"
            )
        if not len(digits.labels):
            raise ValueError("`digits` holds no digit.")
        # The frame of a digit turned by `rotation`: its widest side, in pixels per pixel of frame.
        turn = math.radians(min(rotation, 45.0))
        spread = math.cos(turn) + math.sin(turn)
        self._patch = math.ceil(_SIDE * scale[1] * spread) + 1
        if size < self._patch:
            raise ValueError(
                f"`size` must be at least {self._patch}, the side of the largest rotated digit "
                f"(`scale`={scale}, `rotation`={rotation}). Received: size={size}"
            )
        self.digits = digits
        self.size = size
        self.digits_per_canvas = digits_per_canvas
        self.rotation = rotation
        self.scale = scale
        self.overlap = overlap
        self.tries = positive_int("tries", tries)
        self._fine = _upsample(digits.images)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws `count` canvases.

        Args:
            count: integer, how many.
            rng: the random generator; its state alone decides what is drawn.

        Returns:
            `(canvases, maps)`: float32 ink of shape `(count, size, size)`, and booleans of shape
            `(count, 10, size, size)`, true where ink of that class is at least 0.3.
        """
        low, high = self.digits_per_canvas
        numbers = rng.integers(low, high, count, endpoint=True)
        picked = rng.integers(len(self.digits.labels), size=(count, high))
        angle = np.radians(rng.uniform(-self.rotation, self.rotation, (count, high)))
        side = _SIDE * rng.uniform(*self.scale, (count, high))
        patches = self._render(picked, angle, side)
        # Half the side of the turned digit's own frame, which has to lie inside the canvas.
        half = 0.5 * side * (np.abs(np.cos(angle)) + np.abs(np.sin(angle)))
        reach = np.clip(np.ceil(half), 1, self.size // 2).astype("int64")

        margin = self._patch // 2
        padded = self.size + 2 * margin
        ink = np.zeros((count, padded, padded), "float32")
        class_ink = np.zeros((count, NUM_CLASSES, padded, padded), "float32")
        labels = self.digits.labels[picked]
        for k in range(high):
            used = np.flatnonzero(numbers > k)
            patch = patches[used, k]
            corners = self._place(ink, used, patch, reach[used, k], rng, first=k == 0)
            rows, columns = self._pixels(corners)
            canvas = used[:, None, None]
            ink[canvas, rows, columns] += patch
            class_ink[canvas, labels[used, k][:, None, None], rows, columns] += patch
        inside = slice(margin, margin + self.size)
        canvases = np.minimum(ink[:, inside, inside], 1.0)
        return canvases, class_ink[:, :, inside, inside] >= INK_THRESHOLD

    def _render(self, picked: np.ndarray, angle: np.ndarray, side: np.ndarray) -> np.ndarray:
        """The turned and enlarged digits, each centred in a square patch, by bilinear look-up."""
        offset = np.arange(self._patch, dtype="float32") - self._patch // 2
        # Canvas pixels to pixels of the fine grid.
        factor = (_SIDE * _UPSAMPLING / side).astype("float32")
        cos = (np.cos(angle).astype("float32") * factor)[..., None, None]
        sin = (np.sin(angle).astype("float32") * factor)[..., None, None]
        fine_side = self._fine.shape[1]
        centre = np.float32((fine_side - 1) / 2)
        rows = cos * offset[:, None] - sin * offset[None, :] + centre
        columns = sin * offset[:, None] + cos * offset[None, :] + centre
        # Outside the frame there is no ink: the outermost fine pixels are zero.
        np.clip(rows, 0, fine_side - 1.001, out=rows)
        np.clip(columns, 0, fine_side - 1.001, out=columns)
        row, column = rows.astype("int32"), columns.astype("int32")
        down, right = rows - row, columns - column
        flat = self._fine.reshape(-1)
        at = (picked[..., None, None] * fine_side + row) * fine_side + column
        upper = flat[at] * (1 - right) + flat[at + 1] * right
        lower = flat[at + fine_side] * (1 - right) + flat[at + fine_side + 1] * right
        return upper * (1 - down) + lower * down

    def _place(
        self,
        ink: np.ndarray,
        used: np.ndarray,
        patch: np.ndarray,
        reach: np.ndarray,
        rng: np.random.Generator,
        first: bool,
    ) -> np.ndarray:
        """The corner (row, column) of each patch on the padded canvas, shape `(len(used), 2)`."""
        limits = np.stack([reach, self.size - reach], axis=-1)
        corners = rng.integers(limits[:, :1], limits[:, 1:], (len(used), 2), endpoint=True)
        if first:
            return corners
        own = patch >= INK_THRESHOLD
        area = np.maximum(own.sum((1, 2)), 1)
        least = np.full(len(used), np.inf)
        trial = corners.copy()
        waiting = np.arange(len(used))
        for _ in range(self.tries):
            rows, columns = self._pixels(trial)
            taken = ink[used[waiting][:, None, None], rows, columns] >= INK_THRESHOLD
            share = (taken & own[waiting]).sum((1, 2)) / area[waiting]
            better = share < least[waiting]
            least[waiting[better]] = share[better]
            corners[waiting[better]] = trial[better]
            waiting = waiting[share > self.overlap]
            if not len(waiting):
                break
            bounds = limits[waiting]
            trial = rng.integers(bounds[:, :1], bounds[:, 1:], (len(waiting), 2), endpoint=True)
        return corners

    def _pixels(self, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # A centre c of the canvas is the pixel c + margin of the padded canvas, hence its patch
        # begins at c: the margin is half a patch.
        steps = np.arange(self._patch)
        rows = corners[:, 0, None, None] + steps[:, None]
        columns = corners[:, 1, None, None] + steps[None, :]
        return rows, columns


class ScatteredDigits(keras.utils.PyDataset):
    """Batches of scattered digits for `model.fit`, `model.evaluate` and `model.predict`.

    Training canvases (`fresh=True`) are new in every step: batch `i` of epoch `e` depends on
    `(seed, split, e, i)` alone. Fixed canvases (`fresh=False`) depend on `(seed, split)` alone:
    they are the same in every epoch and for every batch size.

    Drawing takes a fraction of a millisecond per canvas, so one worker (the default) does, and with
    it training is reproducible. More workers are safe too, but then Keras hands batches that it
    had drawn ahead from one epoch to the next, as many as happened to be ready, and two runs may
    meet their canvases in different order.

    Args:
        split: `"train"`, `"validation"` or `"test"`: whose digits are drawn. The three sets of
            digits are disjoint.
        canvases: integer, canvases per epoch.
        batch_size: integer; the last batch of an epoch is smaller where it does not divide
            `canvases`.
        fresh: whether each epoch draws new canvases; by default only those of `"train"` do.
        seed: integer, of the canvases.
        split_seed: integer, of the split. It is apart from `seed` so that a model trained with
            another `seed` is still tested on digits that it never saw.
        data_format: `"channels_last"`, `"channels_first"`, or `None` for Keras's own setting.
        scatter: further arguments of `DigitScatterer`, e.g. `{"rotation": 60.0}`.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Output shape:
        `(x, y)`, float32. Channels last: `(batch, 64, 64, 1)` and `(batch, 64, 64, 10)`; channels
        first: `(batch, 1, 64, 64)` and `(batch, 10, 64, 64)`.

    Raises:
        ValueError: for an unknown `split` or `data_format`, or a count below 1.
        ImportError: if scikit-learn is not installed.

    Example:

    >>> from keras_mg.datasets import ScatteredDigits
    >>> data = ScatteredDigits("train", canvases=100, batch_size=8, data_format="channels_last")
    >>> x, y = data[0]
    >>> x.shape, y.shape, len(data)
    ((8, 64, 64, 1), (8, 64, 64, 10), 13)
    """

    def __init__(
        self,
        split: Literal["train", "validation", "test"] = "train",
        canvases: int = 1000,
        batch_size: int = 8,
        fresh: bool | None = None,
        seed: int = 0,
        split_seed: int = 0,
        data_format: str | None = None,
        scatter: dict | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.split = one_of("split", split, SPLITS)
        self.canvases = positive_int("canvases", canvases)
        self.batch_size = positive_int("batch_size", batch_size)
        self.fresh = split == "train" if fresh is None else fresh
        self.seed = seed
        self.data_format = standardize_data_format(data_format)
        digits = split_digits(seed=split_seed)[split]
        self.scatterer = DigitScatterer(digits, **(scatter or {}))
        self.epoch = 0  # whose canvases are drawn, where they are fresh
        # Drawn here, not on first use: worker threads could otherwise draw them twice.
        self._fixed = None if self.fresh else self._draw_fixed()

    def __len__(self) -> int:
        return math.ceil(self.canvases / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Batch {index} of {len(self)} batches.")
        begin = (index % len(self)) * self.batch_size
        end = min(begin + self.batch_size, self.canvases)
        if self._fixed is None:
            ink, maps = self.scatterer.draw(end - begin, self._rng(self.epoch, begin))
        else:
            ink, maps = self._fixed[0][begin:end], self._fixed[1][begin:end]
        x, y = ink[:, None], maps.astype("float32")
        if self.data_format == "channels_last":
            x, y = np.moveaxis(x, 1, -1), np.ascontiguousarray(np.moveaxis(y, 1, -1))
        return x, y

    def on_epoch_end(self) -> None:
        # Keras stops the workers before it calls this and starts them again only afterwards, so no
        # batch of the next epoch is drawn under the old number.
        self.epoch += 1

    def _rng(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(self.split), *numbers])

    def _draw_fixed(self) -> tuple[np.ndarray, np.ndarray]:
        parts = [
            self.scatterer.draw(_CHUNK, self._rng(chunk))
            for chunk in range(math.ceil(self.canvases / _CHUNK))
        ]
        ink, maps = (np.concatenate(arrays)[: self.canvases] for arrays in zip(*parts, strict=True))
        return ink, maps


def _upsample(images: np.ndarray) -> np.ndarray:
    """Cubic interpolation to the fine grid, with an empty frame, ink clipped to [0, 1]."""
    # scipy is a dependency of scikit-learn, which the digits come from.
    from scipy.ndimage import zoom

    framed = np.pad(images, ((0, 0), (_FRAME, _FRAME), (_FRAME, _FRAME)))
    fine = zoom(
        framed, (1, _UPSAMPLING, _UPSAMPLING), order=3, grid_mode=True, mode="grid-constant"
    )
    fine = np.clip(fine, 0.0, 1.0)
    fine[:, (0, -1), :] = 0.0
    fine[:, :, (0, -1)] = 0.0
    return np.ascontiguousarray(fine, dtype="float32")


def _check_range(name: str, value: tuple[float, float], least: float) -> None:
    if len(value) != 2 or not least <= value[0] <= value[1]:
        raise ValueError(
            f"`{name}` must be (smallest, largest) with {least} <= smallest <= largest. "
            f"Received: {value}"
        )
