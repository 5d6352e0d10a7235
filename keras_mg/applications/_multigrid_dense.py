"""The trunks of the dense multigrid networks and of the U-Nets, and the tops that give their maps.

A trunk takes the image, the widths and the layers' settings, and gives the grids that the top
reads, finest first, and the deepest feature map of each level. A top takes those grids, the number
of outputs, their bias and the settings, and gives the output maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_mg.layers import (
    MultigridConv,
    MultigridInput,
    MultigridPool,
    MultigridResidual,
    MultigridTransposedConv,
    arguments,
)


def progressive_trunk(make_layer, images, filters, settings: dict, depth: int):
    """The grids join from the coarsest on, work together, and leave down to the two finest."""

    def block(grids, widths, name, drop_coarsest=False):
        for i in range(1, depth + 1):
            layer = make_layer(
                filters=widths,
                drop_coarsest=drop_coarsest and i == 1,
                name=f"{name}_layer{i}",
                **settings,
            )
            grids = layer(grids)
        return grids

    count = len(filters)
    grids = MultigridInput(filters, name="stem", **settings)(images)
    for used in range(1, count + 1):
        waiting = count - used
        grids = [*grids[:waiting], *block(grids[waiting:], filters[waiting:], f"start{used}")]
    for b in range(1, count):
        grids = block(grids, filters, f"block{b}")
    levels = dict(enumerate(grids))
    for used in range(count - 1, 1, -1):
        grids = block(grids, filters[:used], f"end{used}", drop_coarsest=True)
        levels |= dict(enumerate(grids))
    return grids, levels


def plain_top(grids, outputs: int, output_bias: float, settings: dict, depth: int):
    for i in range(1, depth + 1):
        last = i == depth
        layer = MultigridConv(
            (outputs,),
            activation=None if last else "relu",
            drop_coarsest=i == 1 and len(grids) > 1,
            beta_initializer=keras.initializers.Constant(output_bias if last else 0.0),
            name="predictions" if last else f"end1_layer{i}",
            **settings,
        )
        grids = layer(grids)
    return grids[0]


def residual_top(grids, outputs: int, output_bias: float, settings: dict, depth: int):
    for i in range(1, depth + 1):
        last = i == depth
        layer = MultigridResidual(
            (outputs,),
            kernel_size=1 if last else 3,
            activation=None if last else "relu",
            drop_coarsest=i == 1 and len(grids) > 1,
            beta_initializer=keras.initializers.Constant(output_bias if last else 0.0),
            name="predictions" if last else f"end1_layer{i}",
            **settings,
        )
        grids = layer(grids)
    return grids[0]


def unet_trunk(grids_per_level: Sequence[int], images, filters, settings: dict):
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


def unet_top(grids, outputs: int, output_bias: float, settings: dict):
    layer = MultigridConv(
        (outputs,) * len(grids),
        kernel_size=1,
        activation=None,
        beta_initializer=keras.initializers.Constant(output_bias),
        name="predictions",
        **settings,
    )
    return layer(grids)[0]
