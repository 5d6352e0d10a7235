"""A velocity that starts anew in every epoch, as some released code trained."""

from __future__ import annotations

import keras


class RestartVelocity(keras.callbacks.Callback):
    """Sets the velocity of SGD to 0 at the beginning of every epoch.

    The multigrid networks' released code makes its optimizer anew for each epoch, so that the first
    step of an epoch takes the gradient itself as its velocity.

    Raises:
        ValueError: when training begins, if the optimizer has no momentum.

    Example:

    >>> from keras_mg.training import CoupledSGD, RestartVelocity
    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(CoupledSGD(0.1, momentum=0.9), "mse")
    >>> x, y = keras.ops.ones((4, 2)), keras.ops.ones((4, 1))
    >>> history = model.fit(x, y, epochs=3, verbose=0, callbacks=[RestartVelocity()])

    Reference:
        https://github.com/buttomnutstoast/Multigrid-Neural-Architectures
    """

    def on_train_begin(self, logs=None):
        optimizer = _with_velocity(self.model.optimizer)
        if not getattr(optimizer, "momentum", 0):
            raise ValueError(
                "RestartVelocity needs an optimizer with momentum, such as CoupledSGD(momentum="
                f"0.9). Received: {optimizer!r}"
            )

    def on_epoch_begin(self, epoch, logs=None):
        for velocity in _with_velocity(self.model.optimizer).momentums:
            velocity.assign(keras.ops.zeros_like(velocity))


def _with_velocity(optimizer):
    # Mixed float16 wraps the optimizer that has the velocity.
    return getattr(optimizer, "inner_optimizer", optimizer)
