"""The upsampling counterpart of the convolution - batch norm - activation unit."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers.norm_activation import add_norm_weights, normalize


@keras.saving.register_keras_serializable(package="keras_mg")
class TransposedConvNormActivation(keras.layers.Layer):
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
        >>> import keras, numpy as np
        >>> from keras_mg.layers import TransposedConvNormActivation
        >>> layer = TransposedConvNormActivation(16, data_format="channels_last")
        >>> tuple(layer(np.ones((2, 8, 8, 32), "float32")).shape)
        (2, 16, 16, 16)

    Reference:
        - [U-Net, Ronneberger et al., 2015](https://arxiv.org/abs/1505.04597)
    """

    size = 2  # side of the kernel and step, in pixels
    beta_initializer = "zeros"
    moving_variance_initializer = "ones"

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
        super().__init__(**kwargs)
        self.filters = arguments.positive_int("filters", filters)
        self.activation = arguments.elementwise_activation(activation)
        self.momentum = arguments.fraction("momentum", momentum)
        self.epsilon = arguments.not_negative("epsilon", epsilon)
        self.gamma_initializer = arguments.initializer(gamma_initializer)
        self.data_format = arguments.standardize_data_format(data_format)

    def build(self, input_shape):
        channels = arguments.channels(tuple(input_shape), self.data_format, self.name)
        self.input_spec = arguments.input_spec(channels, self.data_format)
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
        add_norm_weights(self, self.filters, convolution=self)

    def run(self, x, training):
        """The whole unit on a native tensor: what layers that hold units call."""
        data_format = ops.native_format(self.data_format)
        y = ops.conv2d_transpose(x, self.kernel, self.bias, self.size, data_format)
        return normalize(self, y, training)

    def call(self, inputs, training=None):
        x = ops.to_native(inputs, self.data_format)
        return ops.from_native(self.run(x, training), self.data_format)

    def compute_output_shape(self, input_shape):
        height, width = arguments.sides(tuple(input_shape), self.data_format)
        height, width = (None if s is None else s * self.size for s in (height, width))
        return arguments.make_shape(input_shape[0], height, width, self.filters, self.data_format)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "activation": keras.activations.serialize(self.activation),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "data_format": self.data_format,
        }
