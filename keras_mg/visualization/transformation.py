"""One picture of canvases, what a network should make of each, and what it makes of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from keras_mg._files import expand, replacing
from keras_mg.layers.arguments import standardize_data_format
from keras_mg.visualization._figures import new_figure

_MISSED, _WRONG = (0.85, 0.15, 0.15), (0.15, 0.35, 0.95)


def plot_transformation(
    path: str | os.PathLike,
    inputs,
    true_maps,
    predicted_maps,
    title: str | None = None,
    threshold: float = 0.5,
    data_format: str | None = None,
) -> Path:
    """Draws one column per canvas: the input, the target, the output, and where the output is off.

    Ink is black. In the last row, pixels of the target that the output leaves out are red, those
    that it has too many blue, and under it stands the IU of that canvas.

    Args:
        path: the PNG file to write. It is replaced in one step.
        inputs: grey images from 0 to 1, `(images, height, width, 1)` with channels last.
        true_maps: `(images, height, width, 1)`.
        predicted_maps: like `true_maps`.
        title: string above the picture, of one line or more.
        threshold: float, the smallest value of a pixel that belongs to a map.
        data_format: "channels_last", "channels_first" or None for Keras's own setting.

    Returns:
        The path of the file.

    Raises:
        ValueError: if the shapes do not fit each other, or there is no canvas.
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.

    Example:

    >>> from keras_mg.datasets import Canvases, load_mnist_digits
    >>> from keras_mg.visualization import plot_transformation
    >>> canvases = Canvases("rot", load_mnist_digits("embedded")["test"], "test")
    >>> x, y = zip(*(canvases[i] for i in range(4)))
    >>> plot_transformation("rot.png", x, y, y, data_format="channels_last").name
    'rot.png'
    """
    arrays = [np.asarray(array) for array in (inputs, true_maps, predicted_maps)]
    axis = 1 if standardize_data_format(data_format) == "channels_first" else -1
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 4 or arrays[0].shape[axis] != 1:
        shown = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(
            "Inputs, targets and outputs must be 4D, of one shape and of one channel. "
            f"Received: {shown}"
        )
    if not len(arrays[0]):
        raise ValueError(f"There is no canvas to draw. Received: {arrays[0].shape}")
    images, true, predicted = (np.squeeze(array, axis).astype("float64") for array in arrays)
    figure = _figure(images, true, predicted, threshold, title)
    target = expand(path)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png")
    return target


def paint_difference(true, predicted) -> np.ndarray:
    """Black where both are, red where only the target is, blue where only the output is.

    Args:
        true: bool `(height, width)`.
        predicted: likewise.

    Returns:
        Red, green and blue from 0 to 1, `(height, width, 3)`.
    """
    picture = np.ones((*true.shape, 3))
    picture[true & predicted] = 0
    picture[true & ~predicted] = _MISSED
    picture[~true & predicted] = _WRONG
    return picture


def _figure(images, true, predicted, threshold: float, title: str | None):
    inside = true >= threshold, predicted >= threshold
    rows = {
        "input": 1 - images,
        "target": 1 - true,
        "output": 1 - predicted,
        "off": [paint_difference(*pair) for pair in zip(*inside, strict=True)],
    }
    heading = 0.25 + 0.25 * len(title.splitlines()) if title else 0.15
    width, height = max(1.75 * len(images) + 1.0, 6.5), 1.75 * len(rows) + 0.4 + heading
    figure = new_figure(figsize=(width, height), dpi=110, facecolor="white")
    grid = figure.subplots(len(rows), len(images), squeeze=False)
    figure.subplots_adjust(
        left=0.85 / width,
        right=1 - 0.15 / width,
        top=1 - heading / height,
        bottom=0.35 / height,
        wspace=0.06,
        hspace=0.08,
    )
    for axes_row, (label, pictures) in zip(grid, rows.items(), strict=True):
        for axes, picture in zip(axes_row, pictures, strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#bbbbbb")
        axes_row[0].set_ylabel(label, fontsize=13, labelpad=8)
    unions, common = (inside[0] | inside[1]).sum((1, 2)), (inside[0] & inside[1]).sum((1, 2))
    for axes, union, both in zip(grid[-1], unions, common, strict=True):
        axes.set_xlabel(f"IU {both / union if union else 1:.2f}", fontsize=11)
    if title:
        figure.suptitle(title, fontsize=14, y=1 - 0.11 / height, va="top")
    return figure
