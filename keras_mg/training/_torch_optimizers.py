"""Updates of Keras's optimizers without reading the learning rate from the device.

Keras's SGD and Adadelta give their rate to torch as `alpha`, which has to be a number of the host:
on a GPU each step then waits for the device, and no graph can be captured around it.
"""

from __future__ import annotations

from types import MethodType

import keras
import torch

# The classes that `keras.optimizers.SGD(...)` and `keras.optimizers.Adadelta(...)` make on torch.
from keras.src.backend.torch.optimizers.torch_adadelta import Adadelta
from keras.src.backend.torch.optimizers.torch_sgd import SGD

Tensors = list[torch.Tensor] | tuple[torch.Tensor, ...]


def keep_rate_on_device(optimizer) -> None:
    """Give an optimizer of Keras an update that computes with the rate where it is.

    Args:
        optimizer: any optimizer; those that read no rate, and subclasses, are left as they are.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    update = {SGD: _sgd, Adadelta: _adadelta}.get(type(inner))
    if update is not None:
        inner._parallel_update_step = MethodType(update, inner)


def _slots(self, slots, variables) -> list[torch.Tensor]:
    return [slots[self._get_variable_index(v)].value for v in variables]


def _add_scaled(targets: Tensors, tensors: Tensors, rate: torch.Tensor) -> None:
    """`targets += rate * tensors`, `rate` being a tensor without axes."""
    if rate.device.type == "cpu":
        # To the bit what `alpha` gives, and as fast.
        torch._foreach_addcmul_(targets, tensors, [rate] * len(targets))
    else:
        # Where a kernel must be launched: two for all tensors instead of one for each.
        torch._foreach_add_(targets, torch._foreach_mul(tensors, rate))


def _sgd(self, grads, variables, learning_rate) -> None:
    weights = [v.value for v in variables]
    rate = -keras.ops.convert_to_tensor(learning_rate)
    if not self.momentum:
        _add_scaled(weights, grads, rate)
        return
    velocities = _slots(self, self.momentums, variables)
    torch._foreach_mul_(velocities, self.momentum)
    _add_scaled(velocities, grads, rate)
    if self.nesterov:
        _add_scaled(weights, grads, rate)
        torch._foreach_add_(weights, velocities, alpha=self.momentum)
    else:
        torch._foreach_add_(weights, velocities)


def _adadelta(self, grads, variables, learning_rate) -> None:
    weights = [v.value for v in variables]
    rho, rate = self.rho, keras.ops.convert_to_tensor(learning_rate)
    squares = _slots(self, self._accumulated_grads, variables)
    moves = _slots(self, self._accumulated_delta_vars, variables)

    def root(x):
        return torch._foreach_sqrt(torch._foreach_add(x, self.epsilon))

    torch._foreach_mul_(squares, rho)
    torch._foreach_add_(squares, torch._foreach_mul(grads, grads), alpha=1 - rho)
    steps = torch._foreach_div(torch._foreach_mul(root(moves), grads), root(squares))
    steps = torch._foreach_mul(steps, -1)
    torch._foreach_mul_(moves, rho)
    torch._foreach_add_(moves, torch._foreach_mul(steps, steps), alpha=1 - rho)
    _add_scaled(weights, steps, rate)
