"""The input layer of multigrid networks: an image becomes a pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._base import BaseLayer
from keras_mg.layers.conv_norm_activation import ConvNormActivation

KINDS = ("cifar", "imagenet")


@keras.saving.register_keras_serializable(package="keras_mg")
class MultigridInput(BaseLayer):
    """Makes a multigrid tensor of an image.

    Grid `i` is `stem_i(average_pool(image, 2**i))`, where `stem_i` is

    - kind "cifar": 3x3 convolution with bias - batch norm - ReLU;
    - kind "imagenet": 7x7 convolution with bias, strides 2, padding 3 - batch norm - ReLU -
      3x3 max-pooling, strides 2, padding 1 (padded with minus infinity).

    Args:
        filters: int or sequence of ints, channels of each grid, finest first.
        kind: "cifar" or "imagenet". Defaults to "cifar".
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance in batch norm. Defaults to 1e-5.
        gamma_initializer: Keras initializer of the scales of the batch norms.
            Defaults to "ones".
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        `(batch, height, width, channels)` or `(batch, channels, height, width)`. With J grids,
        height and width are multiples of `2**(J - 1)`, for kind "imagenet" of `2**(J + 1)`.

    Output shape:
        A list of J shapes; grid `i` has `filters[i]` channels and `2**-i` of the image's height
        and width, for kind "imagenet" `2**-(i + 2)`.

    Raises:
        ValueError: if an argument is not of its kind, or if the image is too small for the number
            of grids or its sides are no such multiple.

    Example:
        >>> from keras_mg.layers import MultigridInput
        >>> import keras, numpy as np
        >>> grids = MultigridInput((64, 32, 16), data_format="channels_last")(
        ...     np.ones((1, 32, 32, 3), "float32")
        ... )
        >>> [tuple(g.shape) for g in grids]
        [(1, 32, 32, 64), (1, 16, 16, 32), (1, 8, 8, 16)]

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """

    remat = "whole"
    fold = BaseLayer.fold_parts

    def __init__(
        self,
        filters: int | Sequence[int],
        kind: str = "cifar",
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        gamma_initializer="ones",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_ints("filters", filters)
        self.kind = arguments.one_of("kind", kind, KINDS)
        self.keep_norm_arguments(momentum, epsilon, gamma_initializer=gamma_initializer)
        self.units = tuple(
            self.norm_part(
                ConvNormActivation,
                width,
                kernel_size=7 if kind == "imagenet" else 3,
                strides=2 if kind == "imagenet" else 1,
                use_bias=True,
                gamma_initializer=self.gamma_initializer,
                name=f"grid_{i}",
            )
            for i, width in enumerate(self.filters)
        )

    @property
    def multiple(self) -> int:
        """What the sides of the image must be a multiple of."""
        return 2 ** (len(self.filters) + (1 if self.kind == "imagenet" else -1))

    def _check_sides(self, shape) -> None:
        for side in arguments.sides(shape, self.data_format):
            if side is None or (side >= self.multiple and side % self.multiple == 0):
                continue
            rule = "is too small" if side < self.multiple else "does not divide evenly"
            raise ValueError(
                f"{self.name}: an image {rule} for {len(self.filters)} grids: its sides must be "
                f"multiples of {self.multiple}. Received shape: {tuple(shape)}"
            )

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        self._check_sides(input_shape)
        self.accept(channels)
        for unit in self.units:
            self.build_part(unit, self.shape_of(channels))

    def call(self, inputs, training=None):
        self._check_sides(inputs.shape)
        image = ops.to_native(inputs, self.data_format)
        data_format = ops.native_format(self.data_format)
        grids = []
        for i, unit in enumerate(self.units):
            x = unit.run(ops.average_pool(image, 2**i, data_format), training)
            if self.kind == "imagenet":
                x = ops.max_pool(x, 3, 2, 1, False, data_format)
            grids.append(ops.from_native(x, self.data_format))
        return grids

    def compute_output_shape(self, input_shape):
        reduction = 4 if self.kind == "imagenet" else 1

        def shape(i: int, width: int):
            return self.resized(input_shape, width, lambda side: side // (reduction * 2**i))

        return [shape(i, width) for i, width in enumerate(self.filters)]
