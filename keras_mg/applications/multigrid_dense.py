"""Multigrid networks that map an image to maps of its size.

Paper: Ke, Maire, Yu, "Multigrid Neural Architectures", CVPR 2017, https://arxiv.org/abs/1611.07661.
Original code: Torch7, https://github.com/buttomnutstoast/Multigrid-Neural-Architectures. This file
is written from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from keras_mg.applications import constructor
from keras_mg.layers import MultigridConv, MultigridInput, arguments

# Statistics of the cluttered MNIST canvas in 0..1, as the authors normalise all their tasks.
MEAN = 0.1141
STD = 0.2746

PLAIN_EPSILON = 1e-3


def preprocess_input(x, data_format: str | None = None):
    """Normalise grey images in 0..1: `(x - 0.1141) / 0.2746`.

    Args:
        x: array or tensor, canvases with values 0 to 1.
        data_format: accepted for the signature that all families share; unused.

    Returns:
        An array or tensor of the same shape; `x` is unchanged.
    """
    return (x - MEAN) / STD


def SegPMG(
    outputs: int = 10,
    depth: int = 1,
    filters: Sequence[int] = (64, 32, 16, 8),
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple[int | None, ...] | None = None,
    classifier_activation: str | Callable | None = "sigmoid",
    output_bias: float = 0.0,
    name: str = "seg_pmg",
    *,
    data_format: str | None = None,
    dtype=None,
) -> keras.Model:
    """Progressive multigrid network for dense prediction, as used on cluttered MNIST.

    The image becomes a pyramid; convolutions start on the coarsest grid and take in one finer grid
    after the other; then the coarse grids leave again, one by one, until the finest carries the
    output maps.

    Args:
        outputs: int, number of output maps. Defaults to 10.
        depth: int, multigrid convolutions per block. Defaults to 1.
        filters: sequence of ints, channels of each grid, finest first. Defaults to
            (64, 32, 16, 8).
        include_top: bool, whether the last convolution makes the output maps. Without it the
            output is the finest grid's features. Defaults to True.
        weights: None (random initialisation) or the path of a weights file. Defaults to None.
        input_tensor: Keras tensor to use as the image input, or None. Defaults to None.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; a side may
            be None. With four grids, sides are multiples of 8. Defaults to (64, 64, 1), without
            the top to sides of None.
        classifier_activation: activation of the maps; None gives logits. Defaults to "sigmoid".
        output_bias: float, what the last batch norm's shift starts at; a negative value starts the
            maps near "nothing here", which suits rare objects. Defaults to 0.
        name: str, name of the model. Defaults to "seg_pmg".
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        dtype: dtype or dtype policy of the layers ("mixed_bfloat16", ...) or None for Keras's
            global policy.

    Returns:
        A functional `keras.Model` whose output has the image's height and width.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the number
            of grids, or if the weights are of another network.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.SegPMG(outputs=3, filters=(8, 8, 8, 8))
        >>> model.output_shape
        (None, 64, 64, 3)

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    filters = arguments.positive_ints("filters", filters)
    depth = arguments.positive_int("depth", depth)
    outputs = arguments.positive_int("outputs", outputs)
    common = constructor.layer_arguments(data_format, dtype)
    images = constructor.image_input(
        input_tensor, input_shape, (64, 64, 1), include_top, common["data_format"]
    )
    settings = {"epsilon": PLAIN_EPSILON, **common}

    def block(grids, widths, name, drop_coarsest=False):
        for i in range(1, depth + 1):
            grids = MultigridConv(
                widths, drop_coarsest=drop_coarsest and i == 1, name=f"{name}_layer{i}", **settings
            )(grids)
        return grids

    count = len(filters)
    grids = MultigridInput(filters, name="stem", **settings)(images)
    for used in range(1, count + 1):
        waiting = count - used
        grids = [*grids[:waiting], *block(grids[waiting:], filters[waiting:], f"start{used}")]
    for b in range(1, count):
        grids = block(grids, filters, f"block{b}")
    for used in range(count - 1, 1, -1):
        grids = block(grids, filters[:used], f"end{used}", drop_coarsest=True)
    if not include_top:
        return constructor.make_model(images, grids[0], input_tensor, name, "SegPMG", weights)
    for i in range(1, depth + 1):
        last = i == depth
        layer = MultigridConv(
            (outputs,),
            activation=None if last else "relu",
            drop_coarsest=i == 1 and count > 1,
            name="predictions" if last else f"end1_layer{i}",
            **settings,
        )
        grids = layer(grids)
    layer.units[0].beta.assign(keras.ops.full((outputs,), output_bias))
    maps = keras.layers.Activation(
        classifier_activation, dtype=common["dtype"].variable_dtype, name="maps"
    )(grids[0])
    return constructor.make_model(images, maps, input_tensor, name, "SegPMG", weights)
