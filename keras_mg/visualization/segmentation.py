"""One picture of inputs, true maps and predicted maps that is read at a glance."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_mg._files import expand, replacing
from keras_mg.layers.arguments import standardize_data_format
from keras_mg.visualization._figures import new_figure

# Ten hues that stay apart on a near-black ground, neighbours in the list most of all.
PALETTE = (
    "#e6e6e6",
    "#ff5a52",
    "#2fd05a",
    "#4f8dff",
    "#ffd21f",
    "#c56bff",
    "#ff9330",
    "#22dbe3",
    "#ff7ac6",
    "#a8814f",
)
_GROUND = "#0e0e12"
_WRONG = "#ffffff"


def plot_segmentation(
    path: str | os.PathLike,
    inputs,
    true_maps,
    predicted_maps,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
    threshold: float = 0.5,
    data_format: str | None = None,
) -> pathlib.Path:
    """Draws one column per image: the input, its true maps, the predicted maps, the wrong pixels.

    Every class has a colour, named in the legend. A pixel of two maps gets the mean of their
    colours. Under each prediction stands the IU of that image, over all its maps together.

    Args:
        path: the PNG file to write. It is replaced in one step: a drawing that fails leaves an
            older file as it was.
        inputs: grey images, `(images, height, width, 1)` with channels last.
        true_maps: `(images, height, width, maps)`.
        predicted_maps: like `true_maps`.
        class_names: one name per map; by default 0, 1, 2, ...
        title: string above the picture, of one line or more.
        threshold: float, the smallest value of a pixel that belongs to a map.
        data_format: `"channels_last"`, `"channels_first"`, or `None` for Keras's own setting.

    Returns:
        The path of the file.

    Raises:
        ValueError: if the shapes do not fit each other, there is no image, or there are more maps
            than colours or names.
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.

    Example:

    >>> from keras_mg.datasets import ScatteredDigits
    >>> from keras_mg.visualization import plot_segmentation
    >>> x, y = ScatteredDigits("test", 4, batch_size=4, data_format="channels_last")[0]
    >>> plot_segmentation("example.png", x, y, y, data_format="channels_last").name
    'example.png'
    """
    inputs, true_maps, predicted_maps = (
        np.asarray(array) for array in (inputs, true_maps, predicted_maps)
    )
    if standardize_data_format(data_format) == "channels_first":
        inputs, true_maps, predicted_maps = (
            np.moveaxis(array, 1, -1) for array in (inputs, true_maps, predicted_maps)
        )
    names = _check(inputs, true_maps, predicted_maps, class_names)
    true, predicted = true_maps >= threshold, predicted_maps >= threshold
    rows = [
        ("input", [image[..., 0] for image in inputs]),
        ("true", [_paint(maps) for maps in true]),
        ("predicted", [_paint(maps) for maps in predicted]),
        ("wrong (white)", [_paint_wrong(*pair) for pair in zip(true, predicted, strict=True)]),
    ]
    figure = _figure(rows, [_iu(*pair) for pair in zip(true, predicted, strict=True)], names, title)
    target = expand(path)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png")
    return target


def _check(inputs, true_maps, predicted_maps, class_names) -> list[str]:
    """The class names, after the shapes have been found to fit."""
    shapes = f"inputs {inputs.shape}, true {true_maps.shape}, predicted {predicted_maps.shape}"
    if true_maps.ndim != 4 or true_maps.shape != predicted_maps.shape:
        raise ValueError(f"True and predicted maps must be 4D and of one shape. Received: {shapes}")
    if inputs.shape != (*true_maps.shape[:3], 1):
        raise ValueError(
            "The inputs must be grey images (one channel), as many and as large as the maps. "
            f"Received (channels last): {shapes}"
        )
    if not len(inputs):
        raise ValueError(f"There is no image to draw. Received: {shapes}")
    maps = true_maps.shape[-1]
    names = [str(n) for n in (range(maps) if class_names is None else class_names)]
    if len(names) != maps:
        raise ValueError(f"{maps} maps need {maps} `class_names`. Received: {names}")
    if maps > len(PALETTE):
        raise ValueError(f"There are colours for at most {len(PALETTE)} maps. Received: {maps}")
    return names


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], "float32") / 255


def _paint(maps: np.ndarray) -> np.ndarray:
    """Boolean maps (height, width, maps) as one RGB image."""
    colours = np.stack([_rgb(colour) for colour in PALETTE[: maps.shape[-1]]])
    many = maps.sum(-1, keepdims=True)
    mixed = maps.astype("float32") @ colours / np.maximum(many, 1)
    return np.where(many > 0, mixed, _rgb(_GROUND))


def _paint_wrong(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pixels on which any map is wrong, on a faint picture of the truth."""
    faint = 0.3 * true.any(-1, keepdims=True) * np.ones(3, "float32") + 0.7 * _rgb(_GROUND)
    return np.where((true != predicted).any(-1, keepdims=True), _rgb(_WRONG), faint)


def _iu(true: np.ndarray, predicted: np.ndarray) -> float:
    union = (true | predicted).sum()
    return float((true & predicted).sum() / union) if union else 1.0


def _figure(rows, ius: list[float], names: list[str], title: str | None):
    columns, side = len(ius), 1.75
    heading = 0.25 + 0.25 * len(title.splitlines()) if title else 0.15
    width, height = max(columns * side + 1.0, 6.5), len(rows) * side + 1.0 + heading
    # A Figure of its own, not pyplot: no display, no global state, safe in any thread.
    figure = new_figure(figsize=(width, height), dpi=110, facecolor="white")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    figure.subplots_adjust(
        left=0.85 / width,
        right=1 - 0.15 / width,
        top=1 - heading / height,
        bottom=0.78 / height,
        wspace=0.06,
        hspace=0.13,
    )
    for axes_row, (label, images) in zip(grid, rows, strict=True):
        for axes, image in zip(axes_row, images, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        axes_row[0].set_ylabel(label, fontsize=13, labelpad=8)
    for axes, iu in zip(grid[-1], ius, strict=True):
        axes.set_xlabel(f"IU {iu:.2f}", fontsize=11)
    if title:
        figure.suptitle(title, fontsize=14, y=1 - 0.11 / height, va="top")
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=colour, edgecolor="#444444", linewidth=0.5, label=name)
        for colour, name in zip(PALETTE, names, strict=False)
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.04 / height),
        ncols=len(handles),
        frameon=False,
        fontsize=11,
        handlelength=1.1,
        handletextpad=0.35,
        columnspacing=1.0,
    )
    return figure
