"""Checks of layer arguments and input shapes. Every error names the rule and what was received."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Sequence

import keras

from keras_mg import ops

DATA_FORMATS = ("channels_last", "channels_first")

# Batch-norm constants, Keras's meaning of momentum: Torch's is one minus it.
MOMENTUM = 0.9
EPSILON = 1e-5


def standardize_data_format(data_format: str | None) -> str:
    """The data format asked for, or Keras's global one where it is None."""
    if data_format is None:
        return keras.config.image_data_format()
    if data_format not in DATA_FORMATS:
        raise ValueError(
            f"data_format must be one of {DATA_FORMATS} or None. Received: {data_format!r}"
        )
    return data_format


def positive_int(name: str, value) -> int:
    """`value` as an int of at least 1."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{name} must be a positive integer. Received: {name}={value!r}")
    return int(value)


def positive_ints(name: str, value) -> tuple[int, ...]:
    """`value` (an int, a sequence or an array of them) as a tuple of positive ints."""
    value = _plain(value)
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        value = (value,)
    if not value:
        raise ValueError(f"{name} must have one entry per grid. Received: {name}={value!r}")
    return tuple(positive_int(name, v) for v in value)


def _plain(value):
    """A NumPy array or number as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value


def odd_int(name: str, value) -> int:
    """`value` as a positive odd int: an even kernel cannot be padded alike on both sides."""
    value = positive_int(name, value)
    if value % 2 == 0:
        raise ValueError(f"{name} must be odd. Received: {name}={value!r}")
    return value


def per_grid(name: str, value, grids: int, of: str = "`filters`") -> tuple[int, ...]:
    """`value` as one int per grid: a single int holds for all."""
    value = _plain(value)
    values = positive_ints(name, value)
    if len(values) == 1 and not isinstance(value, Sequence):
        values *= grids
    if len(values) != grids:
        raise ValueError(
            f"{name} must be one integer or one per grid of {of} ({grids} grids). "
            f"Received: {name}={value!r}"
        )
    return values


def _is_number(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def rate(name: str, value) -> float:
    """`value` as a float in [0, 1)."""
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{name} must be a number in [0, 1). Received: {name}={value!r}")
    return float(value)


def fraction(name: str, value) -> float:
    """`value` as a float in [0, 1]."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number in [0, 1]. Received: {name}={value!r}")
    return float(value)


def not_negative(name: str, value) -> float:
    """`value` as a float of at least 0."""
    if not _is_number(value) or not value >= 0:
        raise ValueError(f"{name} must be a number of at least 0. Received: {name}={value!r}")
    return float(value)


def make_dropouts(rate: float, grids: int, dtype) -> tuple[keras.layers.Dropout, ...]:
    """One dropout layer per grid, none where the rate is 0."""
    if not rate:
        return ()
    return tuple(keras.layers.Dropout(rate, dtype=dtype) for _ in range(grids))


def initializer(value):
    """The Keras initializer that `value` names; of an initializer object, a copy.

    An unseeded Keras initializer draws its seed when it is made and the same numbers at each call,
    so two weights that share one object and a shape would start equal.
    """
    value = keras.initializers.get(value)
    return value.clone() if isinstance(value, keras.initializers.Initializer) else value


_ACROSS_CHANNELS = (
    keras.activations.softmax,
    keras.activations.log_softmax,
    keras.activations.sparsemax,
    keras.activations.glu,
)


def elementwise_activation(activation):
    """The Keras activation function of that name; None is the identity."""
    function = keras.activations.get(activation)
    if function in _ACROSS_CHANNELS:
        raise ValueError(
            "activation must be element-wise: it is applied before the layer knows which axis "
            f"holds the channels. Received: activation={activation!r}"
        )
    return function


def one_of(name: str, value, choices: Sequence):
    """`value`, which must be among `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {tuple(choices)}. Received: {name}={value!r}")
    return value


def is_shape(shape) -> bool:
    """Whether `shape` is one tensor's shape rather than a list of shapes."""
    return all(s is None or hasattr(s, "__index__") for s in shape)


def as_shapes(shape) -> list[tuple[int | None, ...]]:
    """One shape or a list of shapes, as Keras passes or stores it, as a list of tuples."""
    return [tuple(shape)] if is_shape(shape) else [tuple(s) for s in shape]


def axes(data_format: str) -> tuple[int, int, int]:
    """The axes of height, width and channels."""
    return (1, 2, 3) if data_format == "channels_last" else (2, 3, 1)


def channels(shape, data_format: str, layer: str) -> int:
    """The number of channels of a 4D `shape`."""
    if len(shape) != 4:
        raise ValueError(
            f"{layer}: a grid must be a 4D tensor (batch, two spatial axes, channels in "
            f"{data_format} order). Received shape: {shape}"
        )
    size = shape[axes(data_format)[2]]
    if size is None:
        raise ValueError(
            f"{layer}: the channel axis of a {data_format} input must be defined. "
            f"Received shape: {shape}"
        )
    return size


def sides(shape, data_format: str) -> tuple[int | None, int | None]:
    """Height and width of a 4D `shape`."""
    rows, columns, _ = axes(data_format)
    return shape[rows], shape[columns]


def input_spec(channels: int, data_format: str) -> keras.InputSpec:
    """What a layer that was built for `channels` channels takes."""
    return keras.InputSpec(ndim=4, axes={axes(data_format)[2]: channels})


def input_specs(shapes, data_format: str, layer: str) -> list[keras.InputSpec]:
    """The same for a layer that was built for a list of tensors."""
    return [input_spec(channels(s, data_format, layer), data_format) for s in shapes]


def make_shape(batch, height, width, filters: int, data_format: str):
    """A 4D shape in `data_format`."""
    if data_format == "channels_last":
        return (batch, height, width, filters)
    return (batch, filters, height, width)


def check_pyramid(shapes, data_format: str, layer: str, grids: int | None = None) -> None:
    """Raise unless `shapes` are `grids` grids whose sides halve (rounded up) from each to the next.

    Args:
        shapes: 4D shapes, finest first; unknown sides (None) are passed over.
        data_format: their data format.
        layer: name for the message.
        grids: the number of grids that is needed, or None for any.
    """
    if grids is not None and len(shapes) != grids:
        raise ValueError(
            f"{layer} needs a pyramid of {grids} grids. Received {len(shapes)}: {shapes}"
        )
    for shape in shapes:
        channels(shape, data_format, layer)
    for finer, coarser in itertools.pairwise(shapes):
        for have, got in zip(sides(finer, data_format), sides(coarser, data_format), strict=True):
            if have is not None and got is not None and got != ops.halved(have):
                raise ValueError(
                    f"{layer}: each grid must have half the side of the one before it, rounded "
                    f"up. Received shapes: {shapes}"
                )


def check_features(shapes, data_format: str, layer: str, filters: int | None = None) -> None:
    """Raise unless `shapes` are one or two equal 4D shapes, of `filters` channels if given."""
    if len(shapes) not in (1, 2):
        raise ValueError(
            f"{layer} needs one tensor, r, or a list of two, [u, r]. Received shapes: {shapes}"
        )
    for shape in shapes:
        width = channels(shape, data_format, layer)
        if filters is not None and width != filters:
            raise ValueError(
                f"{layer}: the input must have `filters` channels. "
                f"Received shapes: {shapes}, filters={filters}"
            )
    for a, b in zip(shapes[0], shapes[-1], strict=True):
        if a is not None and b is not None and a != b:
            raise ValueError(f"{layer}: u and r must have one shape. Received: {shapes}")
