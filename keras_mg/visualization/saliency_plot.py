"""Saliency as a picture: what each point of the output looks at, networks side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_mg._files import expand, replacing
from keras_mg.visualization._figures import new_figure
from keras_mg.visualization.saliency import POINTS, Saliency

# Of the points, as parts of a turn of the colour wheel: green, red, yellow, blue, cyan, magenta,
# orange.
HUES = (1 / 3, 0.0, 1 / 6, 2 / 3, 1 / 2, 5 / 6, 1 / 12)
LEVELS = 10  # of saturation
_INK = 0.5  # the least value of an input pixel that is drawn black


def colour_saliency(saliency, image, hue: float) -> np.ndarray:
    """A point's map over the input: black is ink, white is ground that the point does not look at.

    The colour's value is the inverted input, binarised at 0.5; its saturation is the map divided
    by its maximum and rounded up to the nearest of its own ten quantiles (10%, 20%, to 100%).

    Args:
        saliency: numbers of at least 0, `(height, width)`.
        image: numbers from 0 to 1, of the same shape.
        hue: float from 0 to 1.

    Returns:
        Red, green and blue from 0 to 1, `(height, width, 3)`.

    Raises:
        ValueError: for shapes that differ.

    Example:

    >>> from keras_mg.visualization.saliency_plot import colour_saliency
    >>> colour_saliency([[0.0, 0.0, 4.0]], [[0.0, 1.0, 0.0]], hue=0.0).tolist()
    [[[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]
    """
    saliency, image = np.asarray(saliency, "float64"), np.asarray(image)
    if saliency.ndim != 2 or saliency.shape != image.shape:
        raise ValueError(
            "Map and image must be (height, width), of one shape. Received: "
            f"{saliency.shape}, {image.shape}"
        )
    most = saliency.max()
    if most > 0:
        saliency = saliency / most
    levels = np.quantile(saliency, np.arange(1, LEVELS + 1) / LEVELS, method="inverted_cdf")
    saturation = levels[np.searchsorted(levels, saliency)]
    return _rgb(hue, saturation, (image < _INK).astype("float64"))


def colour_points(output, points) -> np.ndarray:
    """An output map in grey, black where it is 1, with its points in their colours.

    Args:
        output: numbers from 0 to 1, `(height, width)`.
        points: bool `(7, height, width)`, as of `find_points`.

    Returns:
        Red, green and blue from 0 to 1, `(height, width, 3)`.
    """
    picture = np.repeat(1 - np.clip(np.asarray(output, "float64"), 0, 1)[..., None], 3, -1)
    # The first point is the centre; where points of a small output meet, it stays whole.
    for point, hue in reversed(list(zip(points, HUES, strict=True))):
        picture[np.asarray(point, bool)] = _rgb(hue, np.ones(1), np.ones(1))[0]
    return picture


def plot_saliency(
    path: str | os.PathLike,
    columns: Mapping[str, Saliency],
    title: str | None = None,
) -> Path:
    """Draws a column per network or method: the output with its points, and what each looks at.

    Args:
        path: the PNG file to write. It is replaced in one step.
        columns: `Saliency` of one image, by what shall stand above it.
        title: string above the picture.

    Returns:
        The path of the file.

    Raises:
        ValueError: if there is nothing to draw.
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.

    Example:

    >>> from keras_mg.visualization import Saliency, find_points, plot_saliency
    >>> import numpy as np
    >>> image = np.pad(np.ones((4, 4), "float32"), 4)
    >>> found = Saliency(find_points(image), image[None].repeat(7, 0), image[None], image[None])
    >>> plot_saliency("saliency.png", {"a network": found}).name
    'saliency.png'
    """
    if not columns:
        raise ValueError("There is no saliency to draw. Received: {}")
    figure = _figure(columns, title)
    target = expand(path)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png")
    return target


def _figure(columns: Mapping[str, Saliency], title: str | None):
    rows = ("input", "output", *POINTS)
    heading = 0.25 + 0.2 * max(name.count("\n") for name in columns) + (0.4 if title else 0)
    width, height = 1.0 + 1.5 * len(columns), heading + 0.05 + 1.42 * len(rows)
    figure = new_figure(figsize=(width, height), dpi=110, facecolor="white")
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    figure.subplots_adjust(
        left=0.95 / width,
        right=1 - 0.05 / width,
        top=1 - heading / height,
        bottom=0.05 / height,
        wspace=0.05,
        hspace=0.05,
    )
    for column, (name, found) in zip(grid.T, columns.items(), strict=True):
        image = found.inputs[0]
        pictures = [np.repeat(1 - image[..., None], 3, -1)]
        pictures.append(colour_points(found.outputs[0], found.points))
        pictures += [
            colour_saliency(each, image, hue)
            for each, hue in zip(found.saliency, HUES, strict=True)
        ]
        column[0].set_title(name, fontsize=10)
        for axes, picture in zip(column, pictures, strict=True):
            axes.imshow(picture, vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#bbbbbb")
    for axes, label, hue in zip(grid[:, 0], rows, (None, None, *HUES), strict=True):
        colour = "black" if hue is None else tuple(_rgb(hue, np.ones(1), np.full(1, 0.75))[0])
        axes.set_ylabel(label, fontsize=10, color=colour, labelpad=6)
    if title:
        figure.suptitle(title, fontsize=11, y=1 - 0.08 / height, va="top")
    return figure


def _rgb(hue: float, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Colours of one hue as red, green and blue."""
    turned = (hue * 6 + np.array([0, 4, 2])) % 6
    pure = np.clip(np.abs(turned - 3) - 1, 0, 1)
    return value[..., None] * (1 + saturation[..., None] * (pure - 1))
