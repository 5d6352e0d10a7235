"""Any recipe of labelled images with augmentation layers of Keras and keras-cv."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import keras

from keras_mg.datasets.keras_layers import LAYERS
from keras_mg.layers.arguments import one_of
from keras_mg.recipes.data import LabelledImages
from keras_mg.recipes.photo_data import Photographs
from keras_mg.recipes.recipe import Recipe

LOSS = partial(keras.losses.CategoricalCrossentropy, from_logits=True)
ACCURACY = partial(keras.metrics.CategoricalAccuracy, name="accuracy")


def with_layers(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """A recipe that augments its training images with RandAugment, AugMix, CutMix or MixUp, too.

    The layers change the pixels of a batch after the recipe's own crops of pixels and before they
    are normalised. Labels become vectors, and loss and accuracy those of vectors.

    Args:
        recipe: of labelled images.
        names: of `keras_mg.datasets.LAYERS`, in the order in which they act: "rand_augment",
            "aug_mix", "cut_mix", "mix_up" of Keras, and the same with "cv_" in front of keras-cv
            (the extra `cv`).

    Returns:
        A new recipe, which says of itself that it differs from the published one; for no names,
        `recipe`.

    Raises:
        ValueError: for another name, or a recipe whose labels are no classes.

    Example:

    >>> from keras_mg.recipes import get_recipe, with_layers
    >>> with_layers(get_recipe("mgnet-cifar10"), ["mix_up"]).differs
    ('training images also go through mix_up of Keras',)
    """
    for name in names:
        one_of("names", name, tuple(LAYERS))
    if not names:
        return recipe
    if not isinstance(recipe.data, LabelledImages | Photographs):
        raise ValueError(
            f"Keras's layers mix images that have one label each. Received: {recipe.name}"
        )
    sources = {"keras-cv" if name.startswith("cv_") else "Keras": None for name in names}
    said = f"{', '.join(names)} of {' and '.join(sources)}"
    return dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, layers=tuple(names)),
        loss=LOSS,
        metrics=(ACCURACY,),
        differs=(*recipe.differs, f"training images also go through {said}"),
    )
