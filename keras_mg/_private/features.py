"""Which private names a feature needs, and does not find."""

from __future__ import annotations

import functools

import keras

from keras_mg._private import keras_names
from keras_mg._private.names import Feature


@functools.cache
def missing(feature: Feature) -> tuple[str, ...]:
    """The private names that `feature` needs and the installed Keras and torch do not have."""
    names = list(keras_names.NAMES)
    if keras.backend.backend() == "torch":
        from keras_mg._private import torch as private_torch
        from keras_mg._private import torch_compiler

        names += (*private_torch.NAMES, *torch_compiler.NAMES)
    needed = [name for name in names if feature in name.features]
    return tuple(str(name) for name in needed if not name.is_as_expected())
