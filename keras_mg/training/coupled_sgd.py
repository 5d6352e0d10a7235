"""Stochastic gradient descent with weight decay in the gradient, as the papers trained."""

import keras
from keras import ops

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras


@keras.saving.register_keras_serializable(package="keras_mg")
class CoupledSGD(keras.optimizers.SGD):
    r"""SGD whose weight decay is part of the gradient: what Torch calls SGD.

    Of a weight `w` with gradient `g` and velocity `v`, which starts at 0:

    ```
    g = g + weight_decay * w
    v = momentum * v + g
    w = w - learning_rate * (g + momentum * v)    with nesterov, else
    w = w - learning_rate * v
    ```

    `keras.optimizers.SGD` differs from it twice. Its `weight_decay` is decoupled: it shrinks the
    weights apart from the gradient, so momentum does not see it, which makes the decay weaker by
    about `1 / (1 - momentum)`. And its velocity holds the learning rate, so that after a drop of
    the rate the old, larger steps go on for some ten steps; here a drop acts at once. The update
    is that of `torch.optim.SGD` and of Torch7's `optim.sgd`, without dampening.

    Decay applies to all variables the optimizer is given (kernels, biases, gammas and betas of a
    model's `trainable_variables`; moving statistics are not among them) except those named by
    `exclude_from_weight_decay`. Gradients are clipped, where that is asked for, before the decay
    is added.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`, per step.
            Defaults to 0.01.
        momentum: float in [0, 1], the fraction of the velocity that a step keeps. Defaults to 0.0.
        nesterov: bool, whether to look ahead along the velocity. Defaults to False.
        weight_decay: float, L2 coefficient, at least 0; None is 0. The loss it stands for is
            `weight_decay / 2 * sum(w ** 2)`. Defaults to None.
        **kwargs: `clipnorm`, `use_ema`, `name` and so on of `keras.optimizers.SGD`.

    Raises:
        ValueError: if `weight_decay` is negative, for what `keras.optimizers.SGD` refuses, or with
            a Keras or torch that lacks the private names that the update needs.

    Example:

    >>> from keras_mg.training import CoupledSGD
    >>> import keras
    >>> w = keras.Variable([1.0])
    >>> optimizer = CoupledSGD(0.5, momentum=0.9, weight_decay=0.1)
    >>> optimizer.apply([keras.ops.ones((1,))], [w])
    >>> [round(float(x), 6) for x in keras.ops.convert_to_numpy(w)]  # 1 - 0.5 * (1 + 0.1 * 1)
    [0.45]

    Reference:
        Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep
        learning", ICML 2013, in the form that Torch implements.
    """

    def __init__(
        self, learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=None, **kwargs
    ):
        if weight_decay is not None and not weight_decay >= 0:
            raise ValueError(
                f"`weight_decay` must be None or a number of at least 0. Received: {weight_decay}"
            )
        if missing(Feature.COUPLED_SGD):
            raise ValueError(
                f"CoupledSGD cannot be had with Keras {keras.__version__} and its backend, which "
                f"do not have {', '.join(missing(Feature.COUPLED_SGD))}. Received: "
                f"learning_rate={learning_rate}, weight_decay={weight_decay}"
            )
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            **kwargs,
        )

    def _apply_weight_decay(self, variables) -> None:
        """Nothing: the base class shrinks the weights here, apart from the gradient."""

    def _decay_of(self, variable) -> float:
        decays = self.weight_decay and private_keras.uses_weight_decay(self, variable)
        return self.weight_decay if decays else 0.0

    def _velocity(self, variable) -> keras.Variable:
        return self.momentums[private_keras.variable_index(self, variable)]

    def update_step(self, gradient, variable, learning_rate) -> None:
        gradient = ops.cast(gradient, variable.dtype)
        decay = self._decay_of(variable)
        if decay:
            gradient = ops.add(gradient, ops.multiply(variable, decay))
        if self.momentum:
            velocity = self._velocity(variable)
            moved = ops.add(ops.multiply(velocity, self.momentum), gradient)
            self.assign(velocity, moved)
            gradient = (
                ops.add(gradient, ops.multiply(moved, self.momentum)) if self.nesterov else moved
            )
        step = ops.multiply(gradient, ops.cast(learning_rate, variable.dtype))
        self.assign_sub(variable, step)

    def _backend_update_step(self, grads, trainable_variables, learning_rate) -> None:
        if keras.backend.backend() == "torch":
            self._fused_update(grads, trainable_variables, learning_rate)
        else:
            super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _fused_update(self, grads, variables, learning_rate) -> None:
        """`update_step` of all variables at once: a handful of kernels whatever their number.

        The rate stays a tensor on its device: read as a number it would stop a GPU at each step.
        """
        import torch

        from keras_mg._private import torch as private_torch

        decayed: dict[float, tuple[list[int], list]] = {}
        for i, variable in enumerate(variables):
            rows, weights = decayed.setdefault(self._decay_of(variable), ([], []))
            rows.append(i)
            weights.append(variable.value)
        with torch.no_grad():
            # No gradient is written to: they belong to the caller.
            steps = list(grads)
            for decay, (rows, weights) in decayed.items():
                if decay:
                    sums = private_torch.foreach_add([steps[i] for i in rows], weights, alpha=decay)
                    for i, gradient in zip(rows, sums, strict=True):
                        steps[i] = gradient
            if self.momentum:
                velocities = [self._velocity(v).value for v in variables]
                private_torch.foreach_mul_(velocities, self.momentum)
                private_torch.foreach_add_(velocities, steps)
                if self.nesterov:
                    steps = list(private_torch.foreach_add(steps, velocities, alpha=self.momentum))
                else:
                    steps = velocities
            scaled = private_torch.foreach_mul(steps, -ops.convert_to_tensor(learning_rate))
            private_torch.foreach_add_([variable.value for variable in variables], scaled)
