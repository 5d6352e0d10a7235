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
    operation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    released: tuple[int, ...]  # those that nobody reads afterwards
    # Of a layer that may be called directly, whose argument is a tensor or a list of some. Whether
    # it trains, the graph may say, too.
    direct: direct_call.DirectCall | None
    takes_list: bool
    training: bool | None


class GraphRun:
    """The calls of a functional model, one after the other.

    Each tensor goes after its last reader: Keras keeps the outputs of all layers to the end, which
    in inference takes memory and, on a CPU, time. Layers are called directly where they can be.

    Args:
        model: a functional model, whose graph does not change.
    """

    def __init__(self, model):
        self.model = model
        self.inputs = [id(tensor) for tensor in model.inputs]
        self.outputs = [id(tensor) for tensor in model.outputs]
        self.shapes = [tuple(tensor.shape) for tensor in model.inputs]
        self.finds_operations = keras.config.is_nnx_enabled()
        self.is_torch = keras.backend.backend() == "torch"
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
        context, training = None, None
        # To inputs of another shape than the graph was made with, Keras has something to say.
        if self.is_torch and all(map(_is_expected, inputs, self.shapes)):
            context = direct_call.context_of_calls()
        if context is not None:
            training = operation_fn(_asks_for_training)()
        complete = len(inputs) == len(self.inputs)
        known = dict(zip(self.inputs, inputs, strict=False))
        del inputs
        for call in self.calls:
            if not complete and any(tensor not in known for tensor in call.inputs):
                continue
            operation = call.operation
            if self.finds_operations:
                operation = private_keras.operation_of(model, call.node)
            direct = call.direct
            if id(operation) in recomputed:
                args, kwargs = call.node.arguments.fill_in(known)
                function = ops.recomputed(operation_fn(operation))
                outputs = function(*args, **_with_training(operation, kwargs))
                del args, kwargs
            elif context is not None and direct is not None and direct.layer is operation:
                outputs = direct(
                    [known[tensor] for tensor in call.inputs]
                    if call.takes_list
                    else known[call.inputs[0]],
                    call.training if training is None else training,
                    context,
                )
            else:
                args, kwargs = call.node.arguments.fill_in(known)
                outputs = operation_fn(operation)(*args, **kwargs)
                del args, kwargs
            if len(call.outputs) == 1 and hasattr(outputs, "shape"):
                known[call.outputs[0]] = outputs
            else:
                known.update(zip(call.outputs, keras.tree.flatten(outputs), strict=True))
            del outputs
            for tensor in call.released:
                known.pop(tensor, None)
        outputs = [known[tensor] for tensor in self.outputs]
        return keras.tree.pack_sequence_as(private_keras.outputs_structure(model), outputs)


def _is_expected(tensor, shape: tuple[int | None, ...]) -> bool:
    """Whether it is a tensor with the shape of a symbolic one, None standing for any size."""
    own = getattr(tensor, "shape", None)
    if own is None or isinstance(tensor, keras.KerasTensor) or len(own) != len(shape):
        return False
    for side, given in zip(shape, own, strict=True):
        if side is not None and side != given:
            return False
    return True


class _AsksForTraining:
    """In the place of an operation, what Keras hands to each as `training`."""

    _call_context_args = frozenset({"training"})

    def __call__(self, training: bool | None = None) -> bool | None:
        return training


_asks_for_training = _AsksForTraining()


def _call(node, released: tuple[int, ...]) -> _Call:
    inputs = tuple(map(id, node.input_tensors))
    args, kwargs = node.arguments.args, node.arguments.kwargs
    first = args[0] if len(args) == 1 and set(kwargs) <= {"training"} else None
    takes_list = type(first) is list and all(isinstance(each, keras.KerasTensor) for each in first)
    direct = None
    if keras.backend.backend() == "torch" and (takes_list or isinstance(first, keras.KerasTensor)):
        direct = direct_call.of(node.operation, takes_list)
    outputs = tuple(map(id, node.outputs))
    training = kwargs.get("training")
    return _Call(node, node.operation, inputs, outputs, released, direct, takes_list, training)


def _with_training(layer, kwargs: dict) -> dict:
    """Arguments of a layer's call that say what else its callers would: there are none later."""
    training = private_keras.training_of_callers(layer)
    if training is None or not private_keras.takes_training(layer):
        return kwargs
    return {"training": training, **kwargs}
