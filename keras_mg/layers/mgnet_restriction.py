"""The step from one grid of MgNet to the next."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._base import BaseLayer
from keras_mg.layers.conv_norm_activation import ConvNormActivation
from keras_mg.layers.initializers import torch_uniform


@keras.saving.register_keras_serializable(package="keras_mg")
class MgNetRestriction(BaseLayer):
    r"""Moves feature and residual of MgNet to the next coarser grid.

    MgNet sets, with the convolutions A of the old and A' of the new grid,

    `u' = relu(BN(Pi(u)))`, `f' = relu(BN(R(f - A(u)))) + A'(u')`,

    where Pi and R are 3x3 convolutions with strides 2. Of the residuals `r = f - A(u)` and
    `r' = f' - A'(u')`, which `MgNetSmoother` works with, this says

    `u' = relu(BN(Pi(u)))`, `r' = relu(BN(R(r)))`.

    Args:
        filters: int, channels of the new grid.
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance in batch norm. Defaults to 1e-5.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        A list `[u, r]` of two tensors `(batch, height, width, channels)`, with `channels_first`
        `(batch, channels, height, width)`.

    Output shape:
        A list `[u', r']` of two tensors `(batch, ceil(height / 2), ceil(width / 2), filters)`, or
        with the channels first.

    Raises:
        ValueError: if an argument is not of its kind or if the input is not a pair of 4D tensors
            of one shape.

    Example:
        >>> from keras_mg.layers import MgNetRestriction
        >>> import keras, numpy as np
        >>> u = r = np.ones((2, 8, 8, 16), "float32")
        >>> u, r = MgNetRestriction(32, data_format="channels_last")([u, r])
        >>> tuple(u.shape), tuple(r.shape)
        ((2, 4, 4, 32), (2, 4, 4, 32))

    Reference:
        - [MgNet, He and Xu, 2019](https://arxiv.org/abs/1901.10415)
    """

    remat = "whole"
    fold = BaseLayer.fold_parts

    def __init__(
        self,
        filters: int,
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_int("filters", filters)
        self.keep_norm_arguments(momentum, epsilon)
        self.feature = self._unit("feature")
        self.residual = self._unit("residual")

    def _unit(self, name: str) -> ConvNormActivation:
        return self.norm_part(
            ConvNormActivation,
            self.filters,
            strides=2,
            kernel_initializer=torch_uniform(),
            name=name,
        )

    def check_shapes(self, input_shape) -> list[tuple[int | None, ...]]:
        """The shapes of the inputs, after raising for inputs that the layer cannot take."""
        shapes = arguments.as_shapes(input_shape)
        if len(shapes) != 2:
            raise ValueError(
                f"{self.name} needs a list of two tensors, [u, r]. Received shapes: {shapes}"
            )
        arguments.check_features(shapes, self.data_format, self.name)
        return shapes

    def build(self, input_shape):
        u, r = shapes = self.check_shapes(input_shape)
        self.input_spec = arguments.input_specs(shapes, self.data_format, self.name)
        self.build_part(self.feature, u)
        self.build_part(self.residual, r)

    def call(self, inputs, training=None):
        u, r = (ops.to_native(x, self.data_format) for x in inputs)
        outputs = [self.feature.run(u, training), self.residual.run(r, training)]
        return [ops.from_native(x, self.data_format) for x in outputs]

    def compute_output_shape(self, input_shape):
        u, r = self.check_shapes(input_shape)
        return [self.feature.compute_output_shape(u), self.residual.compute_output_shape(r)]
