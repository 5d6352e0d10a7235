"""The upsampling counterpart of the convolution - batch norm - activation unit."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._norm_layer import NormLayer
from keras_mg.layers.folding import fold_norm


@keras.saving.register_keras_serializable(package="keras_mg")
class TransposedConvNormActivation(NormLayer):
    """2x2 transposed convolution with strides 2, batch norm and activation in one layer.

    `y = activation(gamma * (k *^T x + b - mean) / sqrt(variance + epsilon) + beta)`, where each
    pixel of `x` becomes 2x2 pixels. Kernel and bias start uniformly within
    `1 / sqrt(4 * channels)`, Torch's default.

    Args:
        filters: int, number of output channels.
        activation: element-wise Keras activation, or None for none. Defaults to "relu".
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance in batch norm. Defaults to 1e-5.
        gamma_initializer: Keras initializer of the scale. Defaults to "ones".
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `channels_first`.

    Output shape:
        `(batch, 2 * height, 2 * width, filters)`, or with the channels first.

    Raises:
        ValueError: if an argument is not of its kind or the input is not 4D.

    Example:
        >>> from keras_mg.layers import TransposedConvNormActivation
        >>> import keras, numpy as np
        >>> layer = TransposedConvNormActivation(16, data_format="channels_last")
        >>> tuple(layer(np.ones((2, 8, 8, 32), "float32")).shape)
        (2, 16, 16, 16)

    Reference:
        - [U-Net, Ronneberger et al., 2015](https://arxiv.org/abs/1505.04597)
    """

    size = 2  # side of the kernel and step, in pixels
    remat = "whole"

    def __init__(
        self,
        filters: int,
        activation: str | None = "relu",
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        gamma_initializer="ones",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_int("filters", filters)
        self.activation = arguments.elementwise_activation(activation)
        self.keep_norm_arguments(momentum, epsilon, gamma_initializer=gamma_initializer)

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        self.accept(channels)
        bound = (self.size**2 * channels) ** -0.5
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.size, self.size, self.filters, channels),
            initializer=keras.initializers.RandomUniform(-bound, bound),
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(self.filters,),
            initializer=keras.initializers.RandomUniform(-bound, bound),
        )
        self.add_norm_weights(self.filters)

    def fold(self, source):
        fold_norm(self, source, source, axis=2)

    def run(self, x, training):
        """The whole unit on a native tensor: what layers that hold units call."""
        data_format = ops.native_format(self.data_format)
        y = ops.conv2d_transpose(x, self.kernel, self.bias, self.size, data_format)
        return self.normalize(y, training)

    def call(self, inputs, training=None):
        x = ops.to_native(inputs, self.data_format)
        return ops.from_native(self.run(x, training), self.data_format)

    def compute_output_shape(self, input_shape):
        return self.resized(input_shape, self.filters, lambda side: side * self.size)
