"""What layers on multigrid tensors have in common."""

from __future__ import annotations

from keras_mg import ops
from keras_mg.layers import arguments
from keras_mg.layers._base import BaseLayer


class PyramidLayer(BaseLayer):
    """Base of the layers whose input is a multigrid tensor: a list of grids, finest first.

    Subclasses compute on native tensors between `enter` and `leave`.

    Args:
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.
    """

    def __init__(self, data_format: str | None = None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.built_channels: list[int] | None = None  # set by layers whose weights depend on them

    @property
    def input_grids(self) -> int | None:
        """The number of grids that the layer takes, None for any."""
        return None

    def check_shapes(self, input_shape) -> list[tuple[int | None, ...]]:
        """The shapes of the grids, after raising for a pyramid that the layer cannot take."""
        shapes = arguments.as_shapes(input_shape)
        arguments.check_pyramid(shapes, self.data_format, self.name, self.input_grids)
        if self.built_channels is not None and self.channels(shapes) != list(self.built_channels):
            raise ValueError(
                f"{self.name} was built for grids of {list(self.built_channels)} channels. "
                f"Received shapes: {shapes}"
            )
        return shapes

    def channels(self, shapes) -> list[int]:
        """The channels of each grid."""
        return [self.channels_of(s) for s in shapes]

    def enter(self, inputs) -> list:
        """The grids as native tensors. Sizes that were unknown at build time are checked here."""
        grids = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        self.check_shapes([tuple(g.shape) for g in grids])
        return [ops.to_native(g, self.data_format) for g in grids]

    def convolve(self, grids, i: int, unit, dropouts, training):
        """The convolution of `unit` of grid `i` with its neighbours' channels.

        Args:
            grids: native tensors, finest first.
            i: the grid's number.
            unit: a `Convolution`.
            dropouts: a layer between concatenation and convolution for each grid, or none.
            training: whether the dropouts drop.
        """
        data_format = ops.native_format(self.data_format)
        if dropouts:
            mixed = ops.resampled_grid(grids, i, data_format)
            return unit.convolve(dropouts[i](mixed, training=training))
        padding = unit.kernel_size // 2
        return ops.resample_conv(grids, i, unit.kernel, unit.bias, padding, data_format)

    def leave(self, grids) -> list:
        """Native tensors back in the layer's data format."""
        return [ops.from_native(g, self.data_format) for g in grids]

    def output_shapes(self, shapes, filters) -> list[tuple[int | None, ...]]:
        """Shapes of grids of the same sides with `filters` channels each."""
        return [self.resized(shape, width) for shape, width in zip(shapes, filters, strict=True)]


def mixed_channels(channels: list[int]) -> list[int]:
    """The channels of each grid after `ops.resample_concat`."""
    return [sum(channels[max(i - 1, 0) : i + 2]) for i in range(len(channels))]
