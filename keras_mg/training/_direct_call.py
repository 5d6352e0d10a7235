"""Calling layers without the preparations that their model's graph has made superfluous."""

from __future__ import annotations

import inspect

import keras

from keras_mg._private import keras as private_keras
from keras_mg.layers.protocols import stated


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
        or operation.quantization_mode is not None
        or isinstance(operation.dtype_policy, keras.dtype_policies.DTypePolicyMap)
    ):
        return None
    parameters = inspect.signature(operation.call).parameters
    if takes_list and "mask" in parameters:
        return None  # Keras gives it a mask per tensor, also where there is none
    if takes_list and "training" in parameters and parameters["training"].default is not None:
        return None  # Keras hands a default on to later layers; of one tensor, the graph notes it
    return DirectCall(operation)


def context_of_calls():
    """What the outermost call says to those inside; None where they should be Keras's."""
    from keras_mg._private import torch as private_torch

    if (
        private_keras.get_autocast_scope() is not None
        or keras.distribution.distribution() is not None
        or private_torch.has_any_global_hook()
    ):
        return None
    return private_keras.call_context()


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
        inside = stated(layer, "hands_on_to")
        self.inside = None if inside is None else of(getattr(layer, inside), takes_list=True)

    def __call__(self, inputs, training: bool | None, context):
        """What the layer makes of a tensor or of a list of tensors.

        Args:
            inputs: them.
            training: what the graph says of it; None where it leaves it to the outermost call.
            context: what that says to the calls inside.
        """
        layer = self.layer
        if not self._is_plain(inputs):
            return layer(inputs) if training is None else layer(inputs, training=training)
        if self.inside is not None:
            return self.inside(inputs, False, context)
        if training is None:
            training = private_keras.training_in(context)
        else:
            context.training = training  # as Keras does, to those that come later, too
        try:
            if self.takes_training and training is not None:
                return layer.call(inputs, training=training)
            return layer.call(inputs)
        except Exception as error:
            kwargs = {}
            if self.takes_training and training is not None:
                kwargs["training"] = training
            said = private_keras.error_of_call(error, layer, (inputs,), kwargs)
            if said is error:
                raise  # with its cause
            raise said from None

    def _is_plain(self, inputs) -> bool:
        layer = self.layer
        for tensor in inputs if type(inputs) is list else (inputs,):
            if type(tensor) is not self.tensor_type or tensor.dtype is not self.dtype:
                return False
            if private_keras.mask_of(tensor) is not None:
                return False
        return not (
            self.has_hooks(layer)
            # The policy says whether weights are quantised.
            or layer.dtype_policy is not self.policy
            or layer.activity_regularizer is not None
            or private_keras.differs_from_its_class(layer)
        )
