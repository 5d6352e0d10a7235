"""Curves of training: one run, or several of one recipe as their mean and spread."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from keras_mg._files import expand, replacing
from keras_mg.layers.arguments import positive_int
from keras_mg.visualization._figures import new_figure

_COLOURS = {"": "#2f6fde", "val_": "#e0662b"}
_NAMES = {"": "training", "val_": "validation"}


def rolling_mean(values, window: int) -> np.ndarray:
    """The mean of each value and those before it, `window` of them, or as many as there are.

    Args:
        values: numbers `(..., epochs)`.
        window: int, at least 1.

    Example:

    >>> from keras_mg.visualization.history import rolling_mean
    >>> rolling_mean([1.0, 3.0, 5.0, 7.0], window=3).tolist()
    [1.0, 2.0, 3.0, 5.0]
    """
    values = np.asarray(values, "float64")
    window = positive_int("window", window)
    epochs = values.shape[-1]
    return np.stack(
        [values[..., max(0, i + 1 - window) : i + 1].mean(-1) for i in range(epochs)], -1
    )


def plot_history(
    path: str | os.PathLike,
    history: Mapping[str, Sequence[float]] | Sequence[Mapping[str, Sequence[float]]],
    window: int = 1,
    title: str | None = None,
) -> pathlib.Path:
    """Draws a panel per figure: training and validation by epoch.

    Of several runs their mean is drawn, and a band of one standard deviation to both sides. They
    are drawn up to the last epoch that all of them have.

    Args:
        path: the PNG file to write. It is replaced in one step.
        history: figures by name, a list per epoch, as `fit(...).history` has them; those of the
            validation begin with `val_`. Or several of these.
        window: int, epochs that a point is the mean of: itself and those before. Defaults to 1.
        title: string above the picture.

    Returns:
        The path of the file.

    Raises:
        ValueError: if there is no run, no epoch, or the runs have other figures than each other.
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.

    Example:

    >>> from keras_mg.visualization import plot_history
    >>> history = {"loss": [2.0, 1.0], "val_loss": [2.5, 1.5]}
    >>> plot_history("curves-of-the-example.png", history).name
    'curves-of-the-example.png'
    """
    runs = [history] if isinstance(history, Mapping) else list(history)
    positive_int("window", window)
    if not runs or not all(len(values) for run in runs for values in run.values()) or not runs[0]:
        raise ValueError(f"There must be a run of at least one epoch. Received: {len(runs)} runs")
    names = list(runs[0])
    if any(set(run) != set(names) for run in runs):
        shown = "; ".join(", ".join(sorted(run)) for run in runs)
        raise ValueError(f"The runs must have figures of the same names. Received: {shown}")
    figures = [name for name in names if not name.startswith("val_")]
    figures += [name for name in names if name.removeprefix("val_") not in figures]
    figure = _figure(runs, figures, window, title)
    target = expand(path)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png")
    return target


def _figure(runs, figures: list[str], window: int, title: str | None):
    # A Figure of its own, not pyplot: no display, no global state, safe in any thread.
    figure = new_figure(figsize=(4.6 * len(figures), 3.6), dpi=110, facecolor="white")
    figure.set_layout_engine("constrained")
    for axes, name in zip(figure.subplots(1, len(figures), squeeze=False)[0], figures, strict=True):
        for prefix, colour in _COLOURS.items():
            key = prefix + name if not name.startswith("val_") else name
            if key not in runs[0] or (prefix == "" and name.startswith("val_")):
                continue
            epochs = min(len(run[key]) for run in runs)
            lines = rolling_mean([list(run[key])[:epochs] for run in runs], window)
            x, mean = np.arange(1, epochs + 1), lines.mean(0)
            marker = "o" if epochs == 1 else None
            axes.plot(x, mean, color=colour, label=_NAMES[prefix], linewidth=1.6, marker=marker)
            if len(runs) > 1:
                spread = lines.std(0, ddof=1)
                axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
        axes.set_title(name.removeprefix("val_"), fontsize=11)
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure
