"""The interleaved group convolution block."""

from __future__ import annotations

import keras
import numpy as np

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._base import BaseLayer
from keras_mg.layers.convolution import Convolution
from keras_mg.layers.folding import fold_norm
from keras_mg.layers.initializers import he_fan_in
from keras_mg.layers.norm_activation import NormActivation

# The authors' batch-norm epsilon, MXNet's `eps=2e-5`.
IGC_EPSILON = 2e-5


@keras.saving.register_keras_serializable(package="keras_mg")
class IGCBlock(BaseLayer):
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
        >>> from keras_mg.layers import IGCBlock
        >>> import keras, numpy as np
        >>> layer = IGCBlock(48, 24, 2, data_format="channels_last")
        >>> tuple(layer(np.ones((2, 8, 8, 48), "float32")).shape)
        (2, 8, 8, 48)

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """

    remat = "whole"

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
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_int("filters", filters)
        self.primary_partitions = arguments.positive_int("primary_partitions", primary_partitions)
        self.secondary_partitions = arguments.positive_int(
            "secondary_partitions", secondary_partitions
        )
        self.strides = arguments.positive_int("strides", strides)
        self.activation = arguments.elementwise_activation(activation)
        self.keep_norm_arguments(
            momentum, epsilon, moving_variance_initializer=moving_variance_initializer
        )
        for name in ("primary_partitions", "secondary_partitions"):
            if self.filters % getattr(self, name):
                raise ValueError(
                    f"filters must be a multiple of {name}. "
                    f"Received: filters={filters}, {name}={getattr(self, name)}"
                )
        self.primary = self.part(
            Convolution,
            filters,
            strides=strides,
            groups=primary_partitions,
            kernel_initializer=he_fan_in(),
            name="primary",
        )
        self.secondary = self.part(
            Convolution,
            filters,
            kernel_size=1,
            groups=secondary_partitions,
            kernel_initializer=he_fan_in(),
            name="secondary",
        )
        self.norm = self.norm_part(
            NormActivation,
            activation=activation,
            moving_variance_initializer=self.moving_variance_initializer,
            name="norm",
        )

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        if channels % self.primary_partitions:
            raise ValueError(
                f"{self.name}: the input's channels must be a multiple of primary_partitions. "
                f"Received: {channels} channels, primary_partitions={self.primary_partitions}"
            )
        self.accept(channels)
        inner = self.shape_of(self.filters)
        self.primary.build(input_shape)
        self.build_part(self.secondary, inner)
        self.build_part(self.norm, inner)

    def fold(self, source):
        self.primary.set_weights(source.primary.get_weights())
        # Between convolution and batch norm, channels are reordered: the batch norm's channel i is
        # the convolution's channel moved[i].
        moved = np.arange(self.filters).reshape(self.secondary_partitions, -1).T.ravel()
        fold_norm(self.secondary, source.secondary, source.norm, order=np.argsort(moved))

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
