"""Whether gradients may be too small for the type that they are computed in."""

from __future__ import annotations

import keras

from keras_mg._private import keras as private_keras


def loses_small_gradients(model: keras.Model) -> bool:
    """Whether a layer that trains computes in float16.

    Keras asks the model's own policy alone: that of a head on a trunk in `mixed_float16`, and of a
    clone, is the global one.
    """
    return any(
        layer.compute_dtype == "float16"
        and layer.variable_dtype == "float32"
        and layer.trainable_variables
        for layer in private_keras.flatten_layers(model)
    )
