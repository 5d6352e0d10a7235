"""Writes what a run's own model gives for a hundred test images, to compare shipped weights with.

python -m tests.support.store_shipped RUN NETWORK-TAG
"""

import sys
from pathlib import Path

import keras
import numpy as np

from keras_mg.recipes import recipe_of

STORED = Path(__file__).parents[1] / "data" / "shipped"
COUNT = 100
STEP = 16  # pixels between those of a map that are kept


def first_images(recipe, preprocessing=None):
    """The first hundred of a recipe's test data as the network takes them, and what is true."""
    fitted = None
    if preprocessing is not None:
        with np.load(preprocessing) as arrays:
            fitted = dict(arrays)
    data = recipe.data.open(recipe.batch_size, fitted=fitted).test
    x, y = zip(*(data[i] for i in range(min(len(data), COUNT))), strict=True)
    return np.concatenate(x)[:COUNT], np.concatenate(y)[:COUNT]


def main(run, name):
    recipe, _ = recipe_of(run)
    model = keras.saving.load_model(Path(run) / "model.keras", compile=False)
    fitted = Path(run) / "preprocessing.npz"
    x, truth = first_images(recipe, fitted if fitted.is_file() else None)
    outputs = model.predict(x, verbose=0)
    arrays = {"outputs": outputs, "truth": truth}
    if outputs.ndim == 4:  # the canvases are drawn anew wherever they are needed
        arrays = {"outputs": outputs[:, ::STEP, ::STEP]}
    elif recipe.data.dataset not in ("digits",):
        from keras_mg.datasets import load_images

        images, labels = load_images(recipe.data.dataset, "test")
        assert np.array_equal(labels[:COUNT], truth)
        arrays["images"] = images[:COUNT]
    STORED.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(STORED / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
