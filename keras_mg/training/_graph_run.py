"""Running the graph of a functional model."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, NamedTuple

import keras

from keras_mg import ops
from keras_mg._private import keras as private_keras
from keras_mg.training import _direct_call as direct_call


class _Call(NamedTuple):
    """A call in a graph; tensors go by the numbers of their symbolic ones."""

    node: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    released: tuple[int, ...]  # those that nobody reads afterwards
    # Of a layer that may be called directly, whose argument is a tensor or a list of some. Whether
    # it trains, the graph may say, too.
    direct: direct_call.DirectCall | None
    takes_list: bool
    training: dict[str, Any]


class GraphRun:
    """The calls of a functional model, one after the other.

    Each tensor goes after its last reader: Keras keeps the outputs of all layers to the end, which
    in inference takes memory and, on a CPU, time. Layers are called directly where they can be.

    Args:
        model: a functional model, whose graph does not change.
    """

    def __init__(self, model):
        self.model = model
        self.shapes = [tuple(tensor.shape) for tensor in model.inputs]
        nodes = [node for node in private_keras.nodes(model) if not node.is_input]
        last = {id(tensor): node for node in nodes for tensor in node.input_tensors}
        for tensor in model.outputs:
            last.pop(id(tensor), None)
        released: dict[int, list[int]] = {}
        for tensor, node in last.items():
            released.setdefault(id(node), []).append(tensor)
        self.calls = [_call(node, tuple(released.get(id(node), ()))) for node in nodes]

    def __call__(self, inputs, operation_fn: Callable, recomputed: Set[int]):
        """The outputs of the model.

        Args:
            inputs: nest of tensors.
            operation_fn: what makes of an operation the function to be called.
            recomputed: the ids of the layers that the backward pass recomputes.
        """
        model = self.model
        inputs = keras.tree.flatten(inputs)
        # To inputs of another shape than the graph was made with, Keras has something to say.
        directly = (
            keras.backend.backend() == "torch"
            and direct_call.can_be_made()
            and all(map(_fits, inputs, self.shapes))
        )
        known = dict(zip(map(id, model.inputs), inputs, strict=False))
        del inputs
        for call in self.calls:
            if any(tensor not in known for tensor in call.inputs):
                continue
            operation = private_keras.operation_of(model, call.node)
            if id(operation) in recomputed:
                args, kwargs = call.node.arguments.fill_in(known)
                function = ops.recomputed(operation_fn(operation))
                kwargs = _with_training(operation, kwargs)
            elif directly and call.direct is not None and call.direct.layer is operation:
                tensors = [known[tensor] for tensor in call.inputs]
                args, kwargs = (tensors if call.takes_list else tensors[0],), dict(call.training)
                function = operation_fn(call.direct)
                del tensors
            else:
                args, kwargs = call.node.arguments.fill_in(known)
                function = operation_fn(operation)
            outputs = function(*args, **kwargs)
            del args, kwargs
            if len(call.outputs) == 1 and hasattr(outputs, "shape"):
                known[call.outputs[0]] = outputs
            else:
                known.update(zip(call.outputs, keras.tree.flatten(outputs), strict=True))
            del outputs
            for tensor in call.released:
                known.pop(tensor, None)
        outputs = [known[id(tensor)] for tensor in model.outputs]
        return keras.tree.pack_sequence_as(private_keras.outputs_structure(model), outputs)


def _fits(tensor, shape: tuple[int | None, ...]) -> bool:
    """Whether a tensor has the shape of a symbolic one, None standing for any size."""
    own = getattr(tensor, "shape", ())
    return len(own) == len(shape) and all(
        side is None or side == given for side, given in zip(shape, own, strict=True)
    )


def _call(node, released: tuple[int, ...]) -> _Call:
    inputs = tuple(map(id, node.input_tensors))
    args, kwargs = node.arguments.args, node.arguments.kwargs
    first = args[0] if len(args) == 1 and set(kwargs) <= {"training"} else None
    takes_list = type(first) is list and all(isinstance(each, keras.KerasTensor) for each in first)
    direct = None
    if keras.backend.backend() == "torch" and (takes_list or isinstance(first, keras.KerasTensor)):
        direct = direct_call.of(node.operation, takes_list)
    outputs = tuple(map(id, node.outputs))
    return _Call(node, inputs, outputs, released, direct, takes_list, kwargs)


def _with_training(layer, kwargs: dict) -> dict:
    """Arguments of a layer's call that say what else its callers would: there are none later."""
    training = private_keras.training_of_callers(layer)
    if training is None or not private_keras.takes_training(layer):
        return kwargs
    return {"training": training, **kwargs}
