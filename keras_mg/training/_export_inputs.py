"""What Keras's exporters are told of a model's inputs."""

from __future__ import annotations

import keras

from keras_mg._private.keras import Functional


def with_inputs(model: keras.Model, args: tuple, kwargs: dict) -> dict:
    """The keywords of `model.export(filepath, *args, **kwargs)`, with the inputs of the graph.

    For ONNX Keras refuses a model that has not computed anything yet, such as one that was just
    loaded or deployed, unless it is told its inputs.
    """
    given = len(args) >= 3 or kwargs.get("input_signature") is not None
    if (
        given
        or "onnx" not in (*args[:1], kwargs.get("format"))
        or not isinstance(model, Functional)
    ):
        return kwargs
    return {**kwargs, "input_signature": [keras.tree.map_structure(_spec, model.input)]}


def _spec(tensor: keras.KerasTensor) -> keras.InputSpec:
    """An input of any batch."""
    return keras.InputSpec(dtype=tensor.dtype, shape=(None, *tensor.shape[1:]), name=tensor.name)
