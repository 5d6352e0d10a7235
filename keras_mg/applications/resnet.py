"""Residual networks for CIFAR-10 as the Torch7 residual-network study released them.

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015,
https://arxiv.org/abs/1512.03385. Original code: Torch7, https://github.com/caomw/eccv2016-attr-old,
which stands on https://github.com/gcr/torch-residual-networks. This file is written from the
description of the networks and holds none of it.

Different from the paper, as released: the last block of each stage widens and strides rather than
the first of the next, and the very last block narrows 64 channels to 10, which the classifier
reads. The study's author later changed both to what the paper has: that is `corrected=True`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import keras

from keras_mg.applications import _preprocessing, igc_cifar
from keras_mg.applications._builder import classifier
from keras_mg.applications._records import Form, PublishedFigure, network
from keras_mg.layers import ConvNormActivation, ResidualBlock, arguments
from keras_mg.layers.initializers import he_fan_in
from keras_mg.training import Model

FAMILY = "Torch residual network"
SHAPE = (32, 32, 3)
NOTES = "notes of the Torch7 release"
LATER = "later notes of the study's author"
PAPER = "He et al., 2015, table 6 (of their own form of the network)"

BLOCKS = ("bn_before_add", "bn_after_add")
GAMMA_DEVIATION = 0.002  # standard deviation of the batch norms' scales around 1 at the start

# Of RGB CIFAR-10 images in 0..255.
CIFAR10_MEAN, CIFAR10_STD = igc_cifar.STATISTICS["cifar10"]


def preprocess_input(x, data_format: str | None = None):
    """Normalise RGB images with CIFAR-10's statistics: `(x - mean) / std` per channel.

    The study itself takes off the mean image of those it trains on (`keras_mg.datasets.MeanImage`):
    a network that was trained so takes the `Normalizer` that its run has stored.

    Args:
        x: array or tensor, images with values 0 to 255, 3D or 4D.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.

    Returns:
        An array or tensor of the same shape, floating point; `x` is unchanged.

    Raises:
        ValueError: if `x` is not 3D or 4D or has not three channels.
    """
    return _preprocessing.normalize(x, CIFAR10_MEAN, CIFAR10_STD, data_format)


def _gammas():
    return keras.initializers.RandomNormal(1.0, GAMMA_DEVIATION)


def _trunk(
    blocks: int, block: str, final_relu: bool, corrected: bool, momentum: float, images, common
) -> dict:
    shared = {
        **common,
        "momentum": momentum,
        "use_bias": True,
        "kernel_initializer": he_fan_in(),
        "gamma_initializer": _gammas(),
    }
    x = ConvNormActivation(16, name="stem", **shared)(images)
    levels = {0: x}
    # Stage: the width that its last block changes to, and that block's strides; in the corrected
    # form the next stage's first block does it, and none narrows.
    for s, (filters, last, strides) in enumerate(((16, 32, 2), (32, 64, 2), (64, 10, 1))):
        for b in range(1, blocks + 1):
            changes = b == blocks and not corrected
            enters = b == 1 and s > 0 and corrected
            x = ResidualBlock(
                last if changes else filters,
                strides=strides if changes else 2 if enters else 1,
                norm_after_add=block == "bn_after_add",
                activation="relu" if final_relu else None,
                name=f"stage{s + 1}_block{b}",
                **shared,
            )(x)
            levels[s + (changes and strides > 1)] = x
    return levels


def _resnet(
    network: str,
    blocks: int,
    block: str,
    final_relu: bool,
    corrected: bool,
    momentum: float,
    **shared,
) -> Model:
    """The network of `blocks` blocks per stage; `shared` are every constructor's arguments."""
    arguments.one_of("block", block, BLOCKS)
    trunk = partial(_trunk, blocks, block, final_relu, corrected, momentum)
    return classifier(network, trunk, SHAPE, zero_bias=False, smallest_side=4, **shared)


def _error(error: float, source: str = NOTES) -> PublishedFigure:
    return PublishedFigure("error", error, "%", "CIFAR-10", source)


@network(
    FAMILY,
    SHAPE,
    10,
    Form(271_886, figures=(_error(8.4473), _error(8.75, PAPER))),
    Form(271_886, {"block": "bn_after_add"}, (_error(8.3496),)),
    Form(271_886, {"final_relu": False}, (_error(8.9355),)),
    Form(271_886, {"block": "bn_after_add", "final_relu": False}, (_error(7.9102),)),
    Form(270_410, {"corrected": True}, (_error(8.29, LATER),)),
    Form(270_410, {"corrected": True, "block": "bn_after_add"}, (_error(8.34, LATER),)),
    Form(270_410, {"corrected": True, "final_relu": False}, (_error(8.62, LATER),)),
    Form(
        270_410,
        {"corrected": True, "block": "bn_after_add", "final_relu": False},
        (_error(8.23, LATER),),
    ),
)
def ResNet20(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 10,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "resnet20",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    block: Literal["bn_before_add", "bn_after_add"] = "bn_before_add",
    final_relu: bool = True,
    corrected: bool = False,
    momentum: float = 0.9,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """ResNet-20: a residual network for CIFAR-10, three stages of 3 blocks.

    As the Torch7 study released it, in the four variants of its comparison. Its last block narrows
    to 10 channels whatever the number of classes: as released, it belongs to CIFAR-10.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 10.
        block: where the second batch norm of a block stands: "bn_before_add" or "bn_after_add".
            Defaults to "bn_before_add".
        final_relu: bool, whether blocks end in ReLU. Defaults to True.
        corrected: bool, whether it is the study's later form, in which the first block of a stage
            widens and none narrows. Defaults to False.
        momentum: float in [0, 1], share of the old moving statistics that a step keeps. Defaults
            to 0.9.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.ResNet20(include_top=False, pooling="avg")

    Reference:
        - [Deep Residual Learning, He et al., 2015](https://arxiv.org/abs/1512.03385)
    """
    return _resnet("ResNet20", 3, **locals())


@network(
    FAMILY,
    SHAPE,
    10,
    Form(466_766, figures=(_error(7.9102), _error(7.51, PAPER))),
    Form(465_290, {"corrected": True}, (_error(7.63, LATER),)),
)
def ResNet32(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 10,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "resnet32",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    block: Literal["bn_before_add", "bn_after_add"] = "bn_before_add",
    final_relu: bool = True,
    corrected: bool = False,
    momentum: float = 0.9,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """ResNet-32: a residual network for CIFAR-10, three stages of 5 blocks.

    As the Torch7 study released it, in the four variants of its comparison. Its last block narrows
    to 10 channels whatever the number of classes: as released, it belongs to CIFAR-10.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 10.
        block: where the second batch norm of a block stands: "bn_before_add" or "bn_after_add".
            Defaults to "bn_before_add".
        final_relu: bool, whether blocks end in ReLU. Defaults to True.
        corrected: bool, whether it is the study's later form, in which the first block of a stage
            widens and none narrows. Defaults to False.
        momentum: float in [0, 1], share of the old moving statistics that a step keeps. Defaults
            to 0.9.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.ResNet32(include_top=False, pooling="avg")

    Reference:
        - [Deep Residual Learning, He et al., 2015](https://arxiv.org/abs/1512.03385)
    """
    return _resnet("ResNet32", 5, **locals())


@network(
    FAMILY,
    SHAPE,
    10,
    Form(661_646, figures=(_error(7.5684), _error(7.17, PAPER))),
    Form(660_170, {"corrected": True}, (_error(7.14, LATER),)),
)
def ResNet44(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 10,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "resnet44",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    block: Literal["bn_before_add", "bn_after_add"] = "bn_before_add",
    final_relu: bool = True,
    corrected: bool = False,
    momentum: float = 0.9,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """ResNet-44: a residual network for CIFAR-10, three stages of 7 blocks.

    As the Torch7 study released it, in the four variants of its comparison. Its last block narrows
    to 10 channels whatever the number of classes: as released, it belongs to CIFAR-10.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 10.
        block: where the second batch norm of a block stands: "bn_before_add" or "bn_after_add".
            Defaults to "bn_before_add".
        final_relu: bool, whether blocks end in ReLU. Defaults to True.
        corrected: bool, whether it is the study's later form, in which the first block of a stage
            widens and none narrows. Defaults to False.
        momentum: float in [0, 1], share of the old moving statistics that a step keeps. Defaults
            to 0.9.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.ResNet44(include_top=False, pooling="avg")

    Reference:
        - [Deep Residual Learning, He et al., 2015](https://arxiv.org/abs/1512.03385)
    """
    return _resnet("ResNet44", 7, **locals())


@network(
    FAMILY,
    SHAPE,
    10,
    Form(856_526, figures=(_error(6.3477), _error(6.97, PAPER))),
    Form(855_050, {"corrected": True}, (_error(6.94, LATER),)),
)
def ResNet56(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 10,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "resnet56",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    block: Literal["bn_before_add", "bn_after_add"] = "bn_before_add",
    final_relu: bool = True,
    corrected: bool = False,
    momentum: float = 0.9,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """ResNet-56: a residual network for CIFAR-10, three stages of 9 blocks.

    As the Torch7 study released it, in the four variants of its comparison. Its last block narrows
    to 10 channels whatever the number of classes: as released, it belongs to CIFAR-10.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 10.
        block: where the second batch norm of a block stands: "bn_before_add" or "bn_after_add".
            Defaults to "bn_before_add".
        final_relu: bool, whether blocks end in ReLU. Defaults to True.
        corrected: bool, whether it is the study's later form, in which the first block of a stage
            widens and none narrows. Defaults to False.
        momentum: float in [0, 1], share of the old moving statistics that a step keeps. Defaults
            to 0.9.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.ResNet56(include_top=False, pooling="avg")

    Reference:
        - [Deep Residual Learning, He et al., 2015](https://arxiv.org/abs/1512.03385)
    """
    return _resnet("ResNet56", 9, **locals())


@network(
    FAMILY,
    SHAPE,
    10,
    Form(1_733_486, figures=(_error(6.7871), _error(6.61, PAPER))),
    Form(
        1_732_010,
        {"corrected": True},
        (
            _error(6.73, LATER),
            _error(6.97, LATER),
        ),
    ),
    Form(1_732_010, {"corrected": True, "final_relu": False}, (_error(6.32, LATER),)),
    Form(1_732_010, {"corrected": True, "block": "bn_after_add"}, (_error(13.56, LATER),)),
    Form(
        1_732_010,
        {"corrected": True, "block": "bn_after_add", "final_relu": False},
        (_error(12.3, LATER),),
    ),
)
def ResNet110(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 10,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "resnet110",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    block: Literal["bn_before_add", "bn_after_add"] = "bn_before_add",
    final_relu: bool = True,
    corrected: bool = False,
    momentum: float = 0.9,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """ResNet-110: a residual network for CIFAR-10, three stages of 18 blocks.

    As the Torch7 study released it, in the four variants of its comparison. Its last block narrows
    to 10 channels whatever the number of classes: as released, it belongs to CIFAR-10.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 10.
        block: where the second batch norm of a block stands: "bn_before_add" or "bn_after_add".
            Defaults to "bn_before_add".
        final_relu: bool, whether blocks end in ReLU. Defaults to True.
        corrected: bool, whether it is the study's later form, in which the first block of a stage
            widens and none narrows. Defaults to False.
        momentum: float in [0, 1], share of the old moving statistics that a step keeps. Defaults
            to 0.9.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.ResNet110(include_top=False, pooling="avg")

    Reference:
        - [Deep Residual Learning, He et al., 2015](https://arxiv.org/abs/1512.03385)
    """
    return _resnet("ResNet110", 18, **locals())
