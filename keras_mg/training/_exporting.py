"""What Keras's exporters are told of a model, and what they say of it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

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


@contextlib.contextmanager
def without_notices() -> Iterator[None]:
    """Inside, torch's tracer is quiet about what Keras and this package ask of shapes.

    It notices each such question, as the answer holds for the batch that is exported: of layers
    here it does for all batches. What layers of others ask, it says.
    """
    with warnings.catch_warnings():
        if keras.backend.backend() == "torch":
            import torch

            warnings.filterwarnings(
                "ignore", category=torch.jit.TracerWarning, module=r"keras(_mg)?\."
            )
        yield
