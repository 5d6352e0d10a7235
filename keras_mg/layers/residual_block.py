"""The two-convolution residual block of ordinary residual networks."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._base import BaseLayer
from keras_mg.layers.conv_norm_activation import ConvNormActivation

SHORTCUTS = ("A", "B")


@keras.saving.register_keras_serializable(package="keras_mg")
class ResidualBlock(BaseLayer):
    """Two 3x3 convolutions with a shortcut.

    `y = activation(BN2(k2 * h + b2) + shortcut(x))` with `h = relu(BN1(k1 * x + b1))`, or, with
    `norm_after_add`, `y = activation(BN2(k2 * h + b2 + shortcut(x)))`. The shortcut is

    - type "A": the identity; with strides every `strides`-th pixel; channels that are missing are
      zero (appended at the end), channels too many are left out (from the end);
    - type "B": a 1x1 convolution with the same strides and batch norm where the width changes or
      `strides > 1`, else the identity.

    Args:
        filters: int, number of output channels.
        strides: int, step of the first convolution in pixels. Defaults to 1.
        shortcut: "A" or "B". Defaults to "A".
        norm_after_add: bool, whether the second batch norm follows the sum. Defaults to False.
        use_bias: bool, whether the convolutions have biases. Defaults to False.
        activation: element-wise Keras activation at the end, or None for none. Defaults to
            "relu".
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance in batch norm. Defaults to 1e-5.
        gamma_initializer: Keras initializer of the batch norms' scales. Defaults to "ones".
        moving_variance_initializer: Keras initializer of the batch norms' moving variances.
            Defaults to "ones".
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
        ValueError: if an argument is not of its kind or the input is not 4D.

    Example:
        >>> from keras_mg.layers import ResidualBlock
        >>> import keras, numpy as np
        >>> layer = ResidualBlock(32, strides=2, data_format="channels_last")
        >>> tuple(layer(np.ones((2, 8, 8, 16), "float32")).shape)
        (2, 4, 4, 32)

    Reference:
        - [Deep Residual Learning, He et al., 2015](https://arxiv.org/abs/1512.03385)
    """

    remat = "whole"
    fold = BaseLayer.fold_parts

    def __init__(
        self,
        filters: int,
        strides: int = 1,
        shortcut: str = "A",
        norm_after_add: bool = False,
        use_bias: bool = False,
        activation: str | None = "relu",
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        gamma_initializer="ones",
        moving_variance_initializer="ones",
        kernel_initializer=None,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_int("filters", filters)
        self.strides = arguments.positive_int("strides", strides)
        self.shortcut = arguments.one_of("shortcut", shortcut, SHORTCUTS)
        self.norm_after_add = bool(norm_after_add)
        self.use_bias = bool(use_bias)
        self.activation = arguments.elementwise_activation(activation)
        self.keep_norm_arguments(
            momentum,
            epsilon,
            gamma_initializer=gamma_initializer,
            moving_variance_initializer=moving_variance_initializer,
        )
        self.kernel_initializer = arguments.initializer(kernel_initializer)

    def _unit(self, kernel_size: int, strides: int, activation, name: str) -> ConvNormActivation:
        return self.norm_part(
            ConvNormActivation,
            self.filters,
            kernel_size=kernel_size,
            strides=strides,
            use_bias=self.use_bias,
            activation=activation,
            gamma_initializer=self.gamma_initializer,
            moving_variance_initializer=self.moving_variance_initializer,
            kernel_initializer=self.kernel_initializer,
            name=name,
        )

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        self.accept(channels)
        self.projection = None
        if self.shortcut == "B" and (channels != self.filters or self.strides > 1):
            self.projection = self._unit(1, self.strides, None, "shortcut")
            self.build_part(self.projection, input_shape)
        self.first = self._unit(3, self.strides, "relu", "conv1")
        self.second = self._unit(3, 1, self.activation, "conv2")
        self.build_part(self.first, input_shape)
        # A batch norm after the sum is no arithmetic of the convolution alone.
        inner = self.first.compute_output_shape(input_shape)
        self.build_part(self.second, inner, folds=not self.norm_after_add)

    def call(self, inputs, training=None):
        x = ops.to_native(inputs, self.data_format)
        data_format = ops.native_format(self.data_format)
        if self.projection is None:
            shortcut = ops.subsample(x, self.strides, data_format)
        else:
            shortcut = self.projection.run(x, training)
        y = self.second.convolve(self.first.run(x, training))
        if self.norm_after_add:
            y = self.second.normalize(ops.add_channels(y, shortcut, data_format), training)
        else:
            y = self.second.normalize(y, training, shortcut)
        return ops.from_native(y, self.data_format)

    def compute_output_shape(self, input_shape):
        return self.strided(input_shape, self.filters, self.strides)
