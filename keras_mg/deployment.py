"""The deployment form of a model: batch norms folded into the convolutions before them."""

from __future__ import annotations

from collections import Counter

import keras

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras
from keras_mg.layers.folding import fold_norm
from keras_mg.layers.protocols import stated


@keras.saving.register_keras_serializable(package="keras_mg")
class Deployed(keras.layers.Layer):
    """A layer in its form for deployment: without the batch norms that follow a convolution.

    Made by `keras_mg.deploy`, which gives its convolutions the arithmetic of the batch norms.

    Args:
        layer: an unbuilt layer that has such a form (see `keras_mg.layers.protocols`).
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Input shape:
        The layer's.

    Output shape:
        The layer's.

    Raises:
        ValueError: if the layer is built already.

    Example:
        >>> import keras_mg, numpy as np
        >>> from keras_mg.deployment import Deployed
        >>> layer = Deployed(keras_mg.layers.ConvNormActivation(4, data_format="channels_last"))
        >>> tuple(layer(np.ones((1, 8, 8, 3), "float32")).shape)
        (1, 8, 8, 4)
        >>> [w.name for w in layer.weights]
        ['kernel', 'bias']
    """

    hands_on_to = "layer"

    def __init__(self, layer: keras.layers.Layer, **kwargs):
        super().__init__(**kwargs)
        if layer.built:
            raise ValueError(f"layer must not be built. Received: layer={layer.name!r}, built")
        self.layer = layer

    def build(self, input_shape):
        self.layer.folded = True
        self.layer.build(input_shape)
        self.layer.built = True

    def call(self, inputs):
        return self.layer(inputs, training=False)

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(self, inputs):
        # A layer need not know its output's shape: Keras then traces its call.
        return self.layer.compute_output_spec(inputs)

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        layer.pop("build_config", None)  # which knows nothing of `folded`
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**{**config, "layer": layer})


def _stock_norms(model) -> dict:
    """Keras's own batch norms that can be folded, by the Keras convolution before each."""
    graph = private_keras.graph_of(model) if isinstance(model, keras.Sequential) else model
    if graph is None:  # a Sequential whose layers tell no shapes
        return {}
    nodes = private_keras.nodes(graph)
    calls = Counter(node.operation for node in nodes)
    uses = Counter(id(x) for x in graph.outputs)
    uses.update(id(x) for node in nodes for x in node.input_tensors)
    norms = {}
    for node in nodes:
        norm = node.operation
        if type(norm) is not keras.layers.BatchNormalization or len(node.input_tensors) != 1:
            continue
        x = node.input_tensors[0]
        conv = private_keras.maker(x)
        if calls[conv] == calls[norm] == uses[id(x)] == 1 and _can_fold(conv, norm):
            norms[conv] = norm
    return norms


def _can_fold(conv, norm) -> bool:
    """Whether Keras's batch norm `norm` is arithmetic of `conv`, the layer before it."""
    return (
        type(conv) is keras.layers.Conv2D
        and conv.activation is keras.activations.linear
        and norm.axis in ((1, -3) if conv.data_format == "channels_first" else (3, -1))
        and norm.dtype_policy == conv.dtype_policy
        and not (conv.activity_regularizer or norm.activity_regularizer or conv.lora_enabled)
    )


def _copy(layer, norms: dict):
    """An unbuilt layer of the same configuration, in deployment form where it has one."""
    if _is_graph(layer):
        return deploy(layer)
    if layer in norms.values():
        # By its name, for Keras saves no policy of an identity.
        return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy.name)
    config = layer.get_config()
    copy = layer.__class__.from_config({**config, "use_bias": True} if layer in norms else config)
    if stated(layer, "fold") is None:
        return copy
    return Deployed(copy, name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable)


def _call(layer, *args, **kwargs):
    # A batch norm is called with a mask, which the identity in its place does not take.
    if type(layer) is keras.layers.Identity:
        kwargs = {name: value for name, value in kwargs.items() if name == "inputs"}
    return layer(*args, **kwargs)


def _clone(model, norms: dict):
    def copy(layer):
        return _copy(layer, norms)

    if isinstance(model, keras.Sequential):
        return keras.models.clone_model(model, clone_function=copy)
    # Left to itself, Keras names an input layer after its tensor.
    inputs = keras.tree.map_structure(
        lambda x: keras.layers.InputLayer.from_config(private_keras.maker(x).get_config()).output,
        model.input,
    )
    return keras.models.clone_model(model, inputs, clone_function=copy, call_function=_call)


def deploy(model: keras.Model) -> keras.Model:
    """The model in the form for deployment: as few operations as its arithmetic needs.

    A batch norm in inference is an affine map per channel. Where it directly follows a convolution,
    `gamma * (k * x + b - mean) / sqrt(variance + epsilon) + beta`, it becomes part of the kernel
    and the bias. That is done

    - inside the layers of `keras_mg.layers`, and of layers of yours that say how
      (`keras_mg.layers.protocols`);
    - for a `keras.layers.BatchNormalization` over the channels of a `keras.layers.Conv2D` without
      activation, if nothing else uses the convolution's output, each of the two is called once in
      its model, they have the same dtype policy and no activity regularizer, and the convolution
      no LoRA. A `keras.layers.Identity` takes the batch norm's place.

    Models inside the model are deployed too, each by itself. Everything else is copied as it is,
    with its batch norms: layers that do not say how, subclasses of those that do and do not say so
    anew, and what they hold (so also `keras.layers.TimeDistributed`), other convolutions of Keras,
    and what is deployed already.

    Args:
        model: a functional or sequential model of layers from `keras_mg.layers` and others, built;
            it is not changed.

    Returns:
        A model of the same inputs, outputs and layer names, for inference: outputs are equal up to
        rounding in the layers' dtypes. None of its weights is trainable, so that a compiled
        `predict` on a CPU makes constants of them, and that its batch norms use their moving
        statistics even where a layer was called with `training=True`. It is saved and loaded as any
        Keras model is.

    Raises:
        RuntimeError: with a Keras that this package does not know.
        ValueError: if the model is neither functional nor sequential, or is not built.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.MgNet((1, 1), filters=8, classes=10)
        >>> deployed = keras_mg.deploy(model)
        >>> deployed.count_params() < model.count_params()
        True
    """
    if missing(Feature.DEPLOY):
        raise RuntimeError(
            f"deploy cannot be had with Keras {keras.__version__}, which does not have "
            f"{', '.join(missing(Feature.DEPLOY))}."
        )
    if not _is_graph(model):
        raise ValueError(f"deploy needs a functional model. Received: model={model!r}")
    if not model.built:
        raise ValueError(f"deploy needs a built model. Received: model={model!r}")
    norms = _stock_norms(model)
    # How it was trained, Keras would copy, too.
    compiled, model.compiled = model.compiled, False
    try:
        deployed = _clone(model, norms)
    finally:
        model.compiled = compiled
    for source, target in zip(model.layers, deployed.layers, strict=True):
        if source in norms:
            fold_norm(target, source, norms[source])
        elif isinstance(target, Deployed) and not isinstance(source, Deployed):
            target.layer.fold(source)
        elif source.weights and not _is_graph(source) and source not in norms.values():
            target.set_weights(source.get_weights())
    deployed.trainable = False
    return deployed


def _is_graph(model) -> bool:
    """Whether `model` is made of a graph of layers."""
    return isinstance(model, (private_keras.Functional, keras.Sequential))
