"""The residual block of interleaved group convolutions."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._base import BaseLayer
from keras_mg.layers.conv_norm_activation import ConvNormActivation
from keras_mg.layers.igc_block import IGC_EPSILON, IGCBlock
from keras_mg.layers.initializers import he_fan_in


@keras.saving.register_keras_serializable(package="keras_mg")
class IGCResidual(BaseLayer):
    """Two IGC blocks with a shortcut.

    `y = relu(igc2(igc1(x)) + shortcut(x))`; `igc1` ends in ReLU, `igc2` in batch norm. Where the
    block changes the width, or always with `project=True`, the shortcut is a 1x1 convolution in
    `primary_partitions` groups with the same strides and a batch norm; else it is the identity.

    Args:
        filters: int, number of output channels.
        primary_partitions: int, groups of the 3x3 convolutions and of the projection.
        secondary_partitions: int, or a pair for the first and the second IGC block: groups of the
            1x1 convolutions.
        strides: int, step of the first 3x3 convolution and of the projection. Defaults to 1.
        project: bool or None. None projects where the width changes or `strides > 1`. Defaults to
            None.
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance in batch norm. Defaults to 2e-5, the authors'.
        moving_variance_initializer: Keras initializer of the batch norms' moving variances.
            Defaults to "ones".
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
        >>> from keras_mg.layers import IGCResidual
        >>> import keras, numpy as np
        >>> layer = IGCResidual(96, 24, (2, 4), strides=2, data_format="channels_last")
        >>> tuple(layer(np.ones((2, 8, 8, 48), "float32")).shape)
        (2, 4, 4, 96)

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """

    remat = "whole"
    fold = BaseLayer.fold_parts

    def __init__(
        self,
        filters: int,
        primary_partitions: int,
        secondary_partitions: int | tuple[int, int],
        strides: int = 1,
        project: bool | None = None,
        momentum: float = arguments.MOMENTUM,
        epsilon: float = IGC_EPSILON,
        moving_variance_initializer="ones",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_int("filters", filters)
        self.primary_partitions = arguments.positive_int("primary_partitions", primary_partitions)
        pair = arguments.positive_ints("secondary_partitions", secondary_partitions)
        if len(pair) > 2:
            raise ValueError(
                "secondary_partitions must be an integer or a pair. "
                f"Received: secondary_partitions={secondary_partitions!r}"
            )
        self.secondary_partitions = (pair[0], pair[-1])
        self.strides = arguments.positive_int("strides", strides)
        self.project = project
        self.keep_norm_arguments(
            momentum, epsilon, moving_variance_initializer=moving_variance_initializer
        )

    def _part(self, layer, *args, **settings):
        variance = self.moving_variance_initializer
        return self.norm_part(layer, *args, moving_variance_initializer=variance, **settings)

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        project = self.project
        if project is None:
            project = channels != self.filters or self.strides > 1
        if not project and (channels != self.filters or self.strides > 1):
            raise ValueError(
                f"{self.name}: project=False needs an input of `filters` channels and strides=1. "
                f"Received: {channels} channels, filters={self.filters}, strides={self.strides}"
            )
        self.accept(channels)
        first, second = self.secondary_partitions
        self.projection = None
        if project:
            self.projection = self._part(
                ConvNormActivation,
                self.filters,
                kernel_size=1,
                strides=self.strides,
                groups=self.primary_partitions,
                activation=None,
                kernel_initializer=he_fan_in(),
                name="shortcut",
            )
            self.build_part(self.projection, input_shape)
        widths = (self.filters, self.primary_partitions)
        self.first = self._part(IGCBlock, *widths, first, strides=self.strides, name="igc1")
        # Its ReLU comes after the sum.
        self.second = self._part(IGCBlock, *widths, second, name="igc2")
        self.build_part(self.first, input_shape)
        self.build_part(self.second, self.first.compute_output_shape(input_shape))

    def call(self, inputs, training=None):
        x = ops.to_native(inputs, self.data_format)
        shortcut = x if self.projection is None else self.projection.run(x, training)
        y = self.second.run(self.first.run(x, training), training, shortcut)
        return ops.from_native(y, self.data_format)

    def compute_output_shape(self, input_shape):
        return self.strided(input_shape, self.filters, self.strides)
