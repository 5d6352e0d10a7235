"""What all constructors share: the input, the head, the model and its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from keras_mg.layers import arguments
from keras_mg.layers.initializers import torch_uniform
from keras_mg.training import Model
from keras_mg.weights import load

POOLINGS = (None, "avg", "max")

# A trunk takes the image and the arguments that every layer gets (`data_format`, `dtype`) and
# gives the deepest feature map of each level; level l has 2**-l of the image's side.
Trunk = Callable[[keras.KerasTensor, dict[str, Any]], Mapping[int, keras.KerasTensor]]


def layer_arguments(data_format: str | None, dtype) -> dict[str, Any]:
    """The arguments that every layer of a network gets."""
    return {
        "data_format": arguments.standardize_data_format(data_format),
        "dtype": keras.dtype_policies.get(dtype),
    }


def image_input(
    input_tensor,
    input_shape,
    default_shape,
    include_top: bool,
    data_format: str,
    smallest_side: int = 1,
):
    """The image tensor of a network.

    Args:
        input_tensor: a tensor from the caller, or None.
        input_shape: a shape from the caller, or None.
        default_shape: `(height, width, channels)` of the published network.
        include_top: whether the network has its classifier; a trunk takes images of any side.
        data_format: the layers' data format.
        smallest_side: what the image's sides must be at least, in pixels.

    Returns:
        A Keras tensor of rank 4.
    """
    if input_tensor is not None and not keras.backend.is_keras_tensor(input_tensor):
        raise ValueError(
            "input_tensor must be a Keras tensor, such as `keras.Input` or a layer called on one "
            f"gives. Received: input_tensor of type {type(input_tensor).__name__}"
        )
    given = None if input_tensor is None else tuple(input_tensor.shape)[1:]
    if input_shape is None and given is not None:
        shape = given
    elif input_shape is None:
        height, width, channels = default_shape if include_top else (None, None, default_shape[2])
        shape = arguments.make_shape(None, height, width, channels, data_format)[1:]
    else:
        shape = input_shape
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(
            f"input_shape must be a tuple of three, {data_format} without the batch axis. "
            f"Received: input_shape={shape!r}"
        )
    shape = tuple(shape)
    for size in shape:
        if size is not None:
            arguments.positive_int("each size in input_shape", size)
    if given is not None and not _agree(shape, given):
        raise ValueError(
            "input_shape and input_tensor must agree. "
            f"Received: input_shape={shape}, input_tensor of shape {tuple(input_tensor.shape)}"
        )
    height, width, channels = (shape[axis - 1] for axis in arguments.axes(data_format))
    if channels is None:
        raise ValueError(
            "input_shape must give the number of channels "
            f"(data_format={data_format!r}). Received: input_shape={shape!r}"
        )
    for side in (height, width):
        if side is not None and side < smallest_side:
            raise ValueError(
                "the image is too small for this network: its sides must be at least "
                f"{smallest_side} pixels. Received: input_shape={shape} "
                f"(data_format={data_format!r})"
            )
    return keras.Input(shape, name="image") if input_tensor is None else input_tensor


def _agree(shape, other) -> bool:
    """Whether two shapes can be one: equal wherever both are known."""
    return len(shape) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(shape, other, strict=True)
    )


def classifier_layer(classes: int, activation, features: int, zero_bias: bool, policy):
    """The fully connected classifier, initialised as Torch initialises `nn.Linear`.

    Args:
        classes: the number of classes.
        activation: as the constructors take it.
        features: the number of inputs.
        zero_bias: whether the bias starts at zero rather than as the kernel does.
        policy: dtype policy of the network.
    """
    bound = features**-0.5
    return keras.layers.Dense(
        arguments.positive_int("classes", classes),
        activation=activation,
        kernel_initializer=torch_uniform(),
        bias_initializer=(
            "zeros" if zero_bias else keras.initializers.RandomUniform(-bound, bound)
        ),
        dtype=output_dtype(policy, "predictions"),
        name="predictions",
    )


def output_dtype(policy, name: str):
    """The dtype of the last layer: what a `DTypePolicyMap` says of `name`, or the variables'.

    A softmax over half-precision logits loses accuracy.
    """
    if isinstance(policy, keras.dtype_policies.DTypePolicyMap):
        own = policy[name]
        if own is not policy.default_policy:
            return own
    return policy.variable_dtype


def check_outputs(include_top: bool, pooling: str | None, pyramid_outputs: bool) -> None:
    """Raise for settings of the output that exclude each other."""
    arguments.one_of("pooling", pooling, POOLINGS)
    if pyramid_outputs and (include_top or pooling):
        raise ValueError(
            "pyramid_outputs=True needs include_top=False and pooling=None: its outputs are "
            "feature maps. "
            f"Received: include_top={include_top}, pooling={pooling!r}"
        )


def features(levels: Mapping[int, keras.KerasTensor], x, pooling, pyramid_outputs, common):
    """The output of a network without its top.

    Args:
        levels: the deepest feature map of each level.
        x: the feature map that the top reads.
        pooling: None, "avg" or "max", as the constructors take it.
        pyramid_outputs: whether the output is the dict of `levels`.
        common: `data_format` and `dtype` of the layers.
    """
    if pyramid_outputs:
        return {f"P{level}": levels[level] for level in sorted(levels)}
    if pooling == "avg":
        return keras.layers.GlobalAveragePooling2D(name="avg_pool", **common)(x)
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D(name="max_pool", **common)(x)
    return x


@contextmanager
def swapped_axes_explained(input_shape, channels: int, data_format: str) -> Iterator[None]:
    """Say of a refused image that its channels stand where the other data format has them."""
    try:
        yield
    except ValueError as error:
        if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
            raise
        here, there = (-1, 0) if data_format == "channels_last" else (0, -1)
        if input_shape[there] != channels or input_shape[here] == channels:
            raise
        other = "channels_first" if data_format == "channels_last" else "channels_last"
        raise ValueError(
            f"input_shape={tuple(input_shape)} looks like {other}, but data_format is "
            f"{data_format!r}. Pass data_format={other!r}, or the shape in the other order."
        ) from error


def make_model(
    images, outputs, input_tensor, name: str, network: str, weights, skip_mismatch: bool, policy
) -> Model:
    """The model from the caller's inputs to `outputs`, with its weights loaded."""
    inputs = images if input_tensor is None else keras.utils.get_source_inputs(images)
    if isinstance(inputs, list) and len(inputs) == 1:
        inputs = inputs[0]
    model = Model(inputs, outputs, name=name)
    # `compile` asks the model, not its layers, whether the loss has to be scaled.
    is_map = isinstance(policy, keras.dtype_policies.DTypePolicyMap)
    model.dtype_policy = policy.default_policy if is_map else policy
    if weights is not None:
        load(model, weights, network=network, skip_mismatch=skip_mismatch)
    return model


def classifier(
    network: str,
    trunk: Trunk,
    image: tuple[int, int, int],
    zero_bias: bool,
    smallest_side: int = 1,
    *,
    top: Callable | None = None,
    include_top: bool,
    weights,
    input_tensor,
    input_shape,
    pooling: str | None,
    classes: int,
    classifier_activation,
    name: str,
    skip_mismatch: bool,
    pyramid_outputs: bool,
    data_format: str | None,
    dtype,
) -> Model:
    """Build a classifier, or its trunk as a feature extractor.

    Args:
        network: the constructor's name, under which weights are registered.
        trunk: makes the feature maps; the classifier reads the coarsest.
        image: `(height, width, channels)` of the published network's image.
        zero_bias: whether the classifier's bias starts at zero rather than uniformly.
        smallest_side: what the image's sides must be at least, in pixels.
        top: makes the output, called with the trunk's feature maps, `classes`,
            `classifier_activation` and the arguments of every layer; None is the classifier.
        include_top: this and the following as every constructor takes them.
        weights: likewise.
        input_tensor: likewise.
        input_shape: likewise.
        pooling: likewise.
        classes: likewise.
        classifier_activation: likewise.
        name: likewise.
        skip_mismatch: likewise.
        pyramid_outputs: likewise.
        data_format: likewise.
        dtype: likewise.
    """
    common = layer_arguments(data_format, dtype)
    check_outputs(include_top, pooling, pyramid_outputs)
    with swapped_axes_explained(input_shape, image[2], common["data_format"]):
        images = image_input(
            input_tensor, input_shape, image, include_top, common["data_format"], smallest_side
        )
        levels = trunk(images, common)
    x = levels[max(levels)]
    if include_top and top is not None:
        outputs = top(levels, classes, classifier_activation, common)
    elif include_top:
        width = arguments.channels(tuple(x.shape), common["data_format"], network)
        head = classifier_layer(classes, classifier_activation, width, zero_bias, common["dtype"])
        outputs = head(features(levels, x, "avg", False, common))
    else:
        outputs = features(levels, x, pooling, pyramid_outputs, common)
    return make_model(
        images, outputs, input_tensor, name, network, weights, skip_mismatch, common["dtype"]
    )
