"""Residual multigrid classifiers for CIFAR: R-MG, and PR-MG with a progressive start."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras

from keras_mg.applications._records import Form, network
from keras_mg.applications.multigrid_cifar._networks import FAMILY, SHAPE, cifar, printed
from keras_mg.training import Model


@network(FAMILY, SHAPE, 100, Form(20_555_748, figures=printed(20.56, 457.20, 27.84)))
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
    return cifar("RMG12", 1, residual=True, **locals())


@network(FAMILY, SHAPE, 100, Form(44_789_316, figures=printed(44.79, 1007.70, 26.79)))
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
    return cifar("RMG22", 2, residual=True, **locals())


@network(FAMILY, SHAPE, 100, Form(69_022_884, figures=printed(69.02, 1558.20, 25.29)))
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
    return cifar("RMG32", 3, residual=True, **locals())


@network(FAMILY, SHAPE, 100, Form(93_256_452, figures=printed(93.26, 2108.71, 26.32)))
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
    return cifar("RMG42", 4, residual=True, **locals())


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
    return cifar("PRMG16", 1, residual=True, progressive=True, **locals())


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
    return cifar("PRMG30", 2, residual=True, progressive=True, **locals())


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
    return cifar("PRMG44", 3, residual=True, progressive=True, **locals())


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
    return cifar("PRMG58", 4, residual=True, progressive=True, **locals())
