"""The multigrid convolution."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_mg.layers import arguments
from keras_mg.layers._pyramid_layer import PyramidLayer, mixed_channels
from keras_mg.layers.conv_norm_activation import ConvNormActivation


@keras.saving.register_keras_serializable(package="keras_mg")
class MultigridConv(PyramidLayer):
    r"""Convolves every grid of a pyramid together with its neighbours.

    `y_i = activation(BN_i(k_i * concat(max_pool(x_{i-1}), x_i, upsample(x_{i+1})) + b_i))`

    The finer neighbour is 2x2 max-pooled (ceil mode), the coarser one repeated 2x2 and cut to the
    grid's size; at the ends of the pyramid the missing neighbour is left out. Each grid has its
    own kernel, bias and batch norm.

    Args:
        filters: int or sequence of ints, output channels of each grid, finest first.
        kernel_size: odd int or one per grid, side of the kernels in pixels. Defaults to 3.
        activation: element-wise Keras activation, or None for none. Defaults to "relu".
        drop_coarsest: bool, whether the coarsest grid of the input is removed first; the input
            then has one grid more than `filters`. Defaults to False.
        dropout: float in [0, 1), share of the concatenated input's elements that training zeroes.
            Defaults to 0.
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance in batch norm. Defaults to 1e-5.
        beta_initializer: Keras initializer of the shifts of the batch norms.
            Defaults to "zeros".
        gamma_initializer: Keras initializer of the scales of the batch norms.
            Defaults to "ones".
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        A list of 4D shapes, finest first, each with half the side of the one before, rounded up.

    Output shape:
        The same sides, `filters[i]` channels on grid `i`; without the coarsest grid if
        `drop_coarsest`.

    Raises:
        ValueError: if an argument is not of its kind, if `filters` and `kernel_size` disagree on
            the number of grids, or if the input is no pyramid of that many grids.

    Example:
        >>> from keras_mg.layers import MultigridConv
        >>> import keras, numpy as np
        >>> grids = [np.ones((1, s, s, 8), "float32") for s in (16, 8, 4)]
        >>> layer = MultigridConv((32, 16, 8), kernel_size=(3, 3, 1), data_format="channels_last")
        >>> [tuple(g.shape) for g in layer(grids)]
        [(1, 16, 16, 32), (1, 8, 8, 16), (1, 4, 4, 8)]

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """

    remat = "whole"
    fold = PyramidLayer.fold_parts

    def __init__(
        self,
        filters: int | Sequence[int],
        kernel_size: int | Sequence[int] = 3,
        activation: str | None = "relu",
        drop_coarsest: bool = False,
        dropout: float = 0.0,
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        beta_initializer="zeros",
        gamma_initializer="ones",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_ints("filters", filters)
        self.kernel_size = arguments.per_grid("kernel_size", kernel_size, len(self.filters))
        self.activation = arguments.elementwise_activation(activation)
        self.drop_coarsest = bool(drop_coarsest)
        self.dropout = arguments.rate("dropout", dropout)
        self.keep_norm_arguments(momentum, epsilon, beta_initializer, gamma_initializer)
        self.units = tuple(
            self.norm_part(
                ConvNormActivation,
                width,
                kernel_size=size,
                use_bias=True,
                activation=activation,
                beta_initializer=self.beta_initializer,
                gamma_initializer=self.gamma_initializer,
                name=f"grid_{i}",
            )
            for i, (width, size) in enumerate(zip(self.filters, self.kernel_size, strict=True))
        )
        self.dropouts = arguments.make_dropouts(self.dropout, len(self.filters), self.dtype_policy)

    @property
    def input_grids(self) -> int:
        return len(self.filters) + self.drop_coarsest

    def build(self, input_shape):
        shapes = self.check_shapes(input_shape)
        self.built_channels = self.channels(shapes)
        shapes = shapes[: len(self.filters)]
        for unit, width in zip(self.units, mixed_channels(self.channels(shapes)), strict=True):
            self.build_part(unit, self.shape_of(width))

    def run(self, grids, training) -> list:
        """The layer on native tensors, dropping aside: what layers that hold this one call."""
        return [
            unit.normalize(self.convolve(grids, i, unit, self.dropouts, training), training)
            for i, unit in enumerate(self.units)
        ]

    def call(self, inputs, training=None):
        grids = self.enter(inputs)[: len(self.filters)]
        return self.leave(self.run(grids, training))

    def compute_output_shape(self, input_shape):
        shapes = self.check_shapes(input_shape)[: len(self.filters)]
        return self.output_shapes(shapes, self.filters)
