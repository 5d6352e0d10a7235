"""What the public layers have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

import keras

from keras_mg._private import keras as private_keras
from keras_mg.layers import arguments

Part = TypeVar("Part", bound=keras.layers.Layer)
Shape = tuple[int | None, ...]


class BaseLayer(keras.layers.Layer):
    """Base of the public layers.

    It owns the data format, what batch norms take, the layers inside a layer, the arithmetic of
    shapes and the configuration; a subclass is left with its arguments and its formula. It keeps
    each argument of `__init__` under its name, where `get_config` finds it, and says in its own
    body how it is deployed (`fold`) and recomputed (`remat`): see `keras_mg.layers.protocols`.

    Args:
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.
    """

    # Whether `build` makes the form for deployment, without batch norms that follow a convolution.
    folded = False
    # Whether the batch norms inside keep all their variables, whatever else trains; see
    # `freeze_batch_norm`.
    norm_frozen = False

    def __init__(self, data_format: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = arguments.standardize_data_format(data_format)

    # --- arguments

    def keep_norm_arguments(
        self,
        momentum: float,
        epsilon: float,
        beta_initializer="zeros",
        gamma_initializer="ones",
        moving_variance_initializer="ones",
    ) -> None:
        """Check and keep what the batch norms of the layer take."""
        self.momentum = arguments.fraction("momentum", momentum)
        self.epsilon = arguments.not_negative("epsilon", epsilon)
        self.beta_initializer = arguments.initializer(beta_initializer)
        self.gamma_initializer = arguments.initializer(gamma_initializer)
        self.moving_variance_initializer = arguments.initializer(moving_variance_initializer)

    def get_config(self):
        config = super().get_config()
        for cls in type(self).__mro__:
            if issubclass(cls, BaseLayer) and "__init__" in vars(cls):
                for name in inspect.signature(cls.__init__).parameters:
                    # What a subclass of a user's does not keep, it writes itself.
                    if name != "self" and name not in config and hasattr(self, name):
                        config[name] = _serialized(name, getattr(self, name))
        if self.norm_frozen:
            config["norm_frozen"] = True
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        frozen = config.pop("norm_frozen", False)
        layer = super().from_config(config)
        for each in private_keras.flatten_layers(layer):
            each.norm_frozen = frozen
        return layer

    def build_at_once(self) -> None:
        """Mark a layer without weights as built, unless a subclass of it builds something."""
        self.built = type(self).build is keras.layers.Layer.build

    # --- the layers inside

    def part(self, layer: type[Part], *args, **settings) -> Part:
        """A layer that this one holds."""
        # `trainable` is handed down when it is set, not to layers that are made later.
        part = layer(
            *args,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            **settings,
        )
        if self.norm_frozen:
            for each in private_keras.flatten_layers(part):
                each.norm_frozen = True
        return part

    def norm_part(self, layer: type[Part], *args, **settings) -> Part:
        """A layer with batch norm that this one holds."""
        return self.part(layer, *args, momentum=self.momentum, epsilon=self.epsilon, **settings)

    def build_part(self, layer: keras.layers.Layer, input_shape, folds: bool = True) -> None:
        """Build a layer that this one holds, in deployment form where this one is and `folds`."""
        layer.folded = self.folded and folds
        layer.build(input_shape)

    def fold_parts(self, source) -> None:
        """`fold` of a layer whose weights are those of the layers inside."""
        for new, old in zip(_parts(self), _parts(source), strict=True):
            if getattr(new, "folded", False):
                new.fold(old)
            else:
                new.set_weights(old.get_weights())

    # --- shapes

    def channels_of(self, shape) -> int:
        """The number of channels of a 4D shape."""
        return arguments.channels(tuple(shape), self.data_format, self.name)

    def accept(self, channels: int) -> None:
        """Refuse inputs of other than `channels` channels from now on."""
        self.input_spec = arguments.input_spec(channels, self.data_format)

    def shape_of(self, channels: int) -> Shape:
        """A shape of which the channels alone are known."""
        return arguments.make_shape(None, None, None, channels, self.data_format)

    def resized(
        self, shape, channels: int, side: Callable[[int], int | None] = lambda side: side
    ) -> Shape:
        """`shape` with other channels, its known sides what `side` makes of them."""
        height, width = (
            None if s is None else side(s) for s in arguments.sides(tuple(shape), self.data_format)
        )
        return arguments.make_shape(shape[0], height, width, channels, self.data_format)

    def strided(self, shape, channels: int, strides: int) -> Shape:
        """The output's shape of a symmetrically padded convolution."""
        return self.resized(shape, channels, lambda side: -(-side // strides))


def _serialized(name: str, value):
    if name == "activation":
        return keras.activations.serialize(value)
    if name.endswith("_initializer"):
        return keras.initializers.serialize(value)
    return list(value) if isinstance(value, tuple) else value


def _parts(layer) -> list[keras.layers.Layer]:
    return private_keras.flatten_layers(layer, include_self=False, recursive=False)
