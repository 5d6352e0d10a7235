"""Pooling of a pyramid."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers._pyramid_layer import PyramidLayer


@keras.saving.register_keras_serializable(package="keras_mg")
class MultigridPool(PyramidLayer):
    """Halves every grid of a pyramid with 2x2 max-pooling (ceil mode).

    With `merge`, the two coarsest grids become one: the second coarsest is pooled and put, along
    the channels, in front of the coarsest, which is not pooled.

    Args:
        merge: bool, whether the two coarsest grids become one. Defaults to False.
        drop_coarsest: bool, whether the coarsest grid is left out. Defaults to False.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name` and `dtype` of a Keras layer.

    Input shape:
        A list of 4D shapes, finest first, each with half the side of the one before, rounded up.

    Output shape:
        Half the sides, rounded up; one grid fewer with `merge` or `drop_coarsest`.

    Raises:
        ValueError: if `merge` and `drop_coarsest` are both set, if the input is no pyramid, or if
            it has fewer than two grids where one is to go.

    Example:
        >>> from keras_mg.layers import MultigridPool
        >>> import keras, numpy as np
        >>> grids = [np.ones((1, s, s, s), "float32") for s in (16, 8, 4)]
        >>> [tuple(g.shape) for g in MultigridPool(merge=True, data_format="channels_last")(grids)]
        [(1, 8, 8, 16), (1, 4, 4, 12)]

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """

    remat = "whole"

    def __init__(
        self,
        merge: bool = False,
        drop_coarsest: bool = False,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.merge = bool(merge)
        self.drop_coarsest = bool(drop_coarsest)
        if self.merge and self.drop_coarsest:
            raise ValueError(
                "merge and drop_coarsest exclude each other: the coarsest grid cannot be kept and "
                f"left out. Received: merge={merge}, drop_coarsest={drop_coarsest}"
            )
        self.build_at_once()

    def check_shapes(self, input_shape) -> list[tuple[int | None, ...]]:
        shapes = super().check_shapes(input_shape)
        if len(shapes) < 2 and (self.merge or self.drop_coarsest):
            raise ValueError(
                f"{self.name}: merge and drop_coarsest need at least two grids. Received: {shapes}"
            )
        return shapes

    def call(self, inputs):
        data_format = ops.native_format(self.data_format)
        grids = self.enter(inputs)
        return self.leave(ops.pool_grids(grids, self.merge, self.drop_coarsest, data_format))

    def compute_output_shape(self, input_shape):
        shapes = self.check_shapes(input_shape)
        widths = self.channels(shapes)
        if self.merge:
            widths = [*widths[:-2], widths[-2] + widths[-1]]
        elif self.drop_coarsest:
            widths = widths[:-1]
        return [
            self.resized(shape, width, ops.halved)
            for shape, width in zip(shapes, widths, strict=False)
        ]
