"""Interleaved group convolution networks for ImageNet (those for CIFAR: `igc_cifar`).

Paper: Zhang, Qi, Xiao, Wang, "Interleaved Group Convolutions for Deep Neural Networks", ICCV 2017,
https://arxiv.org/abs/1707.02725. Original code: MXNet,
https://github.com/hellozting/InterleavedGroupConvolutions (no licence stated). This file is written
from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic. The 7x7 average pooling before the
classifier is a global one, so that other image sizes work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import keras

from keras_mg.applications import _igc_weights, _preprocessing
from keras_mg.applications._builder import classifier
from keras_mg.applications._igc import Network, Stage, residual_trunk
from keras_mg.applications._imagenet import decode_predictions as decode_predictions
from keras_mg.applications._records import Form, PublishedFigure, network
from keras_mg.training import Model

FAMILY = "interleaved group convolutions"
SHAPE = (224, 224, 3)
SOURCE = "Zhang et al., ICCV 2017, table of ImageNet results"

# Of RGB images in 0..255, as in the records of the published weights.
IMAGENET_MEAN = _igc_weights.MEAN
IMAGENET_STD = _igc_weights.STD


def preprocess_input(x, data_format: str | None = None):
    """Normalise RGB images for the ImageNet networks: `(x - mean) / std` per channel.

    Args:
        x: array or tensor, images with values 0 to 255, 3D or 4D.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.

    Returns:
        An array or tensor of the same shape, floating point; `x` is unchanged.

    Raises:
        ValueError: if `x` is not 3D or 4D or has not three channels.
    """
    return _preprocessing.normalize(x, IMAGENET_MEAN, IMAGENET_STD, data_format)


def _errors(top1: float, top5: float) -> tuple[PublishedFigure, ...]:
    return (
        PublishedFigure("top-1 error", top1, "%", "ImageNet", SOURCE),
        PublishedFigure("top-5 error", top5, "%", "ImageNet", SOURCE),
    )


def _imagenet(
    network: str,
    stem_filters: int,
    filters: Sequence[int],
    partitions: Sequence[tuple[int | None, int]],
    **shared,
) -> Model:
    """An 18-layer residual network for ImageNet.

    Args:
        network: name of its constructor.
        stem_filters: channels of the stem.
        filters: channels of each stage.
        partitions: primary and secondary ones of each stage; no primary ones: no groups.
        **shared: the arguments that every constructor has.
    """
    stages = tuple(
        Stage(width, 2, 1 if i == 0 else 2, primary, (secondary, secondary))
        for i, (width, (primary, secondary)) in enumerate(zip(filters, partitions, strict=True))
    )
    trunk = partial(residual_trunk, Network("imagenet", stem_filters, stages))
    return classifier(network, trunk, SHAPE, zero_bias=True, smallest_side=32, **shared)


UNGROUPED = ((None, 1),) * 4


@network(
    FAMILY,
    SHAPE,
    1000,
    Form(
        8_637_900,
        figures=(
            PublishedFigure("parameters", 8.61, "million", None, SOURCE),
            PublishedFigure("FLOPs", 1.3, "billion", None, SOURCE),
            *_errors(26.95, 8.92),
        ),
    ),
)
def IGC_L100M2(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "igc_l100m2",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """IGC-L100M2: interleaved group convolutions with 100 primary and 2 secondary partitions.

    An 18-layer residual network for ImageNet whose 3x3 convolutions work on two channels each:
    widths double with the primary partitions.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (224, 224, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 1000.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.IGC_L100M2(include_top=False, pooling="avg")

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """
    return _imagenet(
        "IGC_L100M2",
        100,
        (200, 400, 800, 1600),
        ((100, 2), (200, 2), (400, 2), (800, 2)),
        **locals(),
    )


@network(FAMILY, SHAPE, 1000, Form(13_528_296, figures=_errors(29.40, 10.32)))
def IGC_L16M16(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "igc_l16m16",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """IGC-L16M16: interleaved group convolutions with 16 primary and 16 secondary partitions.

    An 18-layer residual network for ImageNet; its secondary partitions double from stage to stage.
    The first stage keeps the stem's width, so it has no projection.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (224, 224, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 1000.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.IGC_L16M16(include_top=False, pooling="avg")

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """
    return _imagenet(
        "IGC_L16M16",
        256,
        (256, 512, 1024, 2048),
        ((16, 16), (16, 32), (16, 64), (16, 128)),
        **locals(),
    )


@network(FAMILY, SHAPE, 1000, Form(12_251_240, figures=_errors(30.77, 10.99)))
def IGC_L4M32(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "igc_l4m32",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """IGC-L4M32: interleaved group convolutions with 4 primary and 32 secondary partitions.

    An 18-layer residual network for ImageNet; its secondary partitions double from stage to stage.
    The first stage keeps the stem's width, so it has no projection.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (224, 224, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 1000.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.IGC_L4M32(include_top=False, pooling="avg")

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """
    return _imagenet(
        "IGC_L4M32", 128, (128, 256, 512, 1024), ((4, 32), (4, 64), (4, 128), (4, 256)), **locals()
    )


@network(FAMILY, SHAPE, 1000, Form(11_689_512, figures=_errors(31.06, 11.38)))
def IGCResNet18_C64(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "igcresnet18_c64",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """ResNet(C=64): the IGC authors' 18-layer residual network, 64 channels in the first stage.

    Ordinary convolutions without biases and projection shortcuts: the baseline of the IGC networks.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (224, 224, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 1000.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.IGCResNet18_C64(include_top=False, pooling="avg")

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """
    return _imagenet("IGCResNet18_C64", 64, (64, 128, 256, 512), UNGROUPED, **locals())


@network(FAMILY, SHAPE, 1000, Form(13_542_457, figures=_errors(30.58, 10.77)))
def IGCResNet18_C69(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "igcresnet18_c69",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """ResNet(C=69): the IGC authors' 18-layer residual network, 69 channels in the first stage.

    Ordinary convolutions without biases and projection shortcuts: the baseline of the IGC networks.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (224, 224, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 1000.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.IGCResNet18_C69(include_top=False, pooling="avg")

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """
    return _imagenet("IGCResNet18_C69", 69, (69, 138, 276, 552), UNGROUPED, **locals())
