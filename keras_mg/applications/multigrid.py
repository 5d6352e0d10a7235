"""Multigrid classifiers for ImageNet: R-MG, and PR-MG-seg, which keeps its grids.

Paper: Ke, Maire, Yu, "Multigrid Neural Architectures", CVPR 2017, https://arxiv.org/abs/1611.07661.
Original code: Torch7, https://github.com/buttomnutstoast/Multigrid-Neural-Architectures. This file
is written from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic. The 7x7 average pooling before the
ImageNet classifier is a global one, so that other image sizes work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import keras

from keras_mg.applications import _preprocessing
from keras_mg.applications._builder import classifier
from keras_mg.applications._imagenet import decode_predictions as decode_predictions
from keras_mg.applications._multigrid import Block, Network, progressive_start, trunk
from keras_mg.applications._records import Form, PublishedFigure, network
from keras_mg.training import Model

FAMILY = "multigrid"
SHAPE = (224, 224, 3)
SOURCE = "Ke et al., CVPR 2017, table of ImageNet results"

# Of RGB images in 0..255, as the authors normalise ImageNet.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


def preprocess_input(x, data_format: str | None = None):
    """Normalise RGB images for the ImageNet networks: `(x - mean) / std` per channel.

    Args:
        x: array or tensor, images with values 0 to 255, 3D or 4D.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.

    Returns:
        An array or tensor of the same shape, floating point; `x` is unchanged.

    Raises:
        ValueError: if `x` is not 3D or 4D or has not three channels.
    """
    return _preprocessing.normalize(x, IMAGENET_MEAN, IMAGENET_STD, data_format)


def _network(layers: Sequence[int]) -> Network:
    """R-MG with `layers` residual blocks at each resolution."""
    widths = ((64, 32, 16), (128, 64, 32), (256, 128), (512,))
    blocks = tuple(
        Block(w, n, pool=i < 3, merge=0 < i < 3)
        for i, (w, n) in enumerate(zip(widths, layers, strict=True))
    )
    return Network("imagenet", (64, 32, 16), blocks, residual=True)


def _segmentation_network(start_layers: int, layers: Sequence[int], shortcut: str) -> Network:
    """PR-MG-seg with `start_layers` residual blocks per step of the start."""
    start = progressive_start([(w,) * n for n, w in enumerate((8, 16, 32, 64), 1)], start_layers)
    widths = ((64, 64, 64, 128), (64, 64, 128, 256), (64, 128, 256, 512))
    blocks = tuple(Block(w, n) for w, n in zip(widths, layers, strict=True))
    return Network("imagenet", (64, 32, 16, 8), blocks, True, start, shortcut)


def _imagenet(network: str, layers: Sequence[int], **shared) -> Model:
    """R-MG; `shared` are the arguments that every constructor has."""
    return classifier(network, partial(trunk, _network(layers)), SHAPE, zero_bias=True, **shared)


def _segmentation(
    network: str, start_layers: int, layers: Sequence[int], shortcut: str, **shared
) -> Model:
    """PR-MG-seg; `shared` are the arguments that every constructor has."""
    made = _segmentation_network(start_layers, layers, shortcut)
    return classifier(network, partial(trunk, made), SHAPE, zero_bias=True, **shared)


@network(FAMILY, SHAPE, 1000, Form(15_847_752))
def RMG18(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "rmg18",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """R-MG-18: a residual multigrid network for ImageNet.

    Three grids at 1/4, 1/8 and 1/16 of the image's side are convolved together; the four stages
    have 2, 2, 2, 2 residual blocks, and the poolings between them merge the grids into one.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 16. Defaults to (224, 224, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 1000.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.RMG18(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _imagenet("RMG18", (2, 2, 2, 2), **locals())


@network(
    FAMILY,
    SHAPE,
    1000,
    Form(
        32_899_176,
        figures=(
            PublishedFigure("parameters", 32.9, "million", None, SOURCE),
            PublishedFigure("FLOPs", 5.76, "billion", None, SOURCE),
            PublishedFigure("top-1 error", 24.51, "%", "ImageNet", SOURCE),
            PublishedFigure("top-1 error of 10 crops", 22.42, "%", "ImageNet", SOURCE),
        ),
    ),
)
def RMG34(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "rmg34",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """R-MG-34: a residual multigrid network for ImageNet.

    Three grids at 1/4, 1/8 and 1/16 of the image's side are convolved together; the four stages
    have 3, 4, 6, 3 residual blocks, and the poolings between them merge the grids into one.

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 16. Defaults to (224, 224, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 1000.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.RMG34(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _imagenet("RMG34", (3, 4, 6, 3), **locals())


@network(FAMILY, SHAPE, 1000, Form(32_138_952), Form(31_905_432, {"shortcut": "A"}))
def PRMGSeg30(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "prmgseg30",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    shortcut: Literal["A", "B", "C"] = "B",
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """PR-MG-seg-30: a progressive residual multigrid network for ImageNet that keeps its grids.

    Four grids at 1/4 to 1/32 of the image's side; the classifier reads the coarsest, and
    `pyramid_outputs=True` gives all four, of which a segmentation head reads the finest ("P2").

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 32. Defaults to (224, 224, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 1000.
        shortcut: kind of the shortcuts, "A", "B" or "C" (see `MultigridResidual`). Defaults to "B".

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.PRMGSeg30(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _segmentation("PRMGSeg30", 2, (2, 2, 2), **locals())


@network(FAMILY, SHAPE, 1000, Form(60_697_080), Form(60_463_560, {"shortcut": "A"}))
def PRMGSeg52(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "prmgseg52",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    shortcut: Literal["A", "B", "C"] = "B",
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """PR-MG-seg-52: a progressive residual multigrid network for ImageNet that keeps its grids.

    Four grids at 1/4 to 1/32 of the image's side; the classifier reads the coarsest, and
    `pyramid_outputs=True` gives all four, of which a segmentation head reads the finest ("P2").

    Args:
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; its sides
            are multiples of 32. Defaults to (224, 224, 3), without the top to sides of None.
        classes: int, number of classes. Defaults to 1000.
        shortcut: kind of the shortcuts, "A", "B" or "C" (see `MultigridResidual`). Defaults to "B".

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the network,
            or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.PRMGSeg52(include_top=False, pooling="avg")

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    return _segmentation("PRMGSeg52", 3, (4, 6, 3), **locals())
