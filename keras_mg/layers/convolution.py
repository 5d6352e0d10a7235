"""A convolution with symmetric padding."""

from __future__ import annotations

import keras

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._base import BaseLayer
from keras_mg.layers.initializers import he_fan_out


@keras.saving.register_keras_serializable(package="keras_mg")
class Convolution(BaseLayer):
    r"""Convolution padded alike on all sides.

    `y = k * x + b`, with `kernel_size // 2` zeros on each side whatever the strides: an output
    side is `ceil(side / strides)`. (Keras's `padding="same"` pads at the end only when
    `strides > 1`, which gives other numbers.)

    On torch, groups run in the exact formulation that
    `keras_mg.ops.group_convolution.choose_formulation` names with its reason: on a CPU, neighbours
    with fewer than 4 inputs are convolved as one group with zeros between them; on CUDA all
    formulations are timed once per shape, and the fastest is taken
    (`keras_mg.ops.measured_choice.MEASURED` tells what was found). `KERAS_MG_GROUP_CONVOLUTION`,
    set before the import, names another for groups of less than 8 channels: "grouped", "merged",
    "merged_16", "merged_32", "merged_64", "dense", "depthwise", "einsum" or, on CUDA, "triton";
    "fastest" times them on every device.

    Args:
        filters: int, number of output channels.
        kernel_size: odd int, side of the kernel in pixels. Defaults to 3.
        strides: int, step in pixels. Defaults to 1.
        groups: int, number of channel groups that are convolved apart. Defaults to 1.
        use_bias: bool, whether the convolution has a bias. Defaults to False.
        kernel_initializer: Keras initializer. Defaults to a normal with standard deviation
            `sqrt(2 / fan_out)`.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `channels_first`.

    Output shape:
        `(batch, ceil(height / strides), ceil(width / strides), filters)`, or with the channels
        first.

    Raises:
        ValueError: if an argument is not of its kind, or if the input's channels or `filters` are
            no multiple of `groups`.

    Example:
        >>> from keras_mg.layers import Convolution
        >>> import keras, numpy as np
        >>> layer = Convolution(16, strides=2, data_format="channels_last")
        >>> tuple(layer(np.ones((2, 9, 9, 3), "float32")).shape)
        (2, 5, 5, 16)
    """

    remat = "whole"

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        groups: int = 1,
        use_bias: bool = False,
        kernel_initializer=None,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.filters = arguments.positive_int("filters", filters)
        self.kernel_size = arguments.odd_int("kernel_size", kernel_size)
        self.strides = arguments.positive_int("strides", strides)
        self.groups = arguments.positive_int("groups", groups)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = arguments.initializer(kernel_initializer or he_fan_out())
        if self.filters % self.groups:
            raise ValueError(
                "filters must be a multiple of groups. "
                f"Received: filters={filters}, groups={groups}"
            )

    def build(self, input_shape):
        channels = self.channels_of(input_shape)
        if channels % self.groups:
            raise ValueError(
                f"{self.name}: the input's channels must be a multiple of groups. "
                f"Received: {channels} channels, groups={self.groups}"
            )
        self.accept(channels)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels // self.groups, self.filters),
            initializer=self.kernel_initializer,
        )
        ops.lay_out_kernel(self.kernel)
        self.bias = None
        if self.use_bias or self.folded:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def convolve(self, x):
        """The convolution of a native tensor: what layers that hold this one call."""
        return ops.conv2d(
            x,
            self.kernel,
            self.bias,
            self.strides,
            self.kernel_size // 2,
            self.groups,
            ops.native_format(self.data_format),
        )

    def call(self, inputs):
        x = ops.to_native(inputs, self.data_format)
        return ops.from_native(self.convolve(x), self.data_format)

    def compute_output_shape(self, input_shape):
        return self.strided(input_shape, self.filters, self.strides)
