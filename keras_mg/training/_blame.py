"""Finding the layer that keeps a model from being captured."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator

import keras

from keras_mg._private import keras as private_keras


def blame(model: keras.Model, x, training: bool) -> str:
    """Name the first layer of `model` that cannot be captured, given a batch that it was fed."""
    try:
        layer = find_uncapturable(model, x, training)
    except Exception:
        layer = None  # the model has just run, so the search is at fault
    if layer is None:
        return "the whole"
    return f"layer '{layer.name}' ({type(layer).__name__})"


def find_uncapturable(model: keras.Model, x, training: bool) -> keras.layers.Layer | None:
    """The first layer that cannot be captured; None if there is none or it cannot be told.

    Args:
        model: a functional model; of others nothing can be told.
        x: what the model was fed.
        training: whether it trained.
    """
    import torch

    from keras_mg.training import _torch_graph as torch_graph

    nodes = [
        node
        for node in private_keras.nodes(model)
        if not node.is_input and isinstance(node.operation, keras.layers.Layer)
    ]
    tensors = {id(tensor): tensor for node in nodes for tensor in node.input_tensors}
    if not tensors:
        return None
    # Keras takes a list of one output for the output itself.
    outputs = {str(i): tensor for i, tensor in enumerate(tensors.values())}
    with torch.no_grad(), _nothing_moves(model):
        values = keras.Model(model.inputs, outputs)(x, training=False)
    known = {key: values[str(i)] for i, key in enumerate(tensors)}
    for node in nodes:
        layer = node.operation
        args, kwargs = node.arguments.fill_in(known)
        if "training" in inspect.signature(layer.call).parameters:
            kwargs = {**kwargs, "training": training}

        def call(args, kwargs, layer=layer):
            return layer(*args, **kwargs)

        if torch_graph.capture_error(call, args, kwargs) is None:
            continue
        if isinstance(layer, keras.Model):
            return find_uncapturable(layer, args[0], training) or layer
        return layer
    return None


@contextlib.contextmanager
def _nothing_moves(model: keras.Model) -> Iterator[None]:
    """Afterwards, states of random generators and of layers are what they were."""
    import torch

    moving = [v for v in model.variables if not v.trainable]
    moving.append(private_keras.global_seed_generator().state)
    before = [v.value.detach().clone() for v in moving]
    # Of all devices, torch would warn.
    devices = {v.value.device for v in moving if v.value.device.type == "cuda"}
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            for variable, value in zip(moving, before, strict=True):
                variable.assign(value)
