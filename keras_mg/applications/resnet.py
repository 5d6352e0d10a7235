"""Residual networks for CIFAR-10 as the Torch7 residual-network study released them.

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015,
https://arxiv.org/abs/1512.03385. Original code: Torch7, https://github.com/caomw/eccv2016-attr-old,
which stands on https://github.com/gcr/torch-residual-networks. This file is written from the
description of the networks and holds none of it.

Different from the paper, as released: the last block of each stage widens and strides rather than
the first of the next, and the very last block narrows 64 channels to 10, which the classifier
reads.
"""

from __future__ import annotations

from functools import partial

import keras

from keras_mg.applications import constructor, preprocessing
from keras_mg.applications.signatures import Option
from keras_mg.layers import ConvNormActivation, ResidualBlock, arguments
from keras_mg.layers.initializers import he_fan_in

REFERENCE = "[Deep Residual Learning, He et al., 2015](https://arxiv.org/abs/1512.03385)"
BLOCKS = ("bn_before_add", "bn_after_add")
GAMMA_DEVIATION = 0.002  # standard deviation of the batch norms' scales around 1 at the start

# Of RGB CIFAR-10 images in 0..255.
CIFAR10_MEAN = (125.307, 122.950, 113.865)
CIFAR10_STD = (62.993, 62.089, 66.705)


def preprocess_input(x, data_format: str | None = None):
    """Normalise RGB images with CIFAR-10's statistics: `(x - mean) / std` per channel.

    Args:
        x: array or tensor, images with values 0 to 255, 3D or 4D.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.

    Returns:
        An array or tensor of the same shape, floating point; `x` is unchanged.

    Raises:
        ValueError: if `x` is not 3D or 4D or has not three channels.
    """
    return preprocessing.normalize(x, CIFAR10_MEAN, CIFAR10_STD, data_format)


def _gammas():
    return keras.initializers.RandomNormal(1.0, GAMMA_DEVIATION)


def _trunk(blocks: int, block: str, final_relu: bool, images, common) -> dict:
    shared = {
        **common,
        "use_bias": True,
        "kernel_initializer": he_fan_in(),
        "gamma_initializer": _gammas(),
    }
    x = ConvNormActivation(16, name="stem", **shared)(images)
    levels = {0: x}
    # Stage: the width that its last block changes to, and that block's strides.
    for s, (filters, last, strides) in enumerate(((16, 32, 2), (32, 64, 2), (64, 10, 1))):
        for b in range(1, blocks + 1):
            changes = b == blocks
            x = ResidualBlock(
                last if changes else filters,
                strides=strides if changes else 1,
                norm_after_add=block == "bn_after_add",
                activation="relu" if final_relu else None,
                name=f"stage{s + 1}_block{b}",
                **shared,
            )(x)
            levels[s + (changes and strides > 1)] = x
    return levels


def _resnet(name: str, blocks: int) -> constructor.Classifier:
    def make_trunk(block: str, final_relu: bool) -> constructor.Trunk:
        return partial(_trunk, blocks, arguments.one_of("block", block, BLOCKS), final_relu)

    return constructor.classifier_constructor(
        name,
        f"""{name}: a residual network for CIFAR-10, three stages of {blocks} blocks.

    As the Torch7 study released it, in the four variants of its comparison. Its last block narrows
    to 10 channels whatever the number of classes: as released, it belongs to CIFAR-10.
    """,
        make_trunk,
        default_shape=(32, 32, 3),
        classes=10,
        reference=REFERENCE,
        module=__name__,
        smallest_side=4,
        zero_bias=False,
        options={
            "block": Option(
                "bn_before_add",
                "str",
                'where the second batch norm of a block stands: "bn_before_add" or "bn_after_add".',
            ),
            "final_relu": Option(True, "bool", "bool, whether blocks end in ReLU."),
        },
    )


ResNet20 = _resnet("ResNet20", 3)
ResNet32 = _resnet("ResNet32", 5)
ResNet44 = _resnet("ResNet44", 7)
ResNet56 = _resnet("ResNet56", 9)
ResNet110 = _resnet("ResNet110", 18)
