"""The batch norms of a model, and their statistics over several processes (torch)."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator

import keras

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras
from keras_mg.distribution.batch_norm import moments
from keras_mg.distribution.shares import state


def _norms(model: keras.Model) -> list:
    return [
        layer
        for layer in private_keras.flatten_layers(model)
        if getattr(layer, "moving_mean", None) is not None
        and getattr(layer, "moving_variance", None) is not None
    ]


def has_batch_norms(model: keras.Model) -> bool:
    # Of a model that is not built yet, nobody knows.
    return not model.built or bool(_norms(model))


def statistics_of(model: keras.Model) -> list[keras.Variable]:
    return [v for layer in _norms(model) for v in (layer.moving_mean, layer.moving_variance)]


@contextlib.contextmanager
def synchronized(layer) -> Iterator[None]:
    """Let one of Keras's batch norms take the statistics of all processes."""
    if not isinstance(layer, keras.layers.BatchNormalization):
        yield
        return
    if missing(Feature.SYNCHRONIZED_BATCH_NORM):
        raise RuntimeError(
            f"Keras {keras.__version__} has batch norms whose statistics cannot be taken over all "
            f"processes: it does not have {', '.join(missing(Feature.SYNCHRONIZED_BATCH_NORM))}. "
            'Train with DataParallel(batch_norm="local").'
        )
    own, axes = private_keras.moments_of(layer)

    def of_all(self, inputs, mask):
        if not state.synchronizes or inputs.device.type == "meta":
            return own(inputs, mask)
        return moments(inputs, mask, axes())

    with instance_attribute(layer, private_keras.MOMENTS, types.MethodType(of_all, layer)):
        yield


@contextlib.contextmanager
def instance_attribute(owner, name: str, value) -> Iterator[None]:
    """Inside, an object has an attribute instead of its class's method."""
    before = vars(owner).get(name)
    object.__setattr__(owner, name, value)
    try:
        yield
    finally:
        if before is None:
            object.__delattr__(owner, name)
        else:
            object.__setattr__(owner, name, before)
