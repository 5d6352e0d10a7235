"""Max-pooling with symmetric padding."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._base import BaseLayer


@keras.saving.register_keras_serializable(package="keras_mg")
class MaxPool(BaseLayer):
    """Max-pooling padded alike on all sides with minus infinity.

    An output side is `floor((side + 2 * padding - pool_size) / strides) + 1`. (Keras's
    `padding="same"` pads at the end only when `strides > 1`.)

    Args:
        pool_size: int, side of the window in pixels.
        strides: int, step in pixels. Defaults to 2.
        padding: int, at most half of `pool_size`. Defaults to 0.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name` and `dtype` of a Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `channels_first`.

    Output shape:
        The same with the sides above.

    Raises:
        ValueError: if an argument is not of its kind, if `padding` is more than half of
            `pool_size`, or if the image is smaller than the window.

    Example:
        >>> from keras_mg.layers import MaxPool
        >>> import keras, numpy as np
        >>> layer = MaxPool(3, padding=1, data_format="channels_last")
        >>> tuple(layer(np.ones((1, 8, 8, 3), "float32")).shape)
        (1, 4, 4, 3)
    """

    remat = "whole"

    def __init__(
        self,
        pool_size: int,
        strides: int = 2,
        padding: int = 0,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.pool_size = arguments.positive_int("pool_size", pool_size)
        self.strides = arguments.positive_int("strides", strides)
        if padding not in range(self.pool_size // 2 + 1):
            raise ValueError(
                "padding must be between 0 and half of pool_size. "
                f"Received: padding={padding!r}, pool_size={pool_size}"
            )
        self.padding = int(padding)
        self.build_at_once()

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)  # raises for an image smaller than the window
        x = ops.to_native(inputs, self.data_format)
        data_format = ops.native_format(self.data_format)
        y = ops.max_pool(x, self.pool_size, self.strides, self.padding, False, data_format)
        return ops.from_native(y, self.data_format)

    def _side(self, side: int) -> int:
        side += 2 * self.padding
        if side < self.pool_size:
            raise ValueError(
                f"{self.name}: the image must be at least as large as the window. Received a "
                f"padded side of {side}, pool_size={self.pool_size}"
            )
        return (side - self.pool_size) // self.strides + 1

    def compute_output_shape(self, input_shape):
        return self.resized(input_shape, self.channels_of(input_shape), self._side)
