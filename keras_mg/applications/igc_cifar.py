"""Interleaved group convolution networks of any depth and width for CIFAR and SVHN.

Paper: Zhang, Qi, Xiao, Wang, "Interleaved Group Convolutions for Deep Neural Networks", ICCV 2017,
https://arxiv.org/abs/1707.02725. Original code: MXNet,
https://github.com/hellozting/InterleavedGroupConvolutions (no licence stated). This file is written
from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import keras

from keras_mg.applications import _preprocessing
from keras_mg.applications._builder import classifier
from keras_mg.applications._igc import Network, Stage, residual_trunk, stem
from keras_mg.applications._records import Form, PublishedFigure, network
from keras_mg.layers import ConvNormActivation, IGCBlock, arguments
from keras_mg.layers.igc_block import IGC_EPSILON
from keras_mg.layers.initializers import he_fan_in
from keras_mg.training import Model

FAMILY = "interleaved group convolutions"
SHAPE = (32, 32, 3)
LOG = "training log of the IGC authors"

# Mean and standard deviation of each channel in 0..255, as the authors normalise.
STATISTICS = {
    "cifar10": ((125.307, 122.950, 113.865), (62.993, 62.089, 66.705)),
    "cifar100": ((129.304, 124.070, 112.434), (68.170, 65.392, 70.418)),
    "svhn": ((111.609, 113.161, 120.565), (50.498, 51.259, 50.244)),
}

# The authors' plain networks keep more of the old statistics than their residual ones; for images
# of this size, the moving variances of all start at 0.
PLAIN_NORMS = {"momentum": 0.99, "epsilon": IGC_EPSILON, "moving_variance_initializer": "zeros"}


def preprocess_input(x, data_format: str | None = None, dataset: str = "cifar10"):
    """Normalise RGB images: `(x - mean) / std` per channel.

    Args:
        x: array or tensor, images with values 0 to 255, 3D or 4D.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        dataset: whose statistics: "cifar10", "cifar100" or "svhn". Defaults to "cifar10".

    Returns:
        An array or tensor of the same shape, floating point; `x` is unchanged.

    Raises:
        ValueError: if `x` is not 3D or 4D or has not three channels, or if `dataset` is none of
            these.
    """
    mean, std = STATISTICS[arguments.one_of("dataset", dataset, tuple(STATISTICS))]
    return _preprocessing.normalize(x, mean, std, data_format)


def plain_blocks(depth: int) -> int:
    """The blocks per stage of a plain network: `(depth - 2) / 3`."""
    depth = arguments.positive_int("depth", depth)
    if depth < 5 or (depth - 2) % 3:
        raise ValueError(
            f"depth of a plain network must be 3 n + 2 with n >= 1 blocks. Received: depth={depth}"
        )
    return (depth - 2) // 3


def residual_blocks(depth: int) -> tuple[int, int, int]:
    """The residual blocks of the three stages; depths that do not divide evenly start with fewer.

    A block has two layers. The first stage gets `(depth - 2) // 6` blocks, the second half of the
    rest and the third what then remains, both rounded down.
    """
    depth = arguments.positive_int("depth", depth)
    first = (depth - 2) // 6
    if depth % 2 or first < 1:
        raise ValueError(
            f"depth of a residual network must be even and at least 8. Received: depth={depth}"
        )
    second = (depth - 2 - 2 * first) // 4
    return first, second, (depth - 2 - 2 * first - 2 * second) // 2


def _plain(network: str, depth: int, width: int, make_layer: Callable, **shared) -> Model:
    """Three stages without shortcuts; `make_layer` takes a stage and the settings of a layer."""
    blocks = plain_blocks(depth)

    def trunk(images, common: dict) -> dict[int, keras.KerasTensor]:
        x, level = stem("cifar", width, PLAIN_NORMS, images, common)
        levels = {}
        for s in range(3):
            for b in range(1, blocks + 1):
                settings = {
                    **common,
                    **PLAIN_NORMS,
                    "filters": width * 2**s,
                    "strides": 2 if s > 0 and b == 1 else 1,
                    "name": f"stage{s + 1}_block{b}",
                }
                x = make_layer(s, settings)(x)
            levels[level + s] = x
        return levels

    return classifier(network, trunk, SHAPE, zero_bias=True, smallest_side=4, **shared)


def _residual(network: str, depth: int, width: int, primary: int | None, **shared) -> Model:
    """Three stages of residual blocks, with groups where there are primary partitions."""
    stages = []
    for s, blocks in enumerate(residual_blocks(depth)):
        filters = width * 2**s
        # The first convolution pair of a stage still counts its groups by the stage's input.
        given = filters if s == 0 else filters // 2
        secondary = (1, 1) if primary is None else (given // primary, filters // primary)
        stages.append(Stage(filters, blocks, 1 if s == 0 else 2, primary, secondary))
    made = Network("cifar", width, tuple(stages), moving_variance_initializer="zeros")
    trunk = partial(residual_trunk, made)
    return classifier(network, trunk, SHAPE, zero_bias=True, smallest_side=4, **shared)


def _igc_plain(network, depth, primary_partitions, secondary_partitions, **shared) -> Model:
    primary, secondary = _partitions(primary_partitions, secondary_partitions)

    def make_layer(stage: int, settings: dict) -> keras.Layer:
        return IGCBlock(
            primary_partitions=primary, secondary_partitions=secondary * 2**stage, **settings
        )

    return _plain(network, depth, primary * secondary, make_layer, **shared)


def _igc_resnet(network, depth, primary_partitions, secondary_partitions, **shared) -> Model:
    primary, secondary = _partitions(primary_partitions, secondary_partitions)
    return _residual(network, depth, primary * secondary, primary, **shared)


def _partitions(primary_partitions, secondary_partitions) -> tuple[int, int]:
    return (
        arguments.positive_int("primary_partitions", primary_partitions),
        arguments.positive_int("secondary_partitions", secondary_partitions),
    )


def _plain_baseline(network, depth, width, **shared) -> Model:
    def make_layer(stage: int, settings: dict) -> keras.Layer:
        return ConvNormActivation(kernel_initializer=he_fan_in(), **settings)

    return _plain(network, depth, arguments.positive_int("width", width), make_layer, **shared)


def _resnet_baseline(network, depth, width, **shared) -> Model:
    return _residual(network, depth, arguments.positive_int("width", width), None, **shared)


@network(
    FAMILY,
    SHAPE,
    10,
    Form(
        317_242,
        {"depth": 38, "primary_partitions": 24, "secondary_partitions": 2},
        figures=(PublishedFigure("parameters", 0.3172, "million", None, LOG),),
    ),
)
def IGCPlain(
    depth: int,
    primary_partitions: int,
    secondary_partitions: int,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 10,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "igcplain",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """IGC network without shortcuts for 32x32 images, three stages of (depth - 2) / 3 IGC blocks.

    The authors' plain_igc: `IGCPlain(38, 24, 2)` is their depth 38 network with L24 M2.

    Args:
        depth: int, number of layers, 3 n + 2.
        primary_partitions: int, L, groups of the 3x3 convolutions.
        secondary_partitions: int, M, groups of the 1x1 convolutions in the first stage, which has L
            * M channels; they double from stage to stage, as the channels do.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 10.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.IGCPlain(8, 8, 2, include_top=False, pooling="avg")

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """
    return _igc_plain("IGCPlain", **locals())


@network(
    FAMILY,
    SHAPE,
    10,
    Form(
        164_410,
        {"depth": 20, "primary_partitions": 24, "secondary_partitions": 2},
        figures=(PublishedFigure("parameters", 0.1644, "million", None, LOG),),
    ),
)
def IGCResNet(
    depth: int,
    primary_partitions: int,
    secondary_partitions: int,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 10,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "igcresnet",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """IGC network of residual blocks for 32x32 images, in three stages.

    The authors' resnet_igc: `IGCResNet(20, 24, 2)` is their depth 20 network with L24 M2.

    Args:
        depth: int, number of layers, even, at least 8.
        primary_partitions: int, L, groups of the 3x3 convolutions.
        secondary_partitions: int, M, groups of the 1x1 convolutions in the first stage, which has L
            * M channels; they double from stage to stage, as the channels do.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 10.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.IGCResNet(8, 8, 2, include_top=False, pooling="avg")

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """
    return _igc_resnet("IGCResNet", **locals())


@network(FAMILY, SHAPE, 10, Form(5_029_498, {"depth": 38, "width": 48}))
def IGCPlainBaseline(
    depth: int,
    width: int,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 10,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "igcplainbaseline",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """The plain network that `IGCPlain` is compared with.

    Ordinary 3x3 convolutions in place of IGC blocks.

    Args:
        depth: int, number of layers, 3 n + 2.
        width: int, channels of the first stage.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 10.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.IGCPlainBaseline(8, 16, include_top=False, pooling="avg")

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """
    return _plain_baseline("IGCPlainBaseline", **locals())


@network(FAMILY, SHAPE, 10, Form(2_436_346, {"depth": 20, "width": 48}))
def IGCResNetBaseline(
    depth: int,
    width: int,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 10,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "igcresnetbaseline",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """The residual network that `IGCResNet` is compared with.

    Ordinary 3x3 convolutions in place of IGC blocks.

    Args:
        depth: int, number of layers, even, at least 8.
        width: int, channels of the first stage.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 10.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.IGCResNetBaseline(8, 16, include_top=False, pooling="avg")

    Reference:
        - [Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)
    """
    return _resnet_baseline("IGCResNetBaseline", **locals())
