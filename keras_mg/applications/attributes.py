"""Networks that name attributes of an object: one of four depths, with a head after each stage.

Original code: Torch7, https://github.com/caomw/eccv2016-attr-old, which stands on the residual
networks of `keras_mg.applications.resnet`. This file is written from the description of the
networks and holds none of it.

Different from the released networks: a head's answers to attributes of other heads, to which no
loss belongs, are not among the outputs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import keras

from keras_mg.applications import _preprocessing, resnet
from keras_mg.applications._builder import classifier, output_dtype
from keras_mg.applications._records import Form, network
from keras_mg.layers import (
    ConvNormActivation,
    Convolution,
    MaxPool,
    ResidualBlock,
    arguments,
)
from keras_mg.layers.initializers import he_fan_in, torch_uniform
from keras_mg.training import Model

FAMILY = "attribute network"
SHAPE = (224, 224, 3)
# Width and blocks of each stage; version v has the first v of them.
STAGES = ((64, 3), (128, 4), (256, 4), (512, 3))
# Which head names each of the 64 attributes of aPascal, as released.
APASCAL_LEVELS: Mapping[int, tuple[int, ...]] = {
    version: tuple(map(int, digits))
    for version, digits in {
        2: "2222212212222121222222221222222221222222222222222211122112222222",
        3: "3333313313222121232333331333333331333333333222333331133133333332",
        4: "4433414413222121242344441433444441444444444222344331144134444432",
    }.items()
}


def preprocess_input(x, data_format: str | None = None):
    """Scale RGB images from 0 to 255 to 0 to 1.

    Args:
        x: array or tensor, images with values 0 to 255, 3D or 4D.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.

    Returns:
        An array or tensor of the same shape, floating point; `x` is unchanged.

    Raises:
        ValueError: if `x` is not 3D or 4D or has not three channels.
    """
    return _preprocessing.normalize(x, (0.0,) * 3, (255.0,) * 3, data_format)


def _gammas():
    return keras.initializers.RandomNormal(1.0, resnet.GAMMA_DEVIATION)


def _trunk(version: int, images, common) -> dict:
    shared = {**common, "use_bias": True, "kernel_initializer": he_fan_in()}
    x = Convolution(64, kernel_size=7, strides=2, name="stem", **shared)(images)
    x = keras.layers.ReLU(name="stem_relu", dtype=common["dtype"])(x)
    x = MaxPool(3, strides=2, padding=1, name="stem_pool", **common)(x)
    levels = {}
    for s, (filters, blocks) in enumerate(STAGES[:version]):
        for b in range(blocks):
            x = ResidualBlock(
                filters,
                strides=2 if s > 0 and b == 0 else 1,
                gamma_initializer=_gammas(),
                name=f"stage{s + 1}_block{b + 1}",
                **shared,
            )(x)
        levels[2 + s] = x
    return levels


def _heads(assigned: tuple[int, ...] | None, levels: Mapping, classes: int, activation, common):
    """An answer for each attribute, by the head of the stage that it is assigned to."""
    used = range(1, len(levels) + 1) if assigned else (len(levels),)
    answers = []
    for s in used:
        x = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"pool{s}", **common)(
            levels[1 + s]
        )
        x = ConvNormActivation(
            classes,
            kernel_size=1,
            use_bias=True,
            activation=None,
            kernel_initializer=torch_uniform(),
            gamma_initializer=_gammas(),
            name=f"head{s}",
            **common,
        )(x)
        answers.append(keras.layers.Flatten(name=f"answers{s}", **common)(x))
    x = answers[0]
    if assigned:
        x = keras.layers.Concatenate(name="answers", dtype=common["dtype"])(answers)
        places = [(s - 1) * classes + i for i, s in enumerate(assigned)]
        x = keras.ops.take(x, places, axis=1)
    policy = output_dtype(common["dtype"], "predictions")
    return keras.layers.Activation(activation, name="predictions", dtype=policy)(x)


def _checked_levels(levels, version: int, classes: int) -> tuple[int, ...] | None:
    if levels is None:
        return None
    if levels == "apascal":
        levels = APASCAL_LEVELS.get(version, (1,) * 64)
    values = arguments.positive_ints("levels", levels)
    if len(values) != classes or max(values) > version:
        raise ValueError(
            f"levels must have a stage from 1 to version={version} for each of the {classes} "
            f"attributes. Received: levels={values}"
        )
    return values


@network(
    FAMILY,
    SHAPE,
    64,
    Form(18_788_928),
    Form(236_096, {"version": 1}),
    Form(1_353_472, {"version": 2, "levels": "apascal"}),
    Form(5_799_872, {"version": 3, "levels": "apascal"}),
    Form(18_818_176, {"version": 4, "levels": "apascal"}),
)
def AttributeNet(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 64,
    classifier_activation: str | Callable | None = "sigmoid",
    name: str = "attributenet",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    version: int = 4,
    levels: Sequence[int] | Literal["apascal"] | None = None,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """AttributeNet: a residual network that says of each attribute how probable it is.

    Up to four stages of 3, 4, 4 and 3 residual blocks of widths 64, 128, 256 and 512. A head, which
    is the global average, a linear layer and a batch norm, stands after the last stage, or after
    each, where `levels` says which head names which attribute.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`. Defaults to
            (224, 224, 3), without the top to sides of None.
        classes: int, number of attributes. Defaults to 64.
        classifier_activation: activation of the answers; None gives logits. Defaults to "sigmoid".
        version: int from 1 to 4, the number of stages. Defaults to 4.
        levels: one stage from 1 to `version` per attribute, whose head names it; "apascal" is the
            released choice for the 64 of aPascal, None names all by the last. Defaults to None.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.AttributeNet(
        ...     classes=3, version=2, levels=(1, 1, 2), input_shape=(32, 32, 3)
        ... )
        >>> model.output_shape
        (None, 3)

    Reference:
        - [Deep Residual Learning, He et al., 2015](https://arxiv.org/abs/1512.03385)
    """
    if version not in range(1, len(STAGES) + 1):
        raise ValueError(f"version must be an integer from 1 to 4. Received: version={version!r}")
    classes = arguments.positive_int("classes", classes)
    assigned = _checked_levels(levels, version, classes)
    return classifier(
        "AttributeNet",
        partial(_trunk, version),
        SHAPE,
        zero_bias=False,
        top=partial(_heads, assigned),
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        skip_mismatch=skip_mismatch,
        pyramid_outputs=pyramid_outputs,
        data_format=data_format,
        dtype=dtype,
    )
