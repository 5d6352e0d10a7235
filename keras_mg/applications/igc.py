"""Interleaved group convolution networks for ImageNet.

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

from keras_mg.applications import constructor, imagenet, preprocessing
from keras_mg.layers import ConvNormActivation, IGCResidual, MaxPool
from keras_mg.layers.igc_block import IGC_EPSILON
from keras_mg.layers.initializers import he_fan_in

# Of RGB images in 0..255, as the authors normalise ImageNet.
IMAGENET_MEAN = (123.370, 112.757, 99.406)
IMAGENET_STD = (68.998, 66.093, 68.292)

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


@dataclass(frozen=True)
class Stage:
    """Two residual blocks of one width."""

    filters: int
    primary_partitions: int
    secondary_partitions: int
    strides: int


@dataclass(frozen=True)
class Network:
    """An ImageNet network as a table row."""

    stem_filters: int
    stages: tuple[Stage, ...]


def _network(stem: int, filters: Sequence[int], primary, secondary) -> Network:
    strides = (1, 2, 2, 2)
    return Network(stem, tuple(map(Stage, filters, primary, secondary, strides)))


NETWORKS = {
    # Widths double with the primary partitions: two channels each, and two secondary partitions.
    "IGC_L100M2": _network(
        100, (200, 400, 800, 1600), primary=(100, 200, 400, 800), secondary=(2, 2, 2, 2)
    ),
}


def trunk(network: Network, images, common: dict) -> dict[int, keras.KerasTensor]:
    """The deepest feature map of each level of `network`."""
    x = ConvNormActivation(
        network.stem_filters,
        kernel_size=7,
        strides=2,
        epsilon=IGC_EPSILON,
        kernel_initializer=he_fan_in(),
        name="stem",
        **common,
    )(images)
    levels = {1: x}
    x = MaxPool(3, strides=2, padding=1, name="stem_pool", **common)(x)
    for s, stage in enumerate(network.stages, 1):
        for b in (1, 2):
            x = IGCResidual(
                stage.filters,
                stage.primary_partitions,
                stage.secondary_partitions,
                strides=stage.strides if b == 1 else 1,
                name=f"stage{s}_block{b}",
                **common,
            )(x)
        levels[1 + s] = x
    return levels


IGC_L100M2 = constructor.classifier_constructor(
    "IGC_L100M2",
    """IGC-L100M2: interleaved group convolutions with 100 primary and 2 secondary partitions.

    An 18-layer residual network for ImageNet whose 3x3 convolutions work on two channels each. The
    authors report 26.95 % top-1 and 8.92 % top-5 error with 8.6 million parameters.
    """,
    partial(trunk, NETWORKS["IGC_L100M2"]),
    default_shape=(224, 224, 3),
    classes=1000,
    zero_bias=True,
    module=__name__,
)
