"""The plain convolution - batch norm - activation unit that every family shares."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._norm_layer import NormLayer
from keras_mg.layers.convolution import Convolution
from keras_mg.layers.folding import fold_norm


@keras.saving.register_keras_serializable(package="keras_mg")
class ConvNormActivation(Convolution, NormLayer):
    r"""Convolution, batch norm and activation in one layer.

    `y = activation(gamma * (k * x + b - mean) / sqrt(variance + epsilon) + beta)`

    The convolution is padded with `kernel_size // 2` zeros on each side, whatever its strides:
    an output side is `ceil(side / strides)`. (Keras's `padding="same"` pads at the end only when
    `strides > 1`, which gives other numbers.) In training, `mean` and `variance` are the batch's;
    the moving variance takes the unbiased batch variance, as Torch and PyTorch do. A frozen layer
    (`trainable = False`) uses the moving statistics.

    Args:
        filters: int, number of output channels.
        kernel_size: odd int, side of the kernel in pixels. Defaults to 3.
        strides: int, step in pixels. Defaults to 1.
        groups: int, number of channel groups that are convolved apart. Defaults to 1.
        use_bias: bool, whether the convolution has a bias. Defaults to False.
        activation: element-wise Keras activation, or None for none. Defaults to "relu".
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance. Defaults to 1e-5.
        beta_initializer: Keras initializer of the shift. Defaults to "zeros".
        gamma_initializer: Keras initializer of the scale. Defaults to "ones".
        moving_variance_initializer: Keras initializer of the moving variance. Defaults to
            "ones".
        kernel_initializer: Keras initializer. Defaults to a normal with standard deviation
            `sqrt(2 / fan_out)`.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `channels_first`.

    Output shape:
        `(batch, ceil(height / strides), ceil(width / strides), filters)`, or with the channels
        first.

    Raises:
        ValueError: if an argument is not of its kind, or if the input's channels or `filters` are
            no multiple of `groups`.

    Example:
        >>> from keras_mg.layers import ConvNormActivation
        >>> import keras, numpy as np
        >>> layer = ConvNormActivation(16, strides=2, data_format="channels_last")
        >>> tuple(layer(np.ones((2, 9, 9, 3), "float32")).shape)
        (2, 5, 5, 16)

    Reference:
        - [Batch Normalization, Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167)
    """

    remat = "whole"

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        groups: int = 1,
        use_bias: bool = False,
        activation: str | None = "relu",
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        beta_initializer="zeros",
        gamma_initializer="ones",
        moving_variance_initializer="ones",
        kernel_initializer=None,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(
            filters,
            kernel_size=kernel_size,
            strides=strides,
            groups=groups,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            data_format=data_format,
            **kwargs,
        )
        self.activation = arguments.elementwise_activation(activation)
        self.keep_norm_arguments(
            momentum, epsilon, beta_initializer, gamma_initializer, moving_variance_initializer
        )

    def build(self, input_shape):
        super().build(input_shape)
        self.add_norm_weights(self.filters)

    def fold(self, source):
        fold_norm(self, source, source)

    def run(self, x, training, residual=None):
        """The whole unit on a native tensor: what layers that hold units call."""
        return self.normalize(self.convolve(x), training, residual)

    def call(self, inputs, training=None):
        x = ops.to_native(inputs, self.data_format)
        return ops.from_native(self.run(x, training), self.data_format)
