"""MgNet.

Papers: He, Xu, "MgNet: A Unified Framework of Multigrid and Convolutional Neural Network", Science
China Mathematics 62(7), 2019, https://arxiv.org/abs/1901.10415; He, Chen, Zhang, Xu, "Constrained
Linear Data-feature Mapping for Image Classification", https://arxiv.org/abs/1911.10428.
Original code: PyTorch, https://github.com/XuTeam/MgNet_Code (LGPL-3.0 by its README). This file is
written from the description of the networks and holds none of it.

Different from the released network: the residual f - A(u) is carried instead of f, which is exact
algebra (see `MgNetSmoother`) and spares half of A's convolutions; `stem="imagenet"` is an addition.
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
from keras_mg.applications._records import Form, PublishedFigure, network
from keras_mg.layers import (
    ConvNormActivation,
    MaxPool,
    MgNetRestriction,
    MgNetSmoother,
    arguments,
)
from keras_mg.layers.initializers import torch_uniform
from keras_mg.training import Model

FAMILY = "MgNet"
CIFAR_TABLES = "MgNet papers, tables of CIFAR results"
IMAGENET_TABLES = "MgNet papers, tables of ImageNet results"

# Mean and standard deviation of each channel in 0..1, as the authors normalise.
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "mnist": ((0.1307,), (0.3081,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}

# Stem: shape of the published image, and whether it starts with the ImageNet reduction by 4.
STEMS = {"cifar": (32, 32, 3), "mnist": (28, 28, 1), "imagenet": (224, 224, 3)}


def preprocess_input(x, data_format: str | None = None, dataset: str = "cifar100"):
    """Normalise images: `(x / 255 - mean) / std` per channel.

    Args:
        x: array or tensor, images with values 0 to 255, 3D or 4D.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        dataset: whose statistics: "cifar10", "cifar100", "mnist" or "imagenet". Defaults to
            "cifar100".

    Returns:
        An array or tensor of the same shape, floating point; `x` is unchanged.

    Raises:
        ValueError: if `x` is not 3D or 4D, has another number of channels than the data set, or
            `dataset` is none of these.
    """
    mean, std = STATISTICS[arguments.one_of("dataset", dataset, tuple(STATISTICS))]
    return _preprocessing.normalize(x, [255 * m for m in mean], [255 * s for s in std], data_format)


def _trunk(iterations, filters, share_smoother, stem, images, common):
    x = ConvNormActivation(
        filters[0],
        kernel_size=7 if stem == "imagenet" else 3,
        strides=2 if stem == "imagenet" else 1,
        kernel_initializer=torch_uniform(),
        name="stem",
        **common,
    )(images)
    level = 0
    if stem == "imagenet":
        x = MaxPool(3, strides=2, padding=1, name="stem_pool", **common)(x)
        level = 2
    levels = {}
    state = x  # u = 0, so the residual is f itself
    for g, (count, width) in enumerate(zip(iterations, filters, strict=True), 1):
        if g > 1:
            state = MgNetRestriction(width, name=f"grid{g}_restriction", **common)(state)
        last = g == len(iterations)
        state = MgNetSmoother(
            width,
            iterations=count,
            share_smoother=share_smoother,
            return_residual=not last,
            name=f"grid{g}_smoother",
            **common,
        )(state)
        levels[level + g - 1] = state if last else state[0]
    return levels


def _mgnet(network: str, iterations, filters, share_smoother: bool, stem: str, **shared) -> Model:
    iterations = arguments.positive_ints("iterations", iterations)
    filters = arguments.per_grid("filters", filters, len(iterations), of="`iterations`")
    image = STEMS[arguments.one_of("stem", stem, tuple(STEMS))]
    smallest = 2 ** (len(iterations) - 1) * (4 if stem == "imagenet" else 1)
    trunk = partial(_trunk, iterations, filters, share_smoother, stem)
    return classifier(network, trunk, image, zero_bias=False, smallest_side=smallest, **shared)


PARAMETERS = PublishedFigure("parameters", 8.2, "million", None, CIFAR_TABLES)
# Published without saying which stem; the released code has the 3x3 one alone.
WIDE = {
    "iterations": (3, 4, 6, 3),
    "filters": (128, 256, 512, 1024),
    "share_smoother": False,
    "classes": 1000,
}
WIDE_FIGURES = (
    PublishedFigure("parameters", 71.3, "million", None, IMAGENET_TABLES),
    PublishedFigure("accuracy", 78.59, "%", "ImageNet", IMAGENET_TABLES),
)


@network(
    FAMILY,
    STEMS["cifar"],
    100,
    Form(
        8_301_924,
        figures=(PARAMETERS, PublishedFigure("accuracy", 79.94, "%", "CIFAR-100", CIFAR_TABLES)),
    ),
    Form(
        8_278_794,
        {"classes": 10},
        figures=(PARAMETERS, PublishedFigure("accuracy", 96.00, "%", "CIFAR-10", CIFAR_TABLES)),
        classes=10,
    ),
    Form(10_661_220, {"share_smoother": False}),
    Form(71_255_144, WIDE, WIDE_FIGURES, classes=1000),
    Form(71_270_504, {**WIDE, "stem": "imagenet"}, WIDE_FIGURES, STEMS["imagenet"], 1000),
)
def MgNet(
    iterations: Sequence[int] = (2, 2, 2, 2),
    filters: int | Sequence[int] = 256,
    share_smoother: bool = True,
    stem: Literal["cifar", "mnist", "imagenet"] = "cifar",
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: Literal["avg", "max"] | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "mgnet",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: Literal["channels_last", "channels_first"] | None = None,
    dtype: str | keras.DTypePolicy | None = None,
) -> Model:
    """MgNet: a convolutional network in the form of a multigrid solver.

    On each grid, iterations `u <- u + relu(BN(B(relu(BN(f - A(u))))))` smooth a feature u towards
    the data f; restrictions carry both to the next coarser grid. The defaults are
    MgNet[2,2,2,2]-256-B^l, for which the authors report 79.94 % on CIFAR-100.

    Args:
        iterations: sequence of ints, smoothing iterations on each grid, finest first. Defaults to
            (2, 2, 2, 2).
        filters: int, channels of all grids, or one int per grid. Defaults to 256.
        share_smoother: bool, whether one convolution B serves all iterations of a grid (B^l in the
            papers) or each has its own (B^{l,i}). Defaults to True.
        stem: "cifar" or "mnist" (3x3 convolution) or "imagenet" (7x7 convolution with strides 2
            and a max-pooling). Defaults to "cifar".
        input_shape: tuple, shape of an image without the batch axis, in `data_format`. With J
            grids, its sides are at least 2**(J - 1), with the ImageNet stem four times that.
            Defaults to the stem's data set (32x32x3, 28x28x1, 224x224x3), without the top to
            sides of None.
        classes: int, number of classes. Defaults to 100.

    The other arguments are those of every network: `help(keras_mg.applications)`.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if `filters` and `iterations` disagree on
            the number of grids, or if the weights are of another network.
        TypeError: if there is no such argument.

    Example:
        >>> import keras_mg
        >>> keras_mg.applications.MgNet(filters=16, classes=10).output_shape
        (None, 10)

    Reference:
        - [MgNet, He and Xu, 2019](https://arxiv.org/abs/1901.10415)
    """
    return _mgnet("MgNet", **locals())
