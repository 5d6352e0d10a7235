"""The deployment form of a model: batch norms folded into the convolutions before them."""

from __future__ import annotations

import keras
import numpy as np

# Keras has no public test for a functional model.
from keras.src.models.functional import Functional

from keras_mg.layers import ConvNormActivation, IGCBlock, TransposedConvNormActivation
from keras_mg.layers.norm_activation import folded_norms

# The layers whose batch norm directly follows a convolution.
UNITS = (ConvNormActivation, TransposedConvNormActivation, IGCBlock)


@keras.saving.register_keras_serializable(package="keras_mg")
class Deployed(keras.layers.Layer):
    """A layer of `keras_mg.layers` without those batch norms that follow a convolution.

    Made by `keras_mg.deploy`, which gives its convolutions the arithmetic of the batch norms.

    Args:
        layer: an unbuilt layer of `keras_mg.layers`.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        The layer's.

    Output shape:
        The layer's.

    Raises:
        ValueError: if the layer is built already.

    Example:
        >>> import keras_mg, numpy as np
        >>> from keras_mg.models import Deployed
        >>> layer = Deployed(keras_mg.layers.ConvNormActivation(4, data_format="channels_last"))
        >>> tuple(layer(np.ones((1, 8, 8, 3), "float32")).shape)
        (1, 8, 8, 4)
        >>> [w.name for w in layer.weights]
        ['kernel', 'bias']
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs):
        super().__init__(**kwargs)
        if layer.built:
            raise ValueError(f"layer must not be built. Received: layer={layer.name!r}, built")
        self.layer = layer

    def build(self, input_shape):
        with folded_norms():
            self.layer.build(input_shape)
        self.layer.built = True

    def call(self, inputs):
        return self.layer(inputs, training=False)

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        layer.pop("build_config", None)  # it is built here, inside `folded_norms`
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**{**config, "layer": layer})


def _sublayers(layer) -> list[keras.layers.Layer]:
    """`layer` and all that it holds, in the order in which they were made."""
    return list(layer._flatten_layers(include_self=True, recursive=True))


def _holds_units(layer) -> bool:
    return any(isinstance(sub, UNITS) for sub in _sublayers(layer))


def _array(variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), "float64")


def _affine(norm) -> tuple[np.ndarray, np.ndarray]:
    """The scale and shift per channel that a batch norm is in inference."""
    scale = _array(norm.gamma) / np.sqrt(_array(norm.moving_variance) + norm.epsilon)
    return scale, _array(norm.beta) - _array(norm.moving_mean) * scale


def _fold(source, target, scale, shift, axis: int) -> None:
    """Give `target` the kernel and bias of convolution `source` followed by that affine map."""
    shape = [1] * 4
    shape[axis] = -1
    if source.bias is not None:
        shift = shift + _array(source.bias) * scale
    target.kernel.assign(_array(source.kernel) * scale.reshape(shape))
    target.bias.assign(shift)


def _transfer(source, target) -> None:
    """Give `target`, built inside `folded_norms`, the arithmetic of `source`."""
    done: set[int] = set()
    for old, new in zip(_sublayers(source), _sublayers(target), strict=True):
        if id(old) in done:
            continue
        if isinstance(old, ConvNormActivation) and new.gamma is None:
            _fold(old, new, *_affine(old), axis=3)
        elif isinstance(old, TransposedConvNormActivation):
            _fold(old, new, *_affine(old), axis=2)
        elif isinstance(old, IGCBlock):
            scale, shift = _affine(old.norm)
            # Between convolution and batch norm, channels are reordered: the batch norm's channel i
            # is the convolution's channel moved[i].
            moved = np.arange(old.filters).reshape(old.secondary_partitions, -1).T.ravel()
            order = np.argsort(moved)
            _fold(old.secondary, new.secondary, scale[order], shift[order], axis=3)
            done |= {id(old.secondary), id(old.norm)}
        else:
            own, given = _own_variables(new), _own_variables(old)
            for variable, value in zip(own, given, strict=True):
                variable.assign(value)


def _own_variables(layer) -> list:
    """The variables that `layer` holds itself, not through sublayers."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _copy(layer):
    """An unbuilt layer of the same configuration, in deployment form where it has one."""
    copy = layer.__class__.from_config(layer.get_config())
    if not _holds_units(layer):
        return copy
    return Deployed(copy, name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable)


def deploy(model: keras.Model) -> keras.Model:
    """The model in the form for deployment: as few operations as its arithmetic needs.

    A batch norm in inference is an affine map per channel. Where it directly follows a convolution,
    `gamma * (k * x + b - mean) / sqrt(variance + epsilon) + beta`, it becomes part of the kernel
    and the bias. Batch norms elsewhere stay.

    Args:
        model: a functional model of layers from `keras_mg.layers` and others, built; it is not
            changed.

    Returns:
        A functional model of the same inputs, outputs and layer names, for inference: outputs are
        equal up to rounding. None of its weights is trainable, so that a compiled `predict` on a
        CPU makes constants of them. It is saved and loaded as any Keras model is.

    Raises:
        ValueError: if the model is not functional.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.MgNet((1, 1), filters=8, classes=10)
        >>> deployed = keras_mg.deploy(model)
        >>> deployed.count_params() < model.count_params()
        True
    """
    if not _graph(model):
        raise ValueError(f"deploy needs a functional model. Received: model={model!r}")
    deployed = keras.models.clone_model(model, clone_function=_copy_or_recurse)
    for source, target in zip(model.layers, deployed.layers, strict=True):
        if isinstance(target, Deployed):
            _transfer(source, target.layer)
        elif source.weights and not _graph(source):
            target.set_weights(source.get_weights())
    deployed.trainable = False
    return deployed


def _copy_or_recurse(layer):
    return deploy(layer) if _graph(layer) else _copy(layer)


def _graph(model) -> bool:
    """Whether `model` is made of a graph of layers."""
    return isinstance(model, (Functional, keras.Sequential))
