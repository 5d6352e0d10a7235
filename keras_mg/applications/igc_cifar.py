"""Interleaved group convolution networks of any depth and width for CIFAR and SVHN.

Paper: Zhang, Qi, Xiao, Wang, "Interleaved Group Convolutions for Deep Neural Networks", ICCV 2017,
https://arxiv.org/abs/1707.02725. Original code: MXNet,
https://github.com/hellozting/InterleavedGroupConvolutions (no licence stated). This file is written
from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic.
"""

from __future__ import annotations

from functools import partial

import keras

from keras_mg.applications import constructor, preprocessing
from keras_mg.applications.igc import (
    CIFAR_SHAPE,
    REFERENCE,
    Network,
    Stage,
    residual_trunk,
    stem,
)
from keras_mg.applications.signatures import REQUIRED, Option
from keras_mg.layers import ConvNormActivation, IGCBlock, arguments
from keras_mg.layers.igc_block import IGC_EPSILON
from keras_mg.layers.initializers import he_fan_in

# Mean and standard deviation of each channel in 0..255, as the authors normalise.
STATISTICS = {
    "cifar10": ((125.307, 122.950, 113.865), (62.993, 62.089, 66.705)),
    "cifar100": ((129.304, 124.070, 112.434), (68.170, 65.392, 70.418)),
    "svhn": ((111.609, 113.161, 120.565), (50.498, 51.259, 50.244)),
}

# The authors' plain networks keep more of the old statistics than their residual ones.
PLAIN_MOMENTUM = 0.99


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
    return preprocessing.normalize(x, mean, std, data_format)


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


def _partitions(primary_partitions, secondary_partitions) -> tuple[int, int]:
    return (
        arguments.positive_int("primary_partitions", primary_partitions),
        arguments.positive_int("secondary_partitions", secondary_partitions),
    )


def _plain_trunk(blocks: int, width: int, make_layer, images, common) -> dict:
    x, level = stem("cifar", width, PLAIN_MOMENTUM, images, common)
    levels = {}
    for s in range(3):
        for b in range(1, blocks + 1):
            widens = s > 0 and b == 1
            settings = {
                **common,
                "filters": width * 2**s,
                "strides": 2 if widens else 1,
                "momentum": PLAIN_MOMENTUM,
                "epsilon": IGC_EPSILON,
                "name": f"stage{s + 1}_block{b}",
            }
            x = make_layer(s, settings)(x)
        levels[level + s] = x
    return levels


def _igc_plain(depth: int, primary_partitions: int, secondary_partitions: int):
    primary, secondary = _partitions(primary_partitions, secondary_partitions)

    def make_layer(stage: int, settings: dict) -> keras.Layer:
        return IGCBlock(
            primary_partitions=primary, secondary_partitions=secondary * 2**stage, **settings
        )

    return partial(_plain_trunk, plain_blocks(depth), primary * secondary, make_layer)


def _plain_baseline(depth: int, width: int):
    def make_layer(stage: int, settings: dict) -> keras.Layer:
        return ConvNormActivation(kernel_initializer=he_fan_in(), **settings)

    width = arguments.positive_int("width", width)
    return partial(_plain_trunk, plain_blocks(depth), width, make_layer)


def _residual_trunk(depth: int, width: int, primary: int | None):
    stages = []
    for s, blocks in enumerate(residual_blocks(depth)):
        filters = width * 2**s
        # The first convolution pair of a stage still counts its groups by the stage's input.
        given = filters if s == 0 else filters // 2
        secondary = (1, 1) if primary is None else (given // primary, filters // primary)
        stages.append(Stage(filters, blocks, 1 if s == 0 else 2, primary, secondary))
    return partial(residual_trunk, Network("cifar", width, tuple(stages)))


def _igc_resnet(depth: int, primary_partitions: int, secondary_partitions: int):
    primary, secondary = _partitions(primary_partitions, secondary_partitions)
    return _residual_trunk(depth, primary * secondary, primary)


def _resnet_baseline(depth: int, width: int):
    return _residual_trunk(depth, arguments.positive_int("width", width), None)


_PLAIN_DEPTH = {"depth": Option(REQUIRED, "int", "int, number of layers, 3 n + 2.")}
_RESIDUAL_DEPTH = {"depth": Option(REQUIRED, "int", "int, number of layers, even, at least 8.")}
_PARTITIONS = {
    "primary_partitions": Option(REQUIRED, "int", "int, L, groups of the 3x3 convolutions."),
    "secondary_partitions": Option(
        REQUIRED,
        "int",
        "int, M, groups of the 1x1 convolutions in the first stage, which has L * M channels; they "
        "double from stage to stage, as the channels do.",
    ),
}
_WIDTH = {"width": Option(REQUIRED, "int", "int, channels of the first stage.")}


def _cifar(name: str, summary: str, make_trunk, leading: dict, example: str):
    return constructor.classifier_constructor(
        name,
        summary,
        make_trunk,
        default_shape=CIFAR_SHAPE,
        classes=10,
        reference=REFERENCE,
        module=__name__,
        smallest_side=4,
        leading=leading,
        example=example,
    )


IGCPlain = _cifar(
    "IGCPlain",
    """IGC network without shortcuts for 32x32 images, three stages of (depth - 2) / 3 IGC blocks.

    The authors' plain_igc: `IGCPlain(38, 24, 2)` is their depth 38 network with L24 M2.
    """,
    _igc_plain,
    {**_PLAIN_DEPTH, **_PARTITIONS},
    "8, 8, 2, ",
)
IGCResNet = _cifar(
    "IGCResNet",
    """IGC network of residual blocks for 32x32 images, in three stages.

    The authors' resnet_igc: `IGCResNet(20, 24, 2)` is their depth 20 network with L24 M2.
    """,
    _igc_resnet,
    {**_RESIDUAL_DEPTH, **_PARTITIONS},
    "8, 8, 2, ",
)
IGCPlainBaseline = _cifar(
    "IGCPlainBaseline",
    """The plain network that `IGCPlain` is compared with: ordinary 3x3 convolutions.""",
    _plain_baseline,
    {**_PLAIN_DEPTH, **_WIDTH},
    "8, 16, ",
)
IGCResNetBaseline = _cifar(
    "IGCResNetBaseline",
    """The residual network that `IGCResNet` is compared with: ordinary 3x3 convolutions.""",
    _resnet_baseline,
    {**_RESIDUAL_DEPTH, **_WIDTH},
    "8, 16, ",
)
