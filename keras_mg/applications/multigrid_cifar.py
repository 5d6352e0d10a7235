"""Multigrid classifiers for CIFAR: plain and residual ones, with and without progressive start.

Paper: Ke, Maire, Yu, "Multigrid Neural Architectures", CVPR 2017, https://arxiv.org/abs/1611.07661.
Original code: Torch7, https://github.com/buttomnutstoast/Multigrid-Neural-Architectures. This file
is written from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import keras

from keras_mg.applications._builder import classifier
from keras_mg.applications._multigrid import Block, Network, progressive_start, trunk
from keras_mg.applications._records import Form, PublishedFigure, network
from keras_mg.applications.multigrid import preprocess_input as preprocess_input
from keras_mg.training import Model

FAMILY = "multigrid"
SHAPE = (32, 32, 3)
SOURCE = "Ke et al., CVPR 2017, table of CIFAR-100 results"

WIDTHS = ((64, 32, 16), (128, 64, 32), (256, 128, 64), (512, 256, 128), (512, 384))
DROPOUT = (0.0, 0.1, 0.2, 0.3, 0.4)  # published rates, per block


def _printed(parameters: float, flops: float, error: float) -> tuple[PublishedFigure, ...]:
    """A row of the paper's table: millions, millions, per cent."""
    return (
        PublishedFigure("parameters", parameters, "million", None, SOURCE),
        PublishedFigure("FLOPs", flops, "million", None, SOURCE),
        PublishedFigure("error", error, "%", "CIFAR-100", SOURCE),
    )


def _network(layers: int, residual: bool, progressive: bool, dropout: bool) -> Network:
    """The network with `layers` layers per block."""
    blocks = []
    for b, widths in enumerate(WIDTHS):
        # In the last two blocks the coarsest grid is a single pixel, or about to be.
        kernel_size = (3,) * (len(widths) - 1) + (1 if b >= 3 else 3,)
        count = layers
        if b == 0 and progressive:
            count = 0  # the start replaces the first block's layers
        elif b == 0 and not residual:
            count = layers - 1  # the input layer is the first of them
        rate = DROPOUT[b] if dropout else 0.0
        blocks.append(Block(widths, count, kernel_size, rate, pool=True, merge=b >= 3))
    first = WIDTHS[0]
    start = progressive_start([first[-i:] for i in (1, 2, 3)], layers) if progressive else ()
    return Network("cifar", first, tuple(blocks), residual, start)


def _cifar(
    network: str,
    layers: int,
    residual: bool = False,
    progressive: bool = False,
    dropout: bool = False,
    **shared,
) -> Model:
    """The network called `network`; `shared` are the arguments that every constructor has."""
    made = _network(layers, residual, progressive, dropout)
    return classifier(network, partial(trunk, made), SHAPE, zero_bias=residual, **shared)


@network(FAMILY, SHAPE, 100, Form(8_344_164, figures=_printed(8.34, 116.63, 32.08)))
def MG6(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "mg6",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """MG-6: a plain multigrid network for 32x32 images, one layer per block.

    Five blocks of multigrid convolutions on three grids, the last on two; a pooling follows each.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.MG6(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("MG6", 1, **locals())


@network(FAMILY, SHAPE, 100, Form(20_460_948, figures=_printed(20.46, 391.88, 28.39)))
def MG11(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "mg11",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """MG-11: a plain multigrid network for 32x32 images, two layers per block.

    Five blocks of multigrid convolutions on three grids, the last on two; a pooling follows each.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.MG11(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("MG11", 2, **locals())


@network(FAMILY, SHAPE, 100, Form(32_577_732, figures=_printed(32.58, 667.13, 29.91)))
def MG16(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "mg16",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """MG-16: a plain multigrid network for 32x32 images, three layers per block.

    Five blocks of multigrid convolutions on three grids, the last on two; a pooling follows each.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.MG16(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("MG16", 3, **locals())


@network(FAMILY, SHAPE, 100, Form(44_694_516, figures=_printed(44.68, 942.38, 30.03)))
def MG21(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "mg21",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """MG-21: a plain multigrid network for 32x32 images, four layers per block.

    Five blocks of multigrid convolutions on three grids, the last on two; a pooling follows each.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.MG21(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("MG21", 4, **locals())


@network(FAMILY, SHAPE, 100, Form(8_462_196))
def PMG9(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "pmg9",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """P-MG-9: a progressive multigrid network for 32x32 images, one layer per block.

    Five blocks of multigrid convolutions on three grids, the last on two; a pooling follows each.
    The first block is a progressive start: the coarsest grid works alone, then the two coarsest
    together, then all three.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.PMG9(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("PMG9", 1, progressive=True, **locals())


@network(FAMILY, SHAPE, 100, Form(20_602_212))
def PMG16(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "pmg16",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """P-MG-16: a progressive multigrid network for 32x32 images, two layers per block.

    Five blocks of multigrid convolutions on three grids, the last on two; a pooling follows each.
    The first block is a progressive start: the coarsest grid works alone, then the two coarsest
    together, then all three.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.PMG16(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("PMG16", 2, progressive=True, **locals())


@network(FAMILY, SHAPE, 100, Form(32_742_228))
def PMG23(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "pmg23",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """P-MG-23: a progressive multigrid network for 32x32 images, three layers per block.

    Five blocks of multigrid convolutions on three grids, the last on two; a pooling follows each.
    The first block is a progressive start: the coarsest grid works alone, then the two coarsest
    together, then all three.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.PMG23(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("PMG23", 3, progressive=True, **locals())


@network(FAMILY, SHAPE, 100, Form(44_882_244))
def PMG30(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "pmg30",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """P-MG-30: a progressive multigrid network for 32x32 images, four layers per block.

    Five blocks of multigrid convolutions on three grids, the last on two; a pooling follows each.
    The first block is a progressive start: the coarsest grid works alone, then the two coarsest
    together, then all three.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.PMG30(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("PMG30", 4, progressive=True, **locals())


@network(FAMILY, SHAPE, 100, Form(20_555_748, figures=_printed(20.56, 457.20, 27.84)))
def RMG12(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "rmg12",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """R-MG-12: a residual multigrid network for 32x32 images, one layer per block.

    Five blocks of multigrid residual blocks on three grids, the last on two; a pooling follows
    each.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.RMG12(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("RMG12", 1, residual=True, **locals())


@network(FAMILY, SHAPE, 100, Form(44_789_316, figures=_printed(44.79, 1007.70, 26.79)))
def RMG22(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "rmg22",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """R-MG-22: a residual multigrid network for 32x32 images, two layers per block.

    Five blocks of multigrid residual blocks on three grids, the last on two; a pooling follows
    each.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.RMG22(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("RMG22", 2, residual=True, **locals())


@network(FAMILY, SHAPE, 100, Form(69_022_884, figures=_printed(69.02, 1558.20, 25.29)))
def RMG32(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "rmg32",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """R-MG-32: a residual multigrid network for 32x32 images, three layers per block.

    Five blocks of multigrid residual blocks on three grids, the last on two; a pooling follows
    each.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.RMG32(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("RMG32", 3, residual=True, **locals())


@network(FAMILY, SHAPE, 100, Form(93_256_452, figures=_printed(93.26, 2108.71, 26.32)))
def RMG42(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "rmg42",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """R-MG-42: a residual multigrid network for 32x32 images, four layers per block.

    Five blocks of multigrid residual blocks on three grids, the last on two; a pooling follows
    each.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.RMG42(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("RMG42", 4, residual=True, **locals())


@network(FAMILY, SHAPE, 100, Form(20_602_212))
def PRMG16(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "prmg16",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """PR-MG-16: a progressive residual multigrid network for 32x32 images, one layer per block.

    Five blocks of multigrid residual blocks on three grids, the last on two; a pooling follows
    each. The first block is a progressive start: the coarsest grid works alone, then the two
    coarsest together, then all three.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.PRMG16(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("PRMG16", 1, residual=True, progressive=True, **locals())


@network(FAMILY, SHAPE, 100, Form(44_882_244))
def PRMG30(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "prmg30",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """PR-MG-30: a progressive residual multigrid network for 32x32 images, two layers per block.

    Five blocks of multigrid residual blocks on three grids, the last on two; a pooling follows
    each. The first block is a progressive start: the coarsest grid works alone, then the two
    coarsest together, then all three.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.PRMG30(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("PRMG30", 2, residual=True, progressive=True, **locals())


@network(FAMILY, SHAPE, 100, Form(69_162_276))
def PRMG44(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "prmg44",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """PR-MG-44: a progressive residual multigrid network for 32x32 images, three layers per block.

    Five blocks of multigrid residual blocks on three grids, the last on two; a pooling follows
    each. The first block is a progressive start: the coarsest grid works alone, then the two
    coarsest together, then all three.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.PRMG44(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("PRMG44", 3, residual=True, progressive=True, **locals())


@network(FAMILY, SHAPE, 100, Form(93_442_308))
def PRMG58(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "prmg58",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    dropout: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """PR-MG-58: a progressive residual multigrid network for 32x32 images, four layers per block.

    Five blocks of multigrid residual blocks on three grids, the last on two; a pooling follows
    each. The first block is a progressive start: the coarsest grid works alone, then the two
    coarsest together, then all three.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 4. Defaults to (32, 32, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 100.
        dropout: bool, whether training drops features at the published rates (0 to 0.4). Defaults
            to False.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.PRMG58(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _cifar("PRMG58", 4, residual=True, progressive=True, **locals())
