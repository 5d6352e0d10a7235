"""Batch norms that keep what they have learned."""

from __future__ import annotations

import keras

from keras_mg._private import keras as private_keras
from keras_mg.layers._base import BaseLayer
from keras_mg.layers._norm_layer import NormLayer


def freeze_batch_norm(model: keras.layers.Layer, frozen: bool = True) -> int:
    """Keep every batch norm of a model as it is while the rest trains.

    The layers here hold their batch norms inside, where a loop over `model.layers` that looks for
    `keras.layers.BatchNormalization` finds none. Frozen, a batch norm normalises by its moving
    statistics, in training too, and neither these nor gamma and beta change. It stays so when the
    model is saved, copied, or its `trainable` set. As with `trainable`, `compile()` comes after it.

    Args:
        model: a built model or layer. Keras's own `BatchNormalization` layers in it are frozen,
            too, by their `trainable`.
        frozen: bool; False lets them train again, where their layer does. Defaults to True.

    Returns:
        The number of batch norms.

    Raises:
        TypeError: if `model` is no layer.
        ValueError: if it is not built: what is not there cannot be frozen.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.ResNet20()
        >>> keras_mg.layers.freeze_batch_norm(model)
        19
        >>> {variable.name for variable in model.trainable_variables} == {"kernel", "bias"}
        True
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"freeze_batch_norm takes a model or a layer. Received: {model!r}")
    if not model.built:
        raise ValueError(f"freeze_batch_norm takes a built model. Received: {model.name!r}")
    count = 0
    for layer in private_keras.flatten_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = not frozen
            count += 1
        if isinstance(layer, BaseLayer):
            layer.norm_frozen = frozen
        if isinstance(layer, NormLayer) and getattr(layer, "gamma", None) is not None:
            layer.freeze_norm(frozen)
            count += 1
    return count
