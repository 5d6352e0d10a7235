"""The residual block of multigrid convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_mg.layers import arguments
from keras_mg.layers._pyramid_layer import PyramidLayer, mixed_channels
from keras_mg.layers.conv_norm_activation import ConvNormActivation

SHORTCUTS = ("A", "B", "C")


@keras.saving.register_keras_serializable(package="keras_mg")
class MultigridResidual(PyramidLayer):
    r"""Two multigrid convolutions with a shortcut on every grid.

    `y_i = activation(mgconv2(mgconv1(x))_i + shortcut_i(x_i))`, where `mgconv1` ends in ReLU and
    `mgconv2` in batch norm (see `MultigridConv`), and `shortcut_i` is

    - type "A": the identity, its missing channels zero (appended at the end); a grid that becomes
      narrower gets type B's projection, since nothing can be padded there;
    - type "B": a 1x1 convolution with bias and batch norm where the widths differ, else the
      identity;
    - type "C": that projection on every grid.

    Args:
        filters: int or sequence of ints, output channels of each grid, finest first.
        kernel_size: odd int or one per grid, for both convolutions. Defaults to 3.
        shortcut: "A", "B" or "C". Defaults to "A".
        activation: element-wise Keras activation after the sum, or None for none. Defaults to
            "relu".
        drop_coarsest: bool, whether the coarsest grid of the input is removed first; the input
            then has one grid more than `filters`. Defaults to False.
        dropout: float in [0, 1), share of the elements of each convolution's concatenated input
            that training zeroes. Defaults to 0.
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance in batch norm. Defaults to 1e-5.
        beta_initializer: Keras initializer of the shifts of the second convolution's batch norms.
            Defaults to "zeros".
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
        >>> from keras_mg.layers import MultigridResidual
        >>> import keras, numpy as np
        >>> grids = [np.ones((1, s, s, 8), "float32") for s in (16, 8, 4)]
        >>> layer = MultigridResidual((32, 16, 8), data_format="channels_last")
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
        shortcut: str = "A",
        activation: str | None = "relu",
        drop_coarsest: bool = False,
        dropout: float = 0.0,
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        beta_initializer="zeros",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_ints("filters", filters)
        sizes = arguments.per_grid("kernel_size", kernel_size, len(self.filters))
        self.kernel_size = tuple(arguments.odd_int("kernel_size", size) for size in sizes)
        self.shortcut = arguments.one_of("shortcut", shortcut, SHORTCUTS)
        self.activation = arguments.elementwise_activation(activation)
        self.drop_coarsest = bool(drop_coarsest)
        self.dropout = arguments.rate("dropout", dropout)
        self.keep_norm_arguments(momentum, epsilon, beta_initializer)

    @property
    def input_grids(self) -> int:
        return len(self.filters) + self.drop_coarsest

    def _needs_projection(self, given: int, wanted: int) -> bool:
        if self.shortcut == "C":
            return True
        return given != wanted if self.shortcut == "B" else given > wanted

    def _unit(
        self, grid: int, kernel_size: int, activation, name: str, beta_initializer="zeros"
    ) -> ConvNormActivation:
        return self.norm_part(
            ConvNormActivation,
            self.filters[grid],
            kernel_size=kernel_size,
            use_bias=True,
            activation=activation,
            beta_initializer=beta_initializer,
            name=f"{name}_grid_{grid}",
        )

    def build(self, input_shape):
        grids = range(len(self.filters))
        shapes = self.check_shapes(input_shape)
        self.built_channels = self.channels(shapes)
        given = self.channels(shapes[: len(self.filters)])

        def build_units(units, widths):
            for unit, width in zip(units, widths, strict=True):
                if unit is not None:
                    self.build_part(unit, self.shape_of(width))

        self.projections = tuple(
            self._unit(i, 1, None, "shortcut")
            if self._needs_projection(given[i], self.filters[i])
            else None
            for i in grids
        )
        self.first = tuple(self._unit(i, self.kernel_size[i], "relu", "conv1") for i in grids)
        self.second = tuple(
            self._unit(i, self.kernel_size[i], self.activation, "conv2", self.beta_initializer)
            for i in grids
        )
        self.dropouts = arguments.make_dropouts(self.dropout, 2 * len(grids), self.dtype_policy)
        build_units(self.projections, given)
        build_units(self.first, mixed_channels(given))
        build_units(self.second, mixed_channels(list(self.filters)))

    def call(self, inputs, training=None):
        count = len(self.filters)
        grids = self.enter(inputs)[:count]
        shortcuts = [
            x if p is None else p.run(x, training)
            for p, x in zip(self.projections, grids, strict=True)
        ]
        inner = [
            unit.normalize(self.convolve(grids, i, unit, self.dropouts[:count], training), training)
            for i, unit in enumerate(self.first)
        ]
        outputs = [
            unit.normalize(
                self.convolve(inner, i, unit, self.dropouts[count:], training), training, shortcut
            )
            for i, (unit, shortcut) in enumerate(zip(self.second, shortcuts, strict=True))
        ]
        return self.leave(outputs)

    def compute_output_shape(self, input_shape):
        shapes = self.check_shapes(input_shape)[: len(self.filters)]
        return self.output_shapes(shapes, self.filters)
