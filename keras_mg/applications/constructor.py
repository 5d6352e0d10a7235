"""What all constructors share: their signature, the input, the head and the weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import keras

from keras_mg.applications.signatures import Option, as_constructor, entries, extended_signature
from keras_mg.layers import arguments
from keras_mg.layers.initializers import torch_uniform
from keras_mg.training import Model
from keras_mg.weights import load

POOLINGS = (None, "avg", "max")

# A trunk takes the image and the arguments that every layer gets (`data_format`, `dtype`) and
# gives the deepest feature map of each level; level l has 2**-l of the image's side.
Trunk = Callable[[keras.KerasTensor, dict[str, Any]], Mapping[int, keras.KerasTensor]]


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
        name: str = ...,
        *,
        skip_mismatch: bool = False,
        pyramid_outputs: bool = False,
        data_format: str | None = None,
        dtype: Any = None,
        **options: Any,
    ) -> keras.Model: ...


_ARGUMENTS = """
    Args:
{leading}        include_top: bool, whether the network ends in its classifier. Defaults to True.
        weights: None (random initialisation), the tag of published weights (`weights_info` lists
            them), or the path or address of a weights file of any format that
            `keras_mg.weights.load` reads. Defaults to None.
        input_tensor: Keras tensor to use as the image input, or None. Defaults to None.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; a side may
            be None. Defaults to {shape}, without the top to sides of None.
        pooling: without the top: None gives the last feature map, "avg" and "max" its global
            average or maximum. Defaults to None.
        classes: int, number of classes. Defaults to {classes}.
        classifier_activation: activation of the classifier; None gives logits. Defaults to
            "softmax".
        name: str, name of the model. Defaults to "{name}".
        skip_mismatch: bool, whether layers that do not fit the weights file keep their own
            weights, with a warning, instead of raising: for a new classifier on a whole network.
            Defaults to False.
        pyramid_outputs: bool, without the top: whether the output is a dict with the deepest
            feature map of each resolution, "P2" at a quarter of the image's side, "P3" at an
            eighth and so on. Defaults to False.
{options}        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        dtype: dtype or dtype policy of the layers ("mixed_bfloat16", ...) or None for Keras's
            global policy. The classifier itself computes in the policy's variable dtype.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the
            network, or if the weights are of another network.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.{call}

    Reference:
        - {reference}
    """


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


def classifier_layer(
    classes: int, activation, features: int, zero_bias: bool, kernel_initializer, dtype
):
    """The fully connected classifier, by default initialised as Torch initialises `nn.Linear`.

    It computes in the variable dtype: a softmax over half-precision logits loses accuracy.
    """
    bound = features**-0.5
    return keras.layers.Dense(
        arguments.positive_int("classes", classes),
        activation=activation,
        kernel_initializer=kernel_initializer or torch_uniform(),
        bias_initializer=(
            "zeros" if zero_bias else keras.initializers.RandomUniform(-bound, bound)
        ),
        dtype=dtype.variable_dtype,
        name="predictions",
    )


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


def make_model(
    images, outputs, input_tensor, name: str, network: str, weights, skip_mismatch: bool
) -> keras.Model:
    """The model from the caller's inputs to `outputs`, with its weights loaded."""
    inputs = images if input_tensor is None else keras.utils.get_source_inputs(images)
    if isinstance(inputs, list) and len(inputs) == 1:
        inputs = inputs[0]
    model = Model(inputs, outputs, name=name)
    if weights is not None:
        load(model, weights, network=network, skip_mismatch=skip_mismatch)
    return model


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
    skip_mismatch: bool,
    pyramid_outputs: bool,
    data_format: str | None,
    dtype,
    zero_bias: bool,
    head_initializer=None,
    smallest_side: int = 1,
) -> keras.Model:
    """Build a classifier, or its trunk as a feature extractor.

    Args:
        network: the constructor's name, under which weights are registered.
        trunk: makes the feature maps; the classifier reads the coarsest.
        default_shape: `(height, width, channels)` of the published network's image.
        include_top: as the constructors take it, and so on to `dtype`.
        weights: see `Classifier`.
        input_tensor: see `Classifier`.
        input_shape: see `Classifier`.
        pooling: see `Classifier`.
        classes: see `Classifier`.
        classifier_activation: see `Classifier`.
        name: see `Classifier`.
        skip_mismatch: see `Classifier`.
        pyramid_outputs: see `Classifier`.
        data_format: see `Classifier`.
        dtype: see `Classifier`.
        zero_bias: whether the classifier's bias starts at zero rather than uniformly.
        head_initializer: of the classifier's kernel; None for Torch's default.
        smallest_side: what the image's sides must be at least, in pixels.

    Returns:
        The model.
    """
    common = layer_arguments(data_format, dtype)
    data_format = common["data_format"]
    check_outputs(include_top, pooling, pyramid_outputs)
    images = image_input(
        input_tensor, input_shape, default_shape, include_top, data_format, smallest_side
    )
    levels = trunk(images, common)
    x = levels[max(levels)]
    if include_top:
        width = arguments.channels(tuple(x.shape), data_format, network)
        head = classifier_layer(
            classes, classifier_activation, width, zero_bias, head_initializer, common["dtype"]
        )
        outputs = head(features(levels, x, "avg", False, common))
    else:
        outputs = features(levels, x, pooling, pyramid_outputs, common)
    return make_model(images, outputs, input_tensor, name, network, weights, skip_mismatch)


def classifier_constructor(
    name: str,
    summary: str,
    make_trunk: Callable[..., Trunk],
    *,
    default_shape: tuple[int, int, int],
    classes: int,
    reference: str,
    module: str,
    zero_bias: bool = True,
    head_initializer: Callable[[], keras.initializers.Initializer] | None = None,
    smallest_side: int = 1,
    leading: Mapping[str, Option] | None = None,
    options: Mapping[str, Option] | None = None,
    example: str = "",
) -> Classifier:
    """Make the constructor of one published classifier: what a table row becomes.

    Args:
        name: the constructor's name, under which weights are registered, too.
        summary: the head of its docstring: what the network is and what its image must be.
        make_trunk: takes the leading arguments and the options by name, and gives the trunk.
        default_shape: `(height, width, channels)` of the published network's image.
        classes: the default number of classes.
        reference: the paper, as a Markdown link.
        module: the name of the family's module.
        zero_bias: whether the classifier's bias starts at zero rather than uniformly.
        head_initializer: makes the initializer of the classifier's kernel; None for Torch's
            default.
        smallest_side: what the image's sides must be at least, in pixels.
        leading: arguments in front of the shared signature.
        options: keyword arguments behind the shared signature.
        example: the leading arguments of the docstring's example.

    Returns:
        A function with the signature of `Classifier`.
    """
    leading, options = leading or {}, options or {}

    def build(**values) -> keras.Model:
        trunk = make_trunk(**{key: values.pop(key) for key in (*leading, *options)})
        return classifier(
            name,
            trunk,
            default_shape,
            zero_bias=zero_bias,
            head_initializer=head_initializer and head_initializer(),
            smallest_side=smallest_side,
            **values,
        )

    documentation = _ARGUMENTS.format(
        shape=default_shape,
        classes=classes,
        name=name.lower(),
        call=f"{name}({example}include_top=False, pooling='avg')",
        reference=reference,
        leading=entries(leading),
        options=entries(options),
    )
    signature = extended_signature(
        Classifier, {"classes": classes, "name": name.lower()}, leading, options
    )
    return as_constructor(name, module, summary.rstrip() + "\n" + documentation, signature, build)
