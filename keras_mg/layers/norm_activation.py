"""Batch norm with an activation."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._norm_layer import NormLayer


@keras.saving.register_keras_serializable(package="keras_mg")
class NormActivation(NormLayer):
    r"""Batch norm and activation.

    `y = activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta)`, per channel.

    In training, `mean` and `variance` are the batch's; the moving variance takes the unbiased
    batch variance, as Torch and PyTorch do. A frozen layer (`trainable = False`) uses the moving
    statistics.

    Args:
        activation: element-wise Keras activation, or None for none. Defaults to "relu".
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance. Defaults to 1e-5.
        beta_initializer: Keras initializer of the shift. Defaults to "zeros".
        gamma_initializer: Keras initializer of the scale. Defaults to "ones".
        moving_variance_initializer: Keras initializer of the moving variance. Defaults to
            "ones".
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `channels_first`.

    Output shape:
        The input's.

    Raises:
        ValueError: if an argument is not of its kind or the input is not 4D.

    Example:
        >>> from keras_mg.layers import NormActivation
        >>> import keras, numpy as np
        >>> layer = NormActivation(data_format="channels_last")
        >>> tuple(layer(np.ones((2, 8, 8, 3), "float32")).shape)
        (2, 8, 8, 3)

    Reference:
        - [Batch Normalization, Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167)
    """

    remat = "whole"

    def __init__(
        self,
        activation: str | None = "relu",
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        beta_initializer="zeros",
        gamma_initializer="ones",
        moving_variance_initializer="ones",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.activation = arguments.elementwise_activation(activation)
        self.keep_norm_arguments(
            momentum, epsilon, beta_initializer, gamma_initializer, moving_variance_initializer
        )

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        self.accept(channels)
        self.add_norm_weights(channels)

    def run(self, x, training, residual=None):
        """The layer on a native tensor: what layers that hold units call."""
        return self.normalize(x, training, residual)

    def call(self, inputs, training=None):
        x = ops.to_native(inputs, self.data_format)
        return ops.from_native(self.run(x, training), self.data_format)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)
