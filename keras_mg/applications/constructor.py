"""What all constructors share: their signature, the input, the head and the weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import keras

from keras_mg.layers import arguments
from keras_mg.layers.initializers import torch_uniform
from keras_mg.weights import load

POOLINGS = (None, "avg", "max")

# A trunk takes the image and the arguments that every layer gets (`data_format`, `dtype`) and
# gives the deepest feature map of each level; level l has 2**-l of the image's side.
Trunk = Callable[[keras.KerasTensor, dict[str, Any]], Mapping[int, keras.KerasTensor]]


ARGUMENTS = """
    Args:
        include_top: bool, whether the network ends in its classifier. Defaults to True.
        weights: None (random initialisation), the tag of published weights, or the path of a
            `.weights.h5` or `.keras` file. Defaults to None.
        input_tensor: Keras tensor to use as the image input, or None. Defaults to None.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; a side may
            be None. Defaults to {default}, without the top to sides of None.
        pooling: without the top: None gives the last feature map, "avg" and "max" its global
            average or maximum. Defaults to None.
        classes: int, number of classes. Defaults to {classes}.
        classifier_activation: activation of the classifier; None gives logits. Defaults to
            "softmax".
        name: str, name of the model. Defaults to "{name}".
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        dtype: dtype or dtype policy of the layers ("mixed_bfloat16", ...) or None for Keras's
            global policy. The classifier itself computes in the policy's variable dtype.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the
            network, or if the weights are of another network.
"""


def layer_arguments(data_format: str | None, dtype) -> dict[str, Any]:
    """The arguments that every layer of a network gets."""
    return {
        "data_format": arguments.standardize_data_format(data_format),
        "dtype": keras.dtype_policies.get(dtype),
    }


def image_input(input_tensor, input_shape, default_shape, include_top: bool, data_format: str):
    """The image tensor of a network.

    Args:
        input_tensor: a tensor from the caller, or None.
        input_shape: a shape from the caller, or None.
        default_shape: `(height, width, channels)` of the published network.
        include_top: whether the network has its classifier; a trunk takes images of any side.
        data_format: the layers' data format.

    Returns:
        A Keras tensor of rank 4.
    """
    height, width, channels = default_shape
    if input_shape is None:
        sides = (height, width) if include_top else (None, None)
        input_shape = arguments.make_shape(None, *sides, channels, data_format)[1:]
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ValueError(
            f"input_shape must be a tuple of three, {data_format} without the batch axis. "
            f"Received: input_shape={input_shape!r}"
        )
    input_shape = tuple(input_shape)
    if input_shape[-1 if data_format == "channels_last" else 0] is None:
        raise ValueError(
            "input_shape must give the number of channels "
            f"(data_format={data_format!r}). Received: input_shape={input_shape!r}"
        )
    for size in input_shape:
        if size is not None:
            arguments.positive_int("each size in input_shape", size)
    if input_tensor is None:
        return keras.Input(input_shape, name="image")
    if keras.backend.is_keras_tensor(input_tensor):
        return input_tensor
    return keras.Input(tensor=input_tensor, shape=input_shape, name="image")


def classifier_layer(classes: int, activation, features: int, zero_bias: bool, dtype):
    """The fully connected classifier, initialised as Torch initialises `nn.Linear`.

    It computes in the variable dtype: a softmax over half-precision logits loses accuracy.
    """
    bound = features**-0.5
    return keras.layers.Dense(
        arguments.positive_int("classes", classes),
        activation=activation,
        kernel_initializer=torch_uniform(),
        bias_initializer=(
            "zeros" if zero_bias else keras.initializers.RandomUniform(-bound, bound)
        ),
        dtype=dtype.variable_dtype,
        name="predictions",
    )


def make_model(images, outputs, input_tensor, name: str, network: str, weights, **loading):
    """The model from the caller's inputs to `outputs`, with its weights loaded."""
    inputs = images if input_tensor is None else keras.utils.get_source_inputs(images)
    if isinstance(inputs, list) and len(inputs) == 1:
        inputs = inputs[0]
    model = keras.Model(inputs, outputs, name=name)
    if weights is not None:
        load(model, weights, network=network, **loading)
    return model


class Classifier(Protocol):
    """The signature of the constructors of image classifiers."""

    __name__: str

    def __call__(
        self,
        include_top: bool = True,
        weights: str | os.PathLike | None = None,
        input_tensor: Any = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = ...,
        classifier_activation: str | Callable | None = "softmax",
        name: str | None = None,
        *,
        data_format: str | None = None,
        dtype: Any = None,
    ) -> keras.Model: ...


def classifier_constructor(
    name: str,
    summary: str,
    trunk: Trunk,
    *,
    default_shape: tuple[int, int, int],
    classes: int,
    module: str,
    zero_bias: bool = True,
) -> Classifier:
    """Make the constructor of one published classifier, the form that a table row takes.

    Args:
        name: the constructor's name, under which weights are registered, too.
        summary: the head of its docstring: what the network is and what its image must be.
        trunk: makes the feature maps.
        default_shape: `(height, width, channels)` of the published network's image.
        classes: the default number of classes.
        module: the name of the family's module.
        zero_bias: whether the classifier's bias starts at zero rather than uniformly.

    Returns:
        A function with the signature of `Classifier`.
    """
    default_classes = classes

    def construct(
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=default_classes,
        classifier_activation="softmax",
        name=default_name(name),
        *,
        data_format=None,
        dtype=None,
    ):
        return classifier(
            construct.__name__,
            trunk,
            default_shape,
            include_top=include_top,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            name=name,
            data_format=data_format,
            dtype=dtype,
            zero_bias=zero_bias,
        )

    construct.__name__ = construct.__qualname__ = name
    construct.__module__ = module
    construct.__doc__ = summary.rstrip() + "\n" + ARGUMENTS.format(
        default=default_shape, classes=classes, name=default_name(name)
    )
    return construct


def default_name(constructor_name: str) -> str:
    """The default name of a constructor's model: its own in lower case."""
    return constructor_name.lower()


def classifier(
    network: str,
    trunk: Trunk,
    default_shape: tuple[int, int, int],
    *,
    include_top: bool,
    weights,
    input_tensor,
    input_shape,
    pooling: str | None,
    classes: int,
    classifier_activation,
    name: str,
    data_format: str | None,
    dtype,
    zero_bias: bool,
) -> keras.Model:
    """Build a classifier, or its trunk as a feature extractor.

    Args:
        network: the constructor's name, under which weights are registered.
        trunk: makes the feature maps.
        default_shape: `(height, width, channels)` of the published network's image.
        zero_bias: whether the classifier's bias starts at zero rather than uniformly.

    The other arguments are those of the constructors.
    """
    common = layer_arguments(data_format, dtype)
    data_format = common["data_format"]
    arguments.one_of("pooling", pooling, POOLINGS)
    images = image_input(input_tensor, input_shape, default_shape, include_top, data_format)
    levels = trunk(images, common)
    x = levels[max(levels)]
    pooled = {**common, "name": f"{'max' if pooling == 'max' else 'avg'}_pool"}
    if include_top:
        features = arguments.channels(tuple(x.shape), data_format, network)
        x = keras.layers.GlobalAveragePooling2D(**{**pooled, "name": "avg_pool"})(x)
        head = classifier_layer(
            classes, classifier_activation, features, zero_bias, common["dtype"]
        )
        x = head(x)
    elif pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(**pooled)(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(**pooled)(x)
    return make_model(images, x, input_tensor, name, network, weights)
