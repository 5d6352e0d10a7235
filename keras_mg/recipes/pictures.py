"""The pictures that belong to recipes: called with a path, a model, data and their figures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_mg.visualization.segmentation import plot_segmentation
from keras_mg.visualization.transformation import plot_transformation

SHOWN = 8  # the first canvases, not the best


def draw_canvases(
    path: str | os.PathLike,
    model: keras.Model,
    data: Any,
    figures: Mapping[str, float],
    mean: float = 0.0,
    std: float = 1.0,
) -> None:
    """Draws the first canvases, their true maps, and what a network makes of them.

    Args:
        path: the PNG file.
        model: the trained model.
        data: batches that the figures were measured on, all of them.
        figures: among them `mean_iu`.
        mean: float, that was subtracted from the ink. Defaults to 0.
        std: float, that it was divided by then. Defaults to 1.
    """
    needed = range(-(-SHOWN // data.batch_size))
    parts = zip(*(data[i] for i in needed if i < len(data)), strict=True)
    inputs, true_maps = (np.concatenate(part)[:SHOWN] for part in parts)
    axis = 1 if keras.config.image_data_format() == "channels_first" else -1
    draw = plot_transformation if true_maps.shape[axis] == 1 else plot_segmentation
    draw(
        path,
        np.clip(inputs * std + mean, 0, 1),
        true_maps,
        model.predict(inputs, verbose=0),
        title=f"Digits never seen in training: the first {len(inputs)} of {data.canvases:,} "
        f"canvases\n{model.name}: mean IU {figures['mean_iu']:.3f} over all of them",
    )
