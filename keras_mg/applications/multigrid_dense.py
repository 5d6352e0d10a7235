"""Multigrid networks that map an image to maps of its size, and the U-Nets beside them.

Paper: Ke, Maire, Yu, "Multigrid Neural Architectures", CVPR 2017, https://arxiv.org/abs/1611.07661.
Original code: Torch7, https://github.com/buttomnutstoast/Multigrid-Neural-Architectures. This file
is written from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic. (The released U-Net rounds down
where it pools; its sides are multiples of 8, so that nothing is rounded.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import keras

from keras_mg.applications import _builder, _preprocessing
from keras_mg.applications._multigrid_dense import (
    plain_top,
    progressive_trunk,
    residual_top,
    unet_top,
    unet_trunk,
)
from keras_mg.applications._records import Form, network
from keras_mg.layers import MultigridConv, MultigridResidual, arguments
from keras_mg.layers.initializers import unit_uniform
from keras_mg.training import Model

FAMILY = "dense multigrid"
SHAPE = (64, 64, 1)

# Statistics of the cluttered MNIST canvas in 0..1, as the authors normalise all their tasks.
MEAN = 0.1141
STD = 0.2746


def preprocess_input(x, data_format: str | None = None):
    """Normalise grey images with the statistics of cluttered MNIST: `(x / 255 - mean) / std`.

    The mean is 0.1141, the standard deviation 0.2746, both of pixels in 0..1.

    Args:
        x: array or tensor, images with values 0 to 255, 3D or 4D, one channel.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.

    Returns:
        An array or tensor of the same shape, floating point; `x` is unchanged.

    Raises:
        ValueError: if `x` is not 3D or 4D or has not one channel.
    """
    return _preprocessing.normalize(x, [255 * MEAN], [255 * STD], data_format)


def _dense(
    network: str,
    trunk: Callable,
    top: Callable,
    residual: bool = False,
    *,
    outputs: int,
    include_top: bool,
    weights,
    input_tensor,
    input_shape,
    pooling: str | None,
    classifier_activation,
    name: str,
    filters,
    output_bias: float,
    skip_mismatch: bool,
    pyramid_outputs: bool,
    data_format: str | None,
    dtype,
    **own: int,
) -> Model:
    """The network called `network`, of a trunk and a top, which take what is `own` to them, too."""
    outputs = arguments.positive_int("outputs", outputs)
    filters = arguments.positive_ints("filters", filters)
    own = {key: arguments.positive_int(key, value) for key, value in own.items()}
    common = _builder.layer_arguments(data_format, dtype)
    _builder.check_outputs(include_top, pooling, pyramid_outputs)
    settings = {
        **common,
        "epsilon": 1e-5 if residual else 1e-3,
    } | ({} if residual else {"gamma_initializer": unit_uniform()})
    with _builder.swapped_axes_explained(input_shape, SHAPE[2], common["data_format"]):
        images = _builder.image_input(
            input_tensor, input_shape, SHAPE, include_top, common["data_format"]
        )
        grids, levels = trunk(images, filters, settings, **own)
    if include_top:
        x = top(grids, outputs, output_bias, settings, **own)
        x = keras.layers.Activation(
            classifier_activation,
            dtype=_builder.output_dtype(common["dtype"], "maps"),
            name="maps",
        )(x)
    else:
        x = _builder.features(levels, grids[0], pooling, pyramid_outputs, common)
    return _builder.make_model(
        images, x, input_tensor, name, network, weights, skip_mismatch, common["dtype"]
    )


@network(FAMILY, SHAPE, 10, Form(605_718))
def SegPMG(
    outputs: int = 10,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classifier_activation: str | Callable | None = "sigmoid",
    name: str = "seg_pmg",
    *,
    filters: Sequence[int] = (64, 32, 16, 8),
    output_bias: float = 0.0,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    depth: int = 1,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """SegPMG: progressive multigrid network for dense prediction, as used on cluttered MNIST.

    The image becomes a pyramid; convolutions start on the coarsest grid and take in one finer grid
    after the other; then the coarse grids leave again, one by one, until the finest carries the
    output maps.

    Args:
        outputs: int, number of output maps. Defaults to 10.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; with J
            grids, its sides are multiples of 2**(J - 1). Defaults to (64, 64, 1), without the top
            to sides of None.
        filters: sequence of ints, channels of each grid, finest first. Defaults to (64, 32, 16, 8).
        output_bias: float, what the shift of the output maps' batch norm starts at; a negative
            value starts the maps near "nothing here", which suits rare objects. Defaults to 0.
        depth: int, layers per block. Defaults to 1.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> keras_mg.applications.SegPMG(outputs=3).output_shape
        (None, 64, 64, 3)

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _dense("SegPMG", partial(progressive_trunk, MultigridConv), plain_top, **locals())


@network(FAMILY, SHAPE, 10, Form(1_199_886))
def SegPRMG(
    outputs: int = 10,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classifier_activation: str | Callable | None = "sigmoid",
    name: str = "seg_prmg",
    *,
    filters: Sequence[int] = (64, 32, 16, 8),
    output_bias: float = 0.0,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    depth: int = 1,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """SegPRMG: progressive residual multigrid network for dense prediction.

    `SegPMG` with residual blocks of two multigrid convolutions in place of single ones.

    Args:
        outputs: int, number of output maps. Defaults to 10.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; with J
            grids, its sides are multiples of 2**(J - 1). Defaults to (64, 64, 1), without the top
            to sides of None.
        filters: sequence of ints, channels of each grid, finest first. Defaults to (64, 32, 16, 8).
        output_bias: float, what the shift of the output maps' batch norm starts at; a negative
            value starts the maps near "nothing here", which suits rare objects. Defaults to 0.
        depth: int, layers per block. Defaults to 1.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> keras_mg.applications.SegPRMG(outputs=3).output_shape
        (None, 64, 64, 3)

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _dense(
        "SegPRMG",
        partial(progressive_trunk, MultigridResidual),
        residual_top,
        residual=True,
        **locals(),
    )


@network(FAMILY, SHAPE, 10, Form(3_791_518))
def SegUNet(
    outputs: int = 10,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classifier_activation: str | Callable | None = "sigmoid",
    name: str = "seg_unet",
    *,
    filters: Sequence[int] = (64, 128, 256, 512),
    output_bias: float = 0.0,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """SegUNet: the U-Net that the multigrid networks are compared with on cluttered MNIST.

    One 3x3 convolution per level on the way down and on the way up.

    Args:
        outputs: int, number of output maps. Defaults to 10.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 8. Defaults to (64, 64, 1), without the top to sides of None.
        filters: sequence of ints, channels of the finest grid of each level, finest level first.
            Defaults to (64, 128, 256, 512).
        output_bias: float, what the shift of the output maps' batch norm starts at; a negative
            value starts the maps near "nothing here", which suits rare objects. Defaults to 0.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> keras_mg.applications.SegUNet(outputs=3).output_shape
        (None, 64, 64, 3)

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _dense("SegUNet", partial(unet_trunk, (1, 1, 1, 1)), unet_top, **locals())


@network(FAMILY, SHAPE, 10, Form(5_903_290))
def SegUMG(
    outputs: int = 10,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classifier_activation: str | Callable | None = "sigmoid",
    name: str = "seg_umg",
    *,
    filters: Sequence[int] = (64, 128, 256, 512),
    output_bias: float = 0.0,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """SegUMG: a U-Net of multigrid convolutions.

    Its four levels work on 3, 3, 2 and 1 grids; each coarser grid has half the channels of the one
    before.

    Args:
        outputs: int, number of output maps. Defaults to 10.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 8. Defaults to (64, 64, 1), without the top to sides of None.
        filters: sequence of ints, channels of the finest grid of each level, finest level first.
            Defaults to (64, 128, 256, 512).
        output_bias: float, what the shift of the output maps' batch norm starts at; a negative
            value starts the maps near "nothing here", which suits rare objects. Defaults to 0.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> keras_mg.applications.SegUMG(outputs=3).output_shape
        (None, 64, 64, 3)

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _dense("SegUMG", partial(unet_trunk, (3, 3, 2, 1)), unet_top, **locals())
