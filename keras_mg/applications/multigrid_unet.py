"""U-Nets on one grid and on many, for dense prediction.

Paper: Ke, Maire, Yu, "Multigrid Neural Architectures", CVPR 2017, https://arxiv.org/abs/1611.07661.
Original code: Torch7, https://github.com/buttomnutstoast/Multigrid-Neural-Architectures. This file
is written from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic. (The released U-Net rounds down
where it pools; its sides are multiples of 8, so that nothing is rounded.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import keras

from keras_mg.applications.multigrid_dense import PLAIN_EPSILON, dense_constructor
from keras_mg.applications.multigrid_dense import preprocess_input as preprocess_input
from keras_mg.layers import (
    MultigridConv,
    MultigridInput,
    MultigridPool,
    MultigridTransposedConv,
    arguments,
)

FILTERS = (64, 128, 256, 512)


def _unet_trunk(grids_per_level: Sequence[int], images, filters, settings: dict):
    """A U-Net whose level `l` works on `grids_per_level[l]` grids.

    Grid `i` of level `l` has `filters[l] // 2**i` channels.
    """
    if len(filters) != len(grids_per_level):
        raise ValueError(
            f"filters must have one entry per level ({len(grids_per_level)} levels). "
            f"Received: filters={filters}"
        )
    sides = arguments.sides(tuple(images.shape), settings["data_format"])
    multiple = 2 ** (len(filters) - 1)
    if any(side is not None and side % multiple for side in sides):
        raise ValueError(
            f"a U-Net of {len(filters)} levels needs an image whose sides are multiples of "
            f"{multiple}. Received shape: {tuple(images.shape)}"
        )

    def widths(level: int) -> list[int]:
        return [filters[level] // 2**i for i in range(grids_per_level[level])]

    data_format = settings["data_format"]
    channels = arguments.axes(data_format)[2]
    deepest = len(filters) - 1
    grids = MultigridInput(widths(0), name="stem", **settings)(images)
    skips = [grids]
    entered = []  # the widths with which each level below the first was entered
    for level in range(1, deepest + 1):
        drop = grids_per_level[level] < grids_per_level[level - 1]
        pool = MultigridPool(
            drop_coarsest=drop,
            name=f"down{level}_pool",
            data_format=data_format,
            dtype=settings["dtype"],
        )
        grids = pool(grids)
        entered.append([grid.shape[channels] for grid in grids])
        grids = MultigridConv(widths(level), name=f"down{level}", **settings)(grids)
        skips.append(grids)
    levels = dict(enumerate(skips[deepest], deepest))
    for level in range(deepest - 1, -1, -1):
        up = MultigridTransposedConv(entered[level], name=f"up{level}_sampling", **settings)(grids)
        concatenated = [
            keras.layers.Concatenate(
                axis=channels, dtype=settings["dtype"], name=f"up{level}_concat_grid_{i}"
            )([skip, x])
            for i, (skip, x) in enumerate(zip(skips[level], up, strict=False))
        ]
        # A grid that the level below has not is the skip alone.
        grids = [*concatenated, *skips[level][len(up) :]]
        grids = MultigridConv(widths(level), name=f"up{level}", **settings)(grids)
        levels |= dict(enumerate(grids, level))
    return grids, levels


def _unet_top(grids, outputs: int, output_bias: float, settings: dict):
    layer = MultigridConv(
        (outputs,) * len(grids),
        kernel_size=1,
        activation=None,
        beta_initializer=keras.initializers.Constant(output_bias),
        name="predictions",
        **settings,
    )
    return layer(grids)[0]


_FILTERS_TEXT = "sequence of ints, channels of the finest grid of each level, finest level first."

SegUNet = dense_constructor(
    "SegUNet",
    """SegUNet: the U-Net that the multigrid networks are compared with on cluttered MNIST.

    One 3x3 convolution per level on the way down and on the way up. With four levels, sides are
    multiples of 8.
    """,
    partial(_unet_trunk, (1, 1, 1, 1)),
    _unet_top,
    epsilon=PLAIN_EPSILON,
    module=__name__,
    default_filters=FILTERS,
    filters_text=_FILTERS_TEXT,
)
SegUMG = dense_constructor(
    "SegUMG",
    """SegUMG: a U-Net of multigrid convolutions.

    Its four levels work on 3, 3, 2 and 1 grids; each coarser grid has half the channels of the one
    before. Sides are multiples of 8.
    """,
    partial(_unet_trunk, (3, 3, 2, 1)),
    _unet_top,
    epsilon=PLAIN_EPSILON,
    module=__name__,
    default_filters=FILTERS,
    filters_text=_FILTERS_TEXT,
)
