"""What the authors of a recipe's network published of it, from the network's own record."""

from __future__ import annotations

from functools import partial

import keras

from keras_mg.applications import published_figures


def published_accuracy(network: partial[keras.Model], dataset: str) -> dict[str, float]:
    """The accuracy that a recipe claims, `{"accuracy": 0.9155}`; nothing where none was published.

    Args:
        network: a constructor of `keras_mg.applications` and its arguments. Where several sources
            print a figure, its record has the one first that belongs to the released recipe.
        dataset: a name in `keras_mg.datasets.images.DATASETS`.
    """
    for figure in published_figures(network.func.__name__, **network.keywords):
        measured_on = (figure.dataset or "").lower().replace("-", "")  # "CIFAR-10" is cifar10
        if measured_on == dataset and figure.metric in ("accuracy", "error", "top-1 error"):
            percent = figure.value if figure.metric == "accuracy" else 100 - figure.value
            return {"accuracy": round(percent / 100, 6)}
    return {}
