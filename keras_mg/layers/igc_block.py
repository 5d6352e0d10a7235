"""The interleaved group convolution block."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers.convolution import Convolution
from keras_mg.layers.initializers import he_fan_in
from keras_mg.layers.norm_activation import (
    NormActivation,
    add_norm_weights,
    norms_are_folded,
)

# The authors' batch-norm epsilon, MXNet's `eps=2e-5`.
IGC_EPSILON = 2e-5


@keras.saving.register_keras_serializable(package="keras_mg")
class IGCBlock(keras.layers.Layer):
    r"""Interleaved group convolution: a spatial and a pointwise group convolution, interleaved.

    `y = activation(BN(P_S^-1(secondary(P_L(primary(x))))))`

    `primary` is a 3x3 convolution in L = `primary_partitions` groups, `secondary` a 1x1
    convolution in S = `secondary_partitions` groups, neither with a bias. `P_L` writes the
    channels as a matrix of L rows and reads it by columns, so that each secondary group gets
    channels of many primary groups; the second reordering does the same with S rows. With
    `L * S == filters` it undoes the first.

    Both convolutions run in the formulation that `Convolution` documents. In one convolution, as
    which they could be deployed, every output would see every input through 3x3 pixels: in
    IGC_L100M2, 15 times the multiply-accumulates or more.

    Args:
        filters: int, number of output channels, a multiple of both partitions.
        primary_partitions: int, L, groups of the 3x3 convolution.
        secondary_partitions: int, S, groups of the 1x1 convolution.
        strides: int, step of the 3x3 convolution in pixels. Defaults to 1.
        activation: element-wise Keras activation, or None for none. Defaults to "relu".
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance in batch norm. Defaults to 2e-5, the authors'.
        moving_variance_initializer: Keras initializer of the moving variance. Defaults to
            "ones".
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `channels_first`; the channels are a multiple of `primary_partitions`.

    Output shape:
        `(batch, ceil(height / strides), ceil(width / strides), filters)`, or with the channels
        first.

    Raises:
        ValueError: if an argument is not of its kind, or if channels do not divide by a number of
            partitions.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mg.layers import IGCBlock
        >>> layer = IGCBlock(48, 24, 2, data_format="channels_last")
        >>> tuple(layer(np.ones((2, 8, 8, 48), "float32")).shape)
        (2, 8, 8, 48)

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """

    def __init__(
        self,
        filters: int,
        primary_partitions: int,
        secondary_partitions: int,
        strides: int = 1,
        activation: str | None = "relu",
        momentum: float = arguments.MOMENTUM,
        epsilon: float = IGC_EPSILON,
        moving_variance_initializer="ones",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = arguments.positive_int("filters", filters)
        self.primary_partitions = arguments.positive_int("primary_partitions", primary_partitions)
        self.secondary_partitions = arguments.positive_int(
            "secondary_partitions", secondary_partitions
        )
        self.strides = arguments.positive_int("strides", strides)
        self.activation = arguments.elementwise_activation(activation)
        self.momentum = arguments.fraction("momentum", momentum)
        self.epsilon = arguments.not_negative("epsilon", epsilon)
        self.moving_variance_initializer = arguments.initializer(moving_variance_initializer)
        self.data_format = arguments.standardize_data_format(data_format)
        for name in ("primary_partitions", "secondary_partitions"):
            if self.filters % getattr(self, name):
                raise ValueError(
                    f"filters must be a multiple of {name}. "
                    f"Received: filters={filters}, {name}={getattr(self, name)}"
                )
        unit = {
            "kernel_initializer": he_fan_in(),
            "data_format": self.data_format,
            "dtype": self.dtype_policy,
            "trainable": self.trainable,
        }
        self.primary = Convolution(
            filters, 3, strides=strides, groups=primary_partitions, name="primary", **unit
        )
        self.secondary = Convolution(
            filters, 1, groups=secondary_partitions, name="secondary", **unit
        )
        self.norm = NormActivation(
            activation=activation,
            momentum=momentum,
            epsilon=epsilon,
            moving_variance_initializer=self.moving_variance_initializer,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            name="norm",
        )

    def build(self, input_shape):
        channels = arguments.channels(tuple(input_shape), self.data_format, self.name)
        if channels % self.primary_partitions:
            raise ValueError(
                f"{self.name}: the input's channels must be a multiple of primary_partitions. "
                f"Received: {channels} channels, primary_partitions={self.primary_partitions}"
            )
        self.input_spec = arguments.input_spec(channels, self.data_format)
        inner = arguments.make_shape(None, None, None, self.filters, self.data_format)
        self.primary.build(input_shape)
        self.secondary.use_bias = norms_are_folded()
        self.secondary.build(inner)
        if norms_are_folded():
            add_norm_weights(self.norm, self.filters, convolution=self.secondary)
            self.norm.built = True
        else:
            self.norm.build(inner)

    def run(self, x, training, residual=None):
        """The block on a native tensor: what layers that hold this one call."""
        data_format = ops.native_format(self.data_format)
        y = self.primary.convolve(x)
        y = ops.interleave(y, self.primary_partitions, data_format)
        y = self.secondary.convolve(y)
        y = ops.interleave(y, self.secondary_partitions, data_format)
        return self.norm.run(y, training, residual)

    def call(self, inputs, training=None):
        x = ops.to_native(inputs, self.data_format)
        return ops.from_native(self.run(x, training), self.data_format)

    def compute_output_shape(self, input_shape):
        return self.primary.compute_output_shape(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "primary_partitions": self.primary_partitions,
            "secondary_partitions": self.secondary_partitions,
            "strides": self.strides,
            "activation": keras.activations.serialize(self.activation),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "moving_variance_initializer": keras.initializers.serialize(
                self.moving_variance_initializer
            ),
            "data_format": self.data_format,
        }
