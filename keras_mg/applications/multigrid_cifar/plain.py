"""Plain multigrid classifiers for CIFAR: MG, and P-MG with a progressive start."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras

from keras_mg.applications._records import Form, network
from keras_mg.applications.multigrid_cifar._networks import FAMILY, SHAPE, cifar, printed
from keras_mg.training import Model


@network(FAMILY, SHAPE, 100, Form(8_344_164, figures=printed(8.34, 116.63, 32.08)))
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
    return cifar("MG6", 1, **locals())


@network(FAMILY, SHAPE, 100, Form(20_460_948, figures=printed(20.46, 391.88, 28.39)))
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
    return cifar("MG11", 2, **locals())


@network(FAMILY, SHAPE, 100, Form(32_577_732, figures=printed(32.58, 667.13, 29.91)))
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
    return cifar("MG16", 3, **locals())


@network(FAMILY, SHAPE, 100, Form(44_694_516, figures=printed(44.68, 942.38, 30.03)))
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
    return cifar("MG21", 4, **locals())


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
    return cifar("PMG9", 1, progressive=True, **locals())


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
    return cifar("PMG16", 2, progressive=True, **locals())


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
    return cifar("PMG23", 3, progressive=True, **locals())


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
    return cifar("PMG30", 4, progressive=True, **locals())
