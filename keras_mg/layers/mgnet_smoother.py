"""The smoothing iterations of MgNet on one grid."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._base import BaseLayer
from keras_mg.layers.convolution import Convolution
from keras_mg.layers.initializers import torch_uniform
from keras_mg.layers.norm_activation import NormActivation


@keras.saving.register_keras_serializable(package="keras_mg")
class MgNetSmoother(BaseLayer):
    r"""Smooths the feature `u` of a grid towards `A u = f`.

    MgNet writes an iteration with the data `f` of the grid,

    `u <- u + relu(BN2(B(relu(BN1(f - A(u))))))`,

    where A is one convolution for the whole grid and B one for the grid or one per iteration; every
    iteration has batch norms of its own. This layer holds the residual `r = f - A(u)` instead of
    `f`. Since A is linear, the same iteration is

    `e = relu(BN2(B(relu(BN1(r)))))`, `u <- u + e`, `r <- r - A(e)`,

    which gives the same numbers, keeps every use of the grid's A inside this layer, and spares the
    convolutions `A(u)` that the change of grids would compute anew.

    Args:
        filters: int, channels of the grid.
        iterations: int, number of iterations. Defaults to 2.
        share_smoother: bool, whether one B serves all iterations. Defaults to True.
        return_residual: bool, whether the output is `[u, r]` rather than `u`: the last grid needs
            no residual. Defaults to True.
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance in batch norm. Defaults to 1e-5.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        A list `[u, r]` of two tensors `(batch, height, width, filters)`, or `r` alone: then `u = 0`
        and `r = f`. With `channels_first`, `(batch, filters, height, width)`.

    Output shape:
        A list `[u, r]` of two such tensors, or `u` alone.

    Raises:
        ValueError: if an argument is not of its kind, if the input's channels are not `filters`,
            or if `u` and `r` differ in shape.

    Example:
        >>> from keras_mg.layers import MgNetRestriction, MgNetSmoother
        >>> import keras, numpy as np
        >>> f = np.ones((2, 8, 8, 16), "float32")
        >>> u, r = MgNetSmoother(16, iterations=2, data_format="channels_last")(f)
        >>> u, r = MgNetRestriction(32, data_format="channels_last")([u, r])
        >>> u = MgNetSmoother(32, return_residual=False, data_format="channels_last")([u, r])
        >>> tuple(u.shape)
        (2, 4, 4, 32)

    Reference:
        - [MgNet, He and Xu, 2019](https://arxiv.org/abs/1901.10415)
    """

    # This layer holds most of a network's memory, so it is recomputed iteration by iteration.
    remat = "parts"
    recomputes = False

    def __init__(
        self,
        filters: int,
        iterations: int = 2,
        share_smoother: bool = True,
        return_residual: bool = True,
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_int("filters", filters)
        self.iterations = arguments.positive_int("iterations", iterations)
        self.share_smoother = bool(share_smoother)
        self.return_residual = bool(return_residual)
        self.keep_norm_arguments(momentum, epsilon)
        # Attributes are set in the order of the forward pass, which is the order of `weights`.
        self.operator = self._convolution("operator")
        for i in range(self.iterations):
            setattr(self, f"residual_norm_{i}", self._norm(f"residual_norm_{i}"))
            if i == 0 or not self.share_smoother:
                setattr(self, f"smoother_{i}", self._convolution(f"smoother_{i}"))
            setattr(self, f"feature_norm_{i}", self._norm(f"feature_norm_{i}"))

    def _convolution(self, name: str) -> Convolution:
        return self.part(Convolution, self.filters, kernel_initializer=torch_uniform(), name=name)

    def _norm(self, name: str) -> NormActivation:
        return self.norm_part(NormActivation, name=name)

    def _iteration(self, i: int) -> tuple[NormActivation, Convolution, NormActivation]:
        smoother = 0 if self.share_smoother else i
        return (
            getattr(self, f"residual_norm_{i}"),
            getattr(self, f"smoother_{smoother}"),
            getattr(self, f"feature_norm_{i}"),
        )

    def check_shapes(self, input_shape) -> list[tuple[int | None, ...]]:
        """The shapes of the inputs, after raising for inputs that the layer cannot take."""
        shapes = arguments.as_shapes(input_shape)
        arguments.check_features(shapes, self.data_format, self.name, self.filters)
        return shapes

    def build(self, input_shape):
        shape = self.check_shapes(input_shape)[0]
        self.operator.build(shape)
        for i in range(self.iterations):
            for unit in self._iteration(i):
                if not unit.built:
                    unit.build(shape)

    def _step(self, i: int, r, needs_residual: bool, training):
        """What iteration `i` adds to the feature, and what the residual loses by it."""
        residual_norm, smoother, feature_norm = self._iteration(i)
        e = feature_norm.run(smoother.convolve(residual_norm.run(r, training)), training)
        return e, self.operator.convolve(e) if needs_residual else None

    def call(self, inputs, training=None):
        inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        self.check_shapes([tuple(x.shape) for x in inputs])
        *start, r = (ops.to_native(x, self.data_format) for x in inputs)
        u = start[0] if start else None
        if self.iterations == 1 and not self.return_residual:
            # One iteration without an outgoing residual never sees A: f - A(u) is r again. This
            # keeps A in the graph, where its gradient is zero, as the formula has it.
            known = self.operator.convolve(keras.ops.zeros_like(r) if u is None else u)
            r = r + (known - known)
        for i in range(self.iterations):
            needs_residual = self.return_residual or i + 1 < self.iterations
            # Of an iteration that is recomputed, only its residual is kept.
            step = ops.recomputed(self._step) if self.recomputes else self._step
            e, correction = step(i, r, needs_residual, training)
            u = e if u is None else u + e
            if needs_residual:
                r = r - correction
        outputs = [u, r] if self.return_residual else [u]
        outputs = [ops.from_native(x, self.data_format) for x in outputs]
        return outputs if self.return_residual else outputs[0]

    def compute_output_shape(self, input_shape):
        shape = self.check_shapes(input_shape)[0]
        return [shape, shape] if self.return_residual else shape
