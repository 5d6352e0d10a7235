"""Which layers of a model `compile(remat=True)` recomputes."""

from __future__ import annotations

import keras

from keras_mg._private import keras as private_keras
from keras_mg.layers.protocols import stated


def mark(models: list, remat: bool) -> int:
    """Mark the layers of these models that `remat` is for, and say how many there are."""
    for model in models:
        model._remat = remat
    return sum(_mark_one(model) for model in models)


def _mark_one(model) -> int:
    # Not at each call, which would take long, longest while torch traces it.
    whole, in_parts = set(), 0
    for layer in model.layers:
        how = stated(layer, "remat")
        recomputed = model._remat and how is not None and _repeats_itself(layer)
        if how == "parts":
            layer.recomputes = recomputed
            in_parts += recomputed
        elif recomputed:
            whole.add(id(layer))
    object.__setattr__(model, "_recomputed_layers", frozenset(whole))
    return len(whole) + in_parts


def _repeats_itself(layer) -> bool:
    """Whether nothing in a layer that may be recomputed differs in a second call."""
    parts = private_keras.flatten_layers(layer)
    return not any(part.activity_regularizer or _moves_on(part) for part in parts)


def _moves_on(layer) -> bool:
    if stated(layer, "remat") is not None:
        return False
    # An unseeded dropout draws from torch's generator, which a recomputation sets back, every other
    # random layer from a counter of its own. A batch norm of Keras's would move its statistics.
    draws = getattr(layer, "seed_generator", None) is not None
    unseeded = type(layer) is keras.layers.Dropout and layer.seed is None
    return (draws and not unseeded) or bool(private_keras.own_state(layer))
