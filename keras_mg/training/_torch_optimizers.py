"""Updates of Keras's optimizers without reading the learning rate from the device.

Keras's SGD and Adadelta give their rate to torch as `alpha`, which has to be a number of the host:
on a GPU each step then waits for the device, and no graph can be captured around it.
"""

from __future__ import annotations

import functools
from types import MethodType
from typing import Any

import keras
import torch

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras
from keras_mg._private import torch as private_torch

Tensors = list[torch.Tensor] | tuple[torch.Tensor, ...]


def keep_rate_on_device(optimizer) -> None:
    """Give an optimizer of Keras an update that computes with the rate where it is.

    Args:
        optimizer: any optimizer; those that read no rate, and subclasses, are left as they are.
    """
    if missing(Feature.RATE_ON_DEVICE) or missing(Feature.VALUES_AT_ONCE):
        return
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    kind: Any = type(inner)
    update = {private_torch.SGD: _sgd, private_torch.Adadelta: _adadelta}.get(kind)
    if update is not None and reads_rate(kind):
        private_torch.update_of(inner, MethodType(update, inner))


@functools.cache
def reads_rate(kind: Any) -> bool:
    """Whether the updates of an optimizer class read the rate on the host; before 3.16 two do."""
    with keras.device("meta"), torch.no_grad():
        variable = keras.Variable(keras.ops.zeros((1,)), name="probe")
        optimizer = kind(0.1, name="probe")
        optimizer.build([variable])
        update = private_torch.parallel_update(optimizer)
        ones = torch.ones(1, device="meta")
        try:
            update([ones], [variable], torch.ones((), device="meta"))
        except (NotImplementedError, RuntimeError):  # there are no values to read
            return True
    return False


def _slots(self, slots, variables) -> list[torch.Tensor]:
    return _tensors([slots[private_keras.variable_index(self, v)] for v in variables])


def _tensors(variables) -> list[torch.Tensor]:
    """Their values; `Variable.value` asks for scopes for each of them."""
    if private_keras.scopes_are_open():
        return [v.value for v in variables]
    return [private_keras.tensor_of(v) for v in variables]


def _add_scaled(targets: Tensors, tensors: Tensors, rate: torch.Tensor) -> None:
    """`targets += rate * tensors`, `rate` being a tensor without axes."""
    if rate.device.type == "cpu":
        # To the bit what `alpha` gives, and as fast.
        private_torch.foreach_addcmul_(targets, tensors, [rate] * len(targets))
    else:
        # Where a kernel must be launched: two for all tensors instead of one for each.
        private_torch.foreach_add_(targets, private_torch.foreach_mul(tensors, rate))


def _sgd(self, grads, variables, learning_rate) -> None:
    weights = _tensors(variables)
    rate = -keras.ops.convert_to_tensor(learning_rate)
    if not self.momentum:
        _add_scaled(weights, grads, rate)
        return
    velocities = _slots(self, self.momentums, variables)
    private_torch.foreach_mul_(velocities, self.momentum)
    _add_scaled(velocities, grads, rate)
    if self.nesterov:
        _add_scaled(weights, grads, rate)
        private_torch.foreach_add_(weights, velocities, alpha=self.momentum)
    else:
        private_torch.foreach_add_(weights, velocities)


def _adadelta(self, grads, variables, learning_rate) -> None:
    weights = _tensors(variables)
    rho, rate = self.rho, keras.ops.convert_to_tensor(learning_rate)
    squares, moves = (
        _slots(self, slots, variables) for slots in private_torch.adadelta_slots(self)
    )

    def root(x):
        return private_torch.foreach_sqrt(private_torch.foreach_add(x, self.epsilon))

    private_torch.foreach_mul_(squares, rho)
    private_torch.foreach_add_(squares, private_torch.foreach_mul(grads, grads), alpha=1 - rho)
    steps = private_torch.foreach_div(private_torch.foreach_mul(root(moves), grads), root(squares))
    steps = private_torch.foreach_mul(steps, -1)
    private_torch.foreach_mul_(moves, rho)
    private_torch.foreach_add_(moves, private_torch.foreach_mul(steps, steps), alpha=1 - rho)
    _add_scaled(weights, steps, rate)
