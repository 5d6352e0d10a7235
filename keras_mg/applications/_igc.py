"""The trunk of the residual IGC networks and of the residual networks they are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from keras_mg.layers import ConvNormActivation, IGCResidual, MaxPool, ResidualBlock
from keras_mg.layers.igc_block import IGC_EPSILON
from keras_mg.layers.initializers import he_fan_in


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
    moving_variance_initializer: str = "ones"


def residual_trunk(network: Network, images, common: dict) -> dict[int, keras.KerasTensor]:
    """The deepest feature map of each level of a residual network."""
    norms: dict[str, Any] = {
        "epsilon": IGC_EPSILON,
        "moving_variance_initializer": network.moving_variance_initializer,
    }
    x, level = stem(network.stem, network.stem_filters, norms, images, common)
    levels = {level: x}
    for s, stage in enumerate(network.stages, 1):
        for b in range(1, stage.blocks + 1):
            settings = {
                **common,
                **norms,
                "filters": stage.filters,
                "strides": stage.strides if b == 1 else 1,
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


def stem(kind: str, filters: int, norms: dict, images, common: dict):
    """The first layers, with a batch norm of the arguments `norms`, and their level."""
    x = ConvNormActivation(
        filters,
        kernel_size=7 if kind == "imagenet" else 3,
        strides=2 if kind == "imagenet" else 1,
        kernel_initializer=he_fan_in(),
        name="stem",
        **norms,
        **common,
    )(images)
    if kind == "cifar":
        return x, 0
    return MaxPool(3, strides=2, padding=1, name="stem_pool", **common)(x), 2
