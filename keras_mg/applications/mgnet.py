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

from collections.abc import Callable, Sequence

import keras

from keras_mg.applications import constructor, imagenet, preprocessing
from keras_mg.layers import (
    ConvNormActivation,
    MaxPool,
    MgNetRestriction,
    MgNetSmoother,
    arguments,
)
from keras_mg.layers.initializers import torch_uniform

# Mean and standard deviation of each channel in 0..1, as the authors normalise.
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "mnist": ((0.1307,), (0.3081,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}

# Stem: shape of the published image, and whether it starts with the ImageNet reduction by 4.
STEMS = {"cifar": (32, 32, 3), "mnist": (28, 28, 1), "imagenet": (224, 224, 3)}

decode_predictions = imagenet.decode_predictions


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
    return preprocessing.normalize(x, [255 * m for m in mean], [255 * s for s in std], data_format)


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


def MgNet(
    iterations: Sequence[int] = (2, 2, 2, 2),
    filters: int | Sequence[int] = 256,
    share_smoother: bool = True,
    stem: str = "cifar",
    include_top: bool = True,
    weights=None,
    input_tensor=None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 100,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "mgnet",
    *,
    skip_mismatch: bool = False,
    pyramid_outputs: bool = False,
    data_format: str | None = None,
    dtype=None,
) -> keras.Model:
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
        include_top: bool, whether the network ends in its classifier. Defaults to True.
        weights: None (random initialisation) or the path or address of a weights file of any
            format that `keras_mg.weights.load` reads. Defaults to None.
        input_tensor: Keras tensor to use as the image input, or None. Defaults to None.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; a side may
            be None. With J grids, sides are at least 2**(J - 1), with the ImageNet stem four times
            that. Defaults to the stem's data set (32x32x3, 28x28x1, 224x224x3), without the top
            to sides of None.
        pooling: without the top: None gives the last feature map, "avg" and "max" its global
            average or maximum. Defaults to None.
        classes: int, number of classes. Defaults to 100.
        classifier_activation: activation of the classifier; None gives logits. Defaults to
            "softmax".
        name: str, name of the model. Defaults to "mgnet".
        skip_mismatch: bool, whether layers that do not fit the weights file keep their own
            weights, with a warning, instead of raising: for a new classifier on a whole network.
            Defaults to False.
        pyramid_outputs: bool, without the top: whether the output is a dict with the feature map
            of each grid, named by its level: "P0" at the image's side, "P1" at half of it and so
            on. Defaults to False.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        dtype: dtype or dtype policy of the layers ("mixed_bfloat16", ...) or None for Keras's
            global policy. The classifier itself computes in the policy's variable dtype.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`.

    Raises:
        ValueError: if an argument is not of its kind, if `filters` and `iterations` disagree on the
            number of grids, or if the weights are of another network.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.MgNet(filters=16, classes=10)
        >>> model.output_shape
        (None, 10)

    Reference:
        - [MgNet, He and Xu, 2019](https://arxiv.org/abs/1901.10415)
    """
    iterations = arguments.positive_ints("iterations", iterations)
    filters = arguments.per_grid("filters", filters, len(iterations), of="`iterations`")
    arguments.one_of("stem", stem, tuple(STEMS))

    def trunk(images, common):
        return _trunk(iterations, filters, share_smoother, stem, images, common)

    return constructor.classifier(
        "MgNet",
        trunk,
        STEMS[stem],
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        skip_mismatch=skip_mismatch,
        pyramid_outputs=pyramid_outputs,
        data_format=data_format,
        dtype=dtype,
        zero_bias=False,
        smallest_side=2 ** (len(iterations) - 1) * (4 if stem == "imagenet" else 1),
    )
