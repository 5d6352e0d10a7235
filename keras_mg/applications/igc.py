"""Interleaved group convolution networks for ImageNet (those for CIFAR: `igc_cifar`).

Paper: Zhang, Qi, Xiao, Wang, "Interleaved Group Convolutions for Deep Neural Networks", ICCV 2017,
https://arxiv.org/abs/1707.02725. Original code: MXNet,
https://github.com/hellozting/InterleavedGroupConvolutions (no licence stated). This file is written
from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic. The 7x7 average pooling before the
classifier is a global one, so that other image sizes work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import keras

from keras_mg.applications import _igc_weights, constructor, imagenet, preprocessing
from keras_mg.layers import ConvNormActivation, IGCResidual, MaxPool, ResidualBlock, arguments
from keras_mg.layers.igc_block import IGC_EPSILON
from keras_mg.layers.initializers import he_fan_in

# Of RGB images in 0..255, as in the records of the published weights.
IMAGENET_MEAN = _igc_weights.MEAN
IMAGENET_STD = _igc_weights.STD

decode_predictions = imagenet.decode_predictions


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
    return preprocessing.normalize(x, IMAGENET_MEAN, IMAGENET_STD, data_format)


REFERENCE = "[Interleaved Group Convolutions, Zhang et al., 2017](https://arxiv.org/abs/1707.02725)"

IMAGENET_SHAPE = (224, 224, 3)
CIFAR_SHAPE = (32, 32, 3)


@dataclass(frozen=True)
class Stage:
    """Residual blocks of one width; the first of them changes to it.

    Without partitions the blocks are of ordinary convolutions.
    """

    filters: int
    blocks: int
    strides: int  # of the first block
    primary_partitions: int | None = None
    secondary_partitions: tuple[int, int] = (1, 1)  # of the first IGC of the first block, the rest


@dataclass(frozen=True)
class Network:
    """A residual network as a table row."""

    stem: str  # "imagenet" or "cifar"
    stem_filters: int
    stages: tuple[Stage, ...]


def residual_trunk(network: Network, images, common: dict) -> dict[int, keras.KerasTensor]:
    """The deepest feature map of each level of a residual network."""
    x, level = stem(network.stem, network.stem_filters, arguments.MOMENTUM, images, common)
    levels = {level: x}
    for s, stage in enumerate(network.stages, 1):
        for b in range(1, stage.blocks + 1):
            settings = {
                **common,
                "filters": stage.filters,
                "strides": stage.strides if b == 1 else 1,
                "epsilon": IGC_EPSILON,
                "name": f"stage{s}_block{b}",
            }
            if stage.primary_partitions is None:
                block = ResidualBlock(shortcut="B", kernel_initializer=he_fan_in(), **settings)
            else:
                first, rest = stage.secondary_partitions
                block = IGCResidual(
                    primary_partitions=stage.primary_partitions,
                    secondary_partitions=(first if b == 1 else rest, rest),
                    **settings,
                )
            x = block(x)
        level += stage.strides > 1
        levels[level] = x
    return levels


def stem(kind: str, filters: int, momentum: float, images, common: dict):
    """The first layers, and the level that they reach."""
    x = ConvNormActivation(
        filters,
        kernel_size=7 if kind == "imagenet" else 3,
        strides=2 if kind == "imagenet" else 1,
        momentum=momentum,
        epsilon=IGC_EPSILON,
        kernel_initializer=he_fan_in(),
        name="stem",
        **common,
    )(images)
    if kind == "cifar":
        return x, 0
    return MaxPool(3, strides=2, padding=1, name="stem_pool", **common)(x), 2


def _imagenet_network(stem_filters: int, filters: Sequence[int], primary, secondary) -> Network:
    stages = []
    for i, width in enumerate(filters):
        partitions = None if primary is None else primary[i]
        second = 1 if secondary is None else secondary[i]
        stages.append(Stage(width, 2, 1 if i == 0 else 2, partitions, (second, second)))
    return Network("imagenet", stem_filters, tuple(stages))


IMAGENET = {
    # Widths double with the primary partitions: two channels each, and two secondary partitions.
    "IGC_L100M2": _imagenet_network(100, (200, 400, 800, 1600), (100, 200, 400, 800), (2,) * 4),
    # Here the secondary partitions double: 16 and 32 channels each. The first stage keeps the
    # stem's width, so it has no projection.
    "IGC_L16M16": _imagenet_network(256, (256, 512, 1024, 2048), (16,) * 4, (16, 32, 64, 128)),
    "IGC_L4M32": _imagenet_network(128, (128, 256, 512, 1024), (4,) * 4, (32, 64, 128, 256)),
    "IGCResNet18_C64": _imagenet_network(64, (64, 128, 256, 512), None, None),
    "IGCResNet18_C69": _imagenet_network(69, (69, 138, 276, 552), None, None),
}


def _imagenet(name: str, summary: str) -> constructor.Classifier:
    def make_trunk() -> constructor.Trunk:
        return partial(residual_trunk, IMAGENET[name])

    return constructor.classifier_constructor(
        name,
        summary,
        make_trunk,
        default_shape=IMAGENET_SHAPE,
        classes=1000,
        reference=REFERENCE,
        module=__name__,
        smallest_side=32,
    )


IGC_L100M2 = _imagenet(
    "IGC_L100M2",
    """IGC-L100M2: interleaved group convolutions with 100 primary and 2 secondary partitions.

    An 18-layer residual network for ImageNet whose 3x3 convolutions work on two channels each.
    """,
)
IGC_L16M16 = _imagenet(
    "IGC_L16M16",
    """IGC-L16M16: interleaved group convolutions with 16 primary and 16 secondary partitions.

    An 18-layer residual network for ImageNet; deeper stages have more secondary partitions.
    """,
)
IGC_L4M32 = _imagenet(
    "IGC_L4M32",
    """IGC-L4M32: interleaved group convolutions with 4 primary and 32 secondary partitions.

    An 18-layer residual network for ImageNet; deeper stages have more secondary partitions.
    """,
)
IGCResNet18_C64 = _imagenet(
    "IGCResNet18_C64",
    """ResNet(C=64): the IGC authors' 18-layer residual network, 64 channels in the first stage.

    Ordinary convolutions without biases and projection shortcuts: the baseline of the IGC networks.
    """,
)
IGCResNet18_C69 = _imagenet(
    "IGCResNet18_C69",
    """ResNet(C=69): the IGC authors' 18-layer residual network, 69 channels in the first stage.

    Ordinary convolutions without biases and projection shortcuts: the baseline of the IGC networks.
    """,
)
