"""The single-grid networks that the multigrid paper compares with on CIFAR.

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
from keras_mg.applications._records import Form, network
from keras_mg.applications.multigrid import preprocess_input as preprocess_input
from keras_mg.layers import ConvNormActivation, MaxPool, ResidualBlock
from keras_mg.layers.initializers import he_fan_out, unit_uniform
from keras_mg.training import Model

FAMILY = "multigrid baseline"
SHAPE = (32, 32, 3)

PLAIN_EPSILON = 1e-3
RESIDUAL_EPSILON = 1e-5
VGG_FILTERS = (102, 204, 408, 816, 816)
RES_FILTERS = (64, 128, 256, 512, 512)


def _trunk(filters, layers: int, residual: bool, images, common) -> dict:
    settings = {
        **common,
        "use_bias": True,
        "epsilon": RESIDUAL_EPSILON if residual else PLAIN_EPSILON,
        "kernel_initializer": he_fan_out(),
        "gamma_initializer": "ones" if residual else unit_uniform(),
    }
    x = images
    if residual:
        x = ConvNormActivation(filters[0], name="stem", **settings)(x)
    levels = {}
    for b, width in enumerate(filters):
        for i in range(1, layers + 1):
            make = ResidualBlock if residual else ConvNormActivation
            x = make(width, name=f"block{b + 1}_layer{i}", **settings)(x)
        levels[b] = x
        x = MaxPool(2, name=f"block{b + 1}_pool", **common)(x)
    return {**levels, len(filters): x}


def _baseline(network: str, layers: int, residual: bool, **shared) -> Model:
    """The network called `network`; `shared` are the arguments that every constructor has."""
    trunk = partial(_trunk, RES_FILTERS if residual else VGG_FILTERS, layers, residual)
    return classifier(network, trunk, SHAPE, zero_bias=residual, smallest_side=32, **shared)


@network(FAMILY, SHAPE, 100, Form(10_016_908))
def CifarVGG6(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "cifarvgg6",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """VGG-6: the multigrid paper's single-grid network for 32x32 images.

    Five blocks of one convolution each, followed by a 2x2 max-pooling.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (32, 32, 3), without the top to sides of None.
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
        >>> model = keras_mg.applications.CifarVGG6(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _baseline("CifarVGG6", 1, residual=False, **locals())


@network(FAMILY, SHAPE, 100, Form(23_975_710))
def CifarVGG11(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "cifarvgg11",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """VGG-11: the multigrid paper's single-grid network for 32x32 images.

    Five blocks of two convolutions each, followed by a 2x2 max-pooling.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (32, 32, 3), without the top to sides of None.
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
        >>> model = keras_mg.applications.CifarVGG11(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _baseline("CifarVGG11", 2, residual=False, **locals())


@network(FAMILY, SHAPE, 100, Form(37_934_512))
def CifarVGG16(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "cifarvgg16",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """VGG-16: the multigrid paper's single-grid network for 32x32 images.

    Five blocks of three convolutions each, followed by a 2x2 max-pooling.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (32, 32, 3), without the top to sides of None.
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
        >>> model = keras_mg.applications.CifarVGG16(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _baseline("CifarVGG16", 3, residual=False, **locals())


@network(FAMILY, SHAPE, 100, Form(51_893_314))
def CifarVGG21(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "cifarvgg21",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """VGG-21: the multigrid paper's single-grid network for 32x32 images.

    Five blocks of four convolutions each, followed by a 2x2 max-pooling.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (32, 32, 3), without the top to sides of None.
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
        >>> model = keras_mg.applications.CifarVGG21(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _baseline("CifarVGG21", 4, residual=False, **locals())


@network(FAMILY, SHAPE, 100, Form(9_499_236))
def CifarRES12(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "cifarres12",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """RES-12: the multigrid paper's single-grid network for 32x32 images.

    Five blocks of one residual block each, followed by a 2x2 max-pooling.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (32, 32, 3), without the top to sides of None.
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
        >>> model = keras_mg.applications.CifarRES12(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _baseline("CifarRES12", 1, residual=True, **locals())


@network(FAMILY, SHAPE, 100, Form(20_493_540))
def CifarRES22(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "cifarres22",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """RES-22: the multigrid paper's single-grid network for 32x32 images.

    Five blocks of two residual blocks each, followed by a 2x2 max-pooling.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (32, 32, 3), without the top to sides of None.
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
        >>> model = keras_mg.applications.CifarRES22(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _baseline("CifarRES22", 2, residual=True, **locals())


@network(FAMILY, SHAPE, 100, Form(31_487_844))
def CifarRES32(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "cifarres32",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """RES-32: the multigrid paper's single-grid network for 32x32 images.

    Five blocks of three residual blocks each, followed by a 2x2 max-pooling.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (32, 32, 3), without the top to sides of None.
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
        >>> model = keras_mg.applications.CifarRES32(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _baseline("CifarRES32", 3, residual=True, **locals())


@network(FAMILY, SHAPE, 100, Form(42_482_148))
def CifarRES42(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "cifarres42",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """RES-42: the multigrid paper's single-grid network for 32x32 images.

    Five blocks of four residual blocks each, followed by a 2x2 max-pooling.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are at least 32. Defaults to (32, 32, 3), without the top to sides of None.
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
        >>> model = keras_mg.applications.CifarRES42(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _baseline("CifarRES42", 4, residual=True, **locals())
