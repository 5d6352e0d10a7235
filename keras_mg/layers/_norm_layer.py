"""Batch norm: the variables and the arithmetic that units share."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers._base import BaseLayer


class NormLayer(BaseLayer):
    """Base of the layers that end in a batch norm of their own and an activation."""

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
                bool(training) and self.trainable,
                self.momentum,
                self.epsilon,
                data_format,
            )
        if residual is not None:
            y = ops.add_channels(y, residual, data_format)
        if self.activation is keras.activations.relu:
            return ops.relu(y)
        return self.activation(y)
