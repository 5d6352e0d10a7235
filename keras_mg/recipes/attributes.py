"""Attributes of objects, by the networks of a Torch7 study: aPascal, and digits for trials."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Literal

import keras

from keras_mg.applications import attributes
from keras_mg.recipes.attribute_data import Attributes
from keras_mg.recipes.recipe import Recipe
from keras_mg.recipes.schedules import StepDecay
from keras_mg.training.attribute_crossentropy import AttributeCrossentropy

SOURCE = "https://github.com/caomw/eccv2016-attr-old"
OPTIMIZER = partial(keras.optimizers.RMSprop, rho=0.9, epsilon=1e-16)
F1 = partial(keras.metrics.F1Score, average="macro", threshold=0.5, name="macro_f1")


def _recipe(name: str, version: int, levels: Literal["apascal"] | None) -> Recipe:
    return Recipe(
        name=f"{name}-apascal",
        source=SOURCE,
        network=partial(attributes.AttributeNet, version=version, levels=levels, classes=64),
        data=Attributes(train="apascal_train.txt", test="apascal_test.txt"),
        epochs=100,
        batch_size=128,
        schedule=StepDecay(1e-3),
        optimizer=OPTIMIZER,
        # The root of the frequencies from the second version on.
        loss=partial(AttributeCrossentropy, power=1.0 if version == 1 else 0.5),
        metrics=(F1,),
    )


_APASCAL = (
    _recipe("attributes-v1", 1, None),
    *(_recipe(f"attributes-v{version}", version, "apascal") for version in (2, 3, 4)),
    # The baseline: the last head names all.
    _recipe("attributes-v4-last", 4, None),
)
_DIGITS = dataclasses.replace(
    _APASCAL[1].shortened(10),
    name="attributes-v2-digits",
    network=partial(
        attributes.AttributeNet,
        version=2,
        # Colours, ground and frame by the first head, shape and number by the second.
        levels=(1, 1, 1, 1, 1, 1, 2, 2, 2, 2),
        classes=10,
        input_shape=(32, 32, 3),
    ),
    data=Attributes("embedded", size=32),
    batch_size=32,
)

RECIPES = (*_APASCAL, _DIGITS)
