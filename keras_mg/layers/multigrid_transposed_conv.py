"""Learned upsampling of a pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._pyramid_layer import PyramidLayer
from keras_mg.layers.transposed_conv_norm_activation import TransposedConvNormActivation


@keras.saving.register_keras_serializable(package="keras_mg")
class MultigridTransposedConv(PyramidLayer):
    """Doubles every grid of a pyramid with a 2x2 transposed convolution of its own.

    `y_i = activation(BN_i(k_i *^T x_i + b_i))`; the grids do not mix. Grids of odd sides double to
    more than half of the finer grid's side: they are cut to it, so that the output is a pyramid.

    Args:
        filters: int or sequence of ints, output channels of each grid, finest first.
        activation: element-wise Keras activation, or None for none. Defaults to "relu".
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance in batch norm. Defaults to 1e-5.
        gamma_initializer: Keras initializer of the scales of the batch norms.
            Defaults to "ones".
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        A list of 4D shapes, finest first, each with half the side of the one before, rounded up.

    Output shape:
        Twice the sides, from the second grid on at most half (rounded up) of the finer grid's;
        `filters[i]` channels on grid `i`.

    Raises:
        ValueError: if an argument is not of its kind, or if the input is no pyramid of as many
            grids as `filters`.

    Example:
        >>> from keras_mg.layers import MultigridTransposedConv
        >>> import keras, numpy as np
        >>> grids = [np.ones((1, s, s, 8), "float32") for s in (8, 4)]
        >>> layer = MultigridTransposedConv((32, 16), data_format="channels_last")
        >>> [tuple(g.shape) for g in layer(grids)]
        [(1, 16, 16, 32), (1, 8, 8, 16)]

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """

    remat = "whole"
    fold = PyramidLayer.fold_parts

    def __init__(
        self,
        filters: int | Sequence[int],
        activation: str | None = "relu",
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        gamma_initializer="ones",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_ints("filters", filters)
        self.activation = arguments.elementwise_activation(activation)
        self.keep_norm_arguments(momentum, epsilon, gamma_initializer=gamma_initializer)
        self.units = tuple(
            self.norm_part(
                TransposedConvNormActivation,
                width,
                activation=activation,
                gamma_initializer=self.gamma_initializer,
                name=f"grid_{i}",
            )
            for i, width in enumerate(self.filters)
        )

    @property
    def input_grids(self) -> int:
        return len(self.filters)

    def build(self, input_shape):
        shapes = self.check_shapes(input_shape)
        self.built_channels = self.channels(shapes)
        for unit, shape in zip(self.units, shapes, strict=True):
            self.build_part(unit, shape)

    def call(self, inputs, training=None):
        data_format = ops.native_format(self.data_format)
        rows, columns, _ = arguments.axes(data_format)
        outputs: list = []
        for unit, x in zip(self.units, self.enter(inputs), strict=True):
            y = unit.run(x, training)
            if outputs:
                finer = outputs[-1].shape
                y = ops.crop(y, -(-finer[rows] // 2), -(-finer[columns] // 2), data_format)
            outputs.append(y)
        return self.leave(outputs)

    def compute_output_shape(self, input_shape):
        shapes = self.check_shapes(input_shape)
        height, width = (
            None if s is None else 2 * s for s in arguments.sides(shapes[0], self.data_format)
        )
        outputs = []
        for shape, filters in zip(shapes, self.filters, strict=True):
            outputs.append(arguments.make_shape(shape[0], height, width, filters, self.data_format))
            height, width = ops.halved(height), ops.halved(width)
        return outputs
