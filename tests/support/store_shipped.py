"""Writes what a run's own model gives for a hundred test images, to compare shipped weights with.

python -m tests.support.store_shipped RUN NETWORK-TAG
"""

import sys
from pathlib import Path

import keras
import numpy as np

from keras_mg.recipes import recipe_of
from keras_mg.recipes.canvas_data import ClutteredMNIST

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


def _in_float32(recipe, model):
    """The same network and weights, computing in full precision."""
    network = recipe.network
    if "dtype" not in network.keywords:
        return model
    settings = {key: value for key, value in network.keywords.items() if key != "dtype"}
    plain = network.func(*network.args, **settings)
    plain.set_weights(model.get_weights())
    return plain


def main(run, name):
    recipe, _ = recipe_of(run)
    model = _in_float32(recipe, keras.saving.load_model(Path(run) / "model.keras", compile=False))
    fitted = Path(run) / "preprocessing.npz"
    x, truth = first_images(recipe, fitted if fitted.is_file() else None)
    outputs = model.predict(x, verbose=0)
    arrays = {"outputs": outputs, "truth": truth}
    if outputs.ndim == 4:
        arrays = {"outputs": outputs[:, ::STEP, ::STEP]}
        if isinstance(recipe.data, ClutteredMNIST):  # others are drawn anew where they are needed
            mean, std = recipe.data.normalization
            ink = np.rint(255 * (x * std + mean))
            assert np.abs(ink / 255 - (x * std + mean)).max() < 0.5 / 255 + 1e-5
            arrays |= {"images": ink.astype("uint8"), "truth": truth.astype(bool)}
            x = ((ink - 255 * mean) / (255 * std)).astype("float32")
            arrays["outputs"] = model.predict(x, verbose=0)[:, ::STEP, ::STEP]
    elif recipe.data.dataset not in ("digits",):
        from keras_mg.datasets import load_images

        images, labels = load_images(recipe.data.dataset, "test")
        assert np.array_equal(labels[:COUNT], truth)
        arrays["images"] = images[:COUNT]
    STORED.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(STORED / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
