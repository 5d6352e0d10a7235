"""Batch norm with an activation: the variables and the arithmetic that units share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras

from keras_mg import ops
from keras_mg.layers import arguments

_folds_norms: ContextVar[bool] = ContextVar("folds_norms", default=False)


@contextmanager
def folded_norms(folded: bool = True) -> Iterator[None]:
    """Units that are built inside have no batch norm: their convolution does its arithmetic.

    Args:
        folded: False for units in which it cannot.
    """
    token = _folds_norms.set(folded)
    try:
        yield
    finally:
        _folds_norms.reset(token)


def norms_are_folded() -> bool:
    """Whether this is inside `folded_norms`."""
    return _folds_norms.get()


def add_norm_weights(layer, channels: int, convolution=None) -> None:
    """Give `layer` the four variables of a batch norm over `channels` channels.

    Inside `folded_norms`, a batch norm that directly follows a convolution becomes its bias.

    Args:
        layer: whose batch norm it is.
        channels: their number.
        convolution: the layer with the convolution before it, or None.
    """
    if convolution is not None and norms_are_folded():
        layer.gamma = None
        if convolution.bias is None:
            convolution.bias = convolution.add_weight(
                name="bias", shape=(channels,), initializer="zeros"
            )
        return
    # Statistics in half precision would drift: these four stay in the variable dtype.
    norm = {"shape": (channels,), "autocast": False}
    layer.gamma = layer.add_weight(name="gamma", initializer=layer.gamma_initializer, **norm)
    layer.beta = layer.add_weight(name="beta", initializer=layer.beta_initializer, **norm)
    layer.moving_mean = layer.add_weight(
        name="moving_mean", initializer="zeros", trainable=False, **norm
    )
    layer.moving_variance = layer.add_weight(
        name="moving_variance",
        initializer=layer.moving_variance_initializer,
        trainable=False,
        **norm,
    )


def normalize(layer, x, training, residual=None):
    """Batch norm, an optional sum and the activation of `layer`, on native tensors.

    `residual` is added between batch norm and activation; where it has fewer channels than `x`,
    the rest of it counts as zero.
    """
    data_format = ops.native_format(layer.data_format)
    # `trainable` is the unit's own, so layers make their units with `trainable=self.trainable`:
    # Keras hands it down when it is set, not to units that are made later.
    y = x
    if layer.gamma is not None:
        y = ops.batch_norm(
            x,
            layer.gamma,
            layer.beta,
            layer.moving_mean,
            layer.moving_variance,
            bool(training) and layer.trainable,
            layer.momentum,
            layer.epsilon,
            data_format,
        )
    if residual is not None:
        y = ops.add_channels(y, residual, data_format)
    if layer.activation is keras.activations.relu:
        return ops.relu(y)
    return layer.activation(y)


@keras.saving.register_keras_serializable(package="keras_mg")
class NormActivation(keras.layers.Layer):
    r"""Batch norm and activation.

    `y = activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta)`, per channel.

    In training, `mean` and `variance` are the batch's; the moving variance takes the unbiased
    batch variance, as Torch and PyTorch do. A frozen layer (`trainable = False`) uses the moving
    statistics.

    Args:
        activation: element-wise Keras activation, or None for none. Defaults to "relu".
        momentum: float, share of the old moving statistics that a step keeps. Defaults to 0.9.
        epsilon: float, added to the variance. Defaults to 1e-5.
        beta_initializer: Keras initializer of the shift. Defaults to "zeros".
        gamma_initializer: Keras initializer of the scale. Defaults to "ones".
        moving_variance_initializer: Keras initializer of the moving variance. Defaults to
            "ones".
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `channels_first`.

    Output shape:
        The input's.

    Raises:
        ValueError: if an argument is not of its kind or the input is not 4D.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mg.layers import NormActivation
        >>> layer = NormActivation(data_format="channels_last")
        >>> tuple(layer(np.ones((2, 8, 8, 3), "float32")).shape)
        (2, 8, 8, 3)

    Reference:
        - [Batch Normalization, Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167)
    """

    def __init__(
        self,
        activation: str | None = "relu",
        momentum: float = arguments.MOMENTUM,
        epsilon: float = arguments.EPSILON,
        beta_initializer="zeros",
        gamma_initializer="ones",
        moving_variance_initializer="ones",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.activation = arguments.elementwise_activation(activation)
        self.momentum = arguments.fraction("momentum", momentum)
        self.epsilon = arguments.not_negative("epsilon", epsilon)
        self.beta_initializer = arguments.initializer(beta_initializer)
        self.gamma_initializer = arguments.initializer(gamma_initializer)
        self.moving_variance_initializer = arguments.initializer(moving_variance_initializer)
        self.data_format = arguments.standardize_data_format(data_format)

    def build(self, input_shape):
        channels = arguments.channels(tuple(input_shape), self.data_format, self.name)
        self.input_spec = arguments.input_spec(channels, self.data_format)
        add_norm_weights(self, channels)

    def run(self, x, training, residual=None):
        """The layer on a native tensor: what layers that hold units call."""
        return normalize(self, x, training, residual)

    def call(self, inputs, training=None):
        x = ops.to_native(inputs, self.data_format)
        return ops.from_native(self.run(x, training), self.data_format)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "beta_initializer": keras.initializers.serialize(self.beta_initializer),
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "moving_variance_initializer": keras.initializers.serialize(
                self.moving_variance_initializer
            ),
            "data_format": self.data_format,
        }
