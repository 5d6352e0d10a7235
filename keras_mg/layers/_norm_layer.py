"""Batch norm: the variables and the arithmetic that units share."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers._base import BaseLayer


class NormLayer(BaseLayer):
    """Base of the layers that end in a batch norm of their own and an activation."""

    def _set_trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        if self.norm_frozen:
            self.freeze_norm()

    # A compiled step reads it, for which it has to be read as Keras does.
    trainable = keras.layers.Layer.trainable.setter(_set_trainable)

    def freeze_norm(self, frozen: bool = True) -> None:
        """Keep the batch norm as it is, or let it train again; see `freeze_batch_norm`."""
        self.norm_frozen = frozen
        for variable in (getattr(self, "gamma", None), getattr(self, "beta", None)):
            if variable is not None:
                variable.trainable = self.trainable and not frozen

    def add_norm_weights(self, channels: int) -> None:
        """Add the four variables of a batch norm over `channels` channels; folded, none."""
        if self.folded:
            self.gamma = None
            return
        # Statistics in half precision would drift: these four stay in the variable dtype.
        norm = {"shape": (channels,), "autocast": False}
        self.gamma = self.add_weight(name="gamma", initializer=self.gamma_initializer, **norm)
        self.beta = self.add_weight(name="beta", initializer=self.beta_initializer, **norm)
        self.moving_mean = self.add_weight(
            name="moving_mean", initializer="zeros", trainable=False, **norm
        )
        self.moving_variance = self.add_weight(
            name="moving_variance",
            initializer=self.moving_variance_initializer,
            trainable=False,
            **norm,
        )
        if self.norm_frozen:
            self.freeze_norm()

    def normalize(self, x, training, residual=None):
        """Batch norm, an optional sum and the activation, on native tensors.

        `residual` is added between batch norm and activation; where it has fewer channels than `x`,
        the rest of it counts as zero.
        """
        data_format = ops.native_format(self.data_format)
        y = x
        if self.gamma is not None:
            y = ops.batch_norm(
                x,
                self.gamma,
                self.beta,
                self.moving_mean,
                self.moving_variance,
                bool(training) and self.trainable and not self.norm_frozen,
                self.momentum,
                self.epsilon,
                data_format,
            )
        if residual is not None:
            y = ops.add_channels(y, residual, data_format)
        if self.activation is keras.activations.relu:
            return ops.relu(y)
        return self.activation(y)
