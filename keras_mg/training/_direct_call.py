"""Calling layers without the preparations that their model's graph has made superfluous."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from keras_mg._private import keras as private_keras


def of(operation, takes_list: bool) -> DirectCall | None:
    """The direct call of a layer in a graph; None where Keras has to prepare each one.

    Args:
        operation: a layer, or another operation.
        takes_list: whether it is called with a list of tensors.
    """
    if (
        not isinstance(operation, keras.layers.Layer)
        or isinstance(operation, keras.Model)
        or type(operation).__call__ is not keras.layers.Layer.__call__
        or type(operation).forward is not keras.layers.Layer.forward
        or type(operation).compute_mask is not keras.layers.Layer.compute_mask
        or not private_keras.only_training_is_handed_on(operation)
        or operation.compute_dtype != operation.variable_dtype
        or operation.compute_dtype != "float32"
    ):
        return None
    parameters = inspect.signature(operation.call).parameters
    if takes_list and "mask" in parameters:
        return None  # Keras gives it a mask per tensor, also where there is none
    if takes_list and "training" in parameters and parameters["training"].default is not None:
        return None  # Keras hands a default on to later layers; of one tensor, the graph notes it
    return DirectCall(operation)


def can_be_made() -> bool:
    """Whether nothing around the graph that is about to run asks for Keras's way."""
    from keras_mg._private import torch as private_torch

    return (
        private_keras.call_context() is not None
        and private_keras.get_autocast_scope() is None
        and keras.distribution.distribution() is None
        and not private_torch.has_any_global_hook()
    )


class DirectCall:
    """A layer in a graph, called without what `keras.layers.Layer.__call__` does first.

    Keras looks at the signature of `call`, converts arguments, compares them with the input
    specification, builds, opens scopes of names and types, hands masks on: on the host that takes
    several times as long as a small layer itself. In a graph, whose symbolic call has done all that
    once, a float32 tensor needs none of it. Where a call is of another kind (masks, hooks,
    quantised weights, recomputation) it is Keras's. Anything else is the layer's.

    Args:
        layer: a built float32 layer.
    """

    def __init__(self, layer: keras.layers.Layer):
        import torch

        from keras_mg._private import torch as private_torch

        self.layer = layer
        self.policy = layer.dtype_policy
        self.has_hooks = private_torch.has_hooks
        self.tensor_type = torch.Tensor
        self.dtype = torch.float32
        self.takes_training = private_keras.takes_training(layer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)

    def __call__(self, *args, **kwargs):
        layer = self.layer
        if not self._is_plain(args, kwargs):
            return layer(*args, **kwargs)
        training = kwargs.pop("training", None)
        if training is None:
            training = private_keras.training_of_calls()
        else:
            private_keras.hand_on_training(training)  # as Keras does, to those that come later, too
        if self.takes_training and training is not None:
            kwargs["training"] = training
        try:
            return layer.call(*args, **kwargs)
        except Exception as error:
            said = private_keras.error_of_call(error, layer, args, kwargs)
            if said is error:
                raise  # with its cause
            raise said from None

    def _is_plain(self, args: tuple, kwargs: dict) -> bool:
        layer = self.layer
        if len(args) != 1 or len(kwargs) > ("training" in kwargs):
            return False
        for tensor in args[0] if type(args[0]) is list else args:
            if type(tensor) is not self.tensor_type or tensor.dtype is not self.dtype:
                return False
            if private_keras.get_keras_mask(tensor) is not None:
                return False
        return not (
            self.has_hooks(layer)
            or "forward" in layer.__dict__
            or layer.dtype_policy is not self.policy
            or layer.activity_regularizer is not None
            or layer.quantization_mode is not None
            or private_keras.is_in_remat_scope(layer)
            or private_keras.is_calibrated(layer)
        )
