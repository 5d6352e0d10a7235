"""Multigrid networks that map an image to maps of its size.

Paper: Ke, Maire, Yu, "Multigrid Neural Architectures", CVPR 2017, https://arxiv.org/abs/1611.07661.
Original code: Torch7, https://github.com/buttomnutstoast/Multigrid-Neural-Architectures. This file
is written from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import keras

from keras_mg.applications import constructor, preprocessing, signatures
from keras_mg.applications.multigrid import REFERENCE
from keras_mg.applications.signatures import Option
from keras_mg.layers import MultigridConv, MultigridInput, MultigridResidual, arguments

# Statistics of the cluttered MNIST canvas in 0..1, as the authors normalise all their tasks.
MEAN = 0.1141
STD = 0.2746

PLAIN_EPSILON = 1e-3
RESIDUAL_EPSILON = 1e-5
INPUT_SHAPE = (64, 64, 1)
FILTERS = (64, 32, 16, 8)


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
    return preprocessing.normalize(x, [255 * MEAN], [255 * STD], data_format)


class DenseNetwork(Protocol):
    """The signature of the constructors of dense networks."""

    __name__: str

    def __call__(
        self,
        outputs: int = 10,
        include_top: bool = True,
        weights: str | os.PathLike | None = None,
        input_tensor: Any = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classifier_activation: str | Callable | None = "sigmoid",
        name: str = ...,
        *,
        filters: Sequence[int] = FILTERS,
        output_bias: float = 0.0,
        skip_mismatch: bool = False,
        pyramid_outputs: bool = False,
        data_format: str | None = None,
        dtype: Any = None,
        **options: Any,
    ) -> keras.Model: ...


_ARGUMENTS = """
    Args:
        outputs: int, number of output maps. Defaults to 10.
        include_top: bool, whether the last convolutions make the output maps. Without them the
            output is the finest grid's features. Defaults to True.
        weights: None (random initialisation) or the path or address of a weights file of any
            format that `keras_mg.weights.load` reads. Defaults to None.
        input_tensor: Keras tensor to use as the image input, or None. Defaults to None.
        input_shape: tuple, shape of an image without the batch axis, in `data_format`; a side may
            be None. Defaults to (64, 64, 1), without the top to sides of None.
        pooling: without the top: None gives the feature map, "avg" and "max" its global average or
            maximum. Defaults to None.
        classifier_activation: activation of the maps; None gives logits. Defaults to "sigmoid".
        name: str, name of the model. Defaults to "{name}".
        filters: {filters_text} Defaults to
            {filters}.
        output_bias: float, what the shift of the output maps' batch norm starts at; a negative
            value starts the maps near "nothing here", which suits rare objects. Defaults to 0.
        skip_mismatch: bool, whether layers that do not fit the weights file keep their own
            weights, with a warning, instead of raising: for a new classifier on a whole network.
            Defaults to False.
        pyramid_outputs: bool, without the top: whether the output is a dict with the deepest
            feature map of each resolution, "P0" at the image's side, "P1" at half of it and so
            on. Defaults to False.
{options}        data_format: "channels_last", "channels_first" or None for Keras's global setting.
        dtype: dtype or dtype policy of the layers ("mixed_bfloat16", ...) or None for Keras's
            global policy. The maps' activation computes in the policy's variable dtype.

    Returns:
        A functional `keras_mg.Model`, which is a `keras.Model`, whose output has the image's
        height and width.

    Raises:
        ValueError: if an argument is not of its kind, if the image's sides do not suit the number
            of grids, or if the weights are of another network.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.{constructor}(outputs=3)
        >>> model.output_shape
        (None, 64, 64, 3)

    Reference:
        - {reference}
    """

DEPTH = {"depth": Option(1, "int", "int, layers per block.")}


def dense_constructor(
    name: str,
    summary: str,
    trunk: Callable,
    top: Callable,
    *,
    epsilon: float,
    module: str,
    default_filters: Sequence[int] = FILTERS,
    filters_text: str = "sequence of ints, channels of each grid, finest first.",
    options: Mapping[str, Option] | None = None,
) -> DenseNetwork:
    """Make the constructor of one published dense network.

    Args:
        name: the constructor's name, under which weights are registered, too.
        summary: the head of its docstring.
        trunk: takes the image, `filters`, the layers' settings and the options by name; gives the
            grids that the top reads, finest first, and the deepest feature map of each level.
        top: takes those grids, the number of outputs, `output_bias`, the settings and the options
            by name; gives the output maps.
        epsilon: of the batch norms.
        module: the name of the family's module.
        default_filters: the published widths.
        filters_text: what they are.
        options: keyword arguments behind the shared signature.

    Returns:
        A function with the signature of `DenseNetwork`.
    """
    options = options or {}
    default_name = f"seg_{name.removeprefix('Seg').lower()}"

    def build(
        *,
        outputs,
        include_top,
        weights,
        input_tensor,
        input_shape,
        pooling,
        classifier_activation,
        name: str,
        filters,
        output_bias,
        skip_mismatch,
        pyramid_outputs,
        data_format,
        dtype,
        **own,
    ) -> keras.Model:
        outputs = arguments.positive_int("outputs", outputs)
        filters = arguments.positive_ints("filters", filters)
        for key in own:
            own[key] = arguments.positive_int(key, own[key])
        common = constructor.layer_arguments(data_format, dtype)
        constructor.check_outputs(include_top, pooling, pyramid_outputs)
        images = constructor.image_input(
            input_tensor, input_shape, INPUT_SHAPE, include_top, common["data_format"]
        )
        settings = {"epsilon": epsilon, **common}
        grids, levels = trunk(images, filters, settings, **own)
        if include_top:
            x = top(grids, outputs, output_bias, settings, **own)
            x = keras.layers.Activation(
                classifier_activation, dtype=common["dtype"].variable_dtype, name="maps"
            )(x)
        else:
            x = constructor.features(levels, grids[0], pooling, pyramid_outputs, common)
        return constructor.make_model(
            images, x, input_tensor, name, network, weights, skip_mismatch
        )

    network = name
    documentation = _ARGUMENTS.format(
        name=default_name,
        filters=default_filters,
        filters_text=filters_text,
        constructor=name,
        reference=REFERENCE,
        options=signatures.entries(options),
    )
    signature = signatures.extended_signature(
        DenseNetwork, {"name": default_name, "filters": default_filters}, {}, options
    )
    return signatures.as_constructor(
        name, module, summary.rstrip() + "\n" + documentation, signature, build
    )


def _progressive_trunk(make_layer, images, filters, settings: dict, depth: int):
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


def _plain_top(grids, outputs: int, output_bias: float, settings: dict, depth: int):
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


def _residual_top(grids, outputs: int, output_bias: float, settings: dict, depth: int):
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


SegPMG = dense_constructor(
    "SegPMG",
    """SegPMG: progressive multigrid network for dense prediction, as used on cluttered MNIST.

    The image becomes a pyramid; convolutions start on the coarsest grid and take in one finer grid
    after the other; then the coarse grids leave again, one by one, until the finest carries the
    output maps. With J grids, sides are multiples of 2**(J - 1).
    """,
    partial(_progressive_trunk, MultigridConv),
    _plain_top,
    epsilon=PLAIN_EPSILON,
    module=__name__,
    options=DEPTH,
)
SegPRMG = dense_constructor(
    "SegPRMG",
    """SegPRMG: progressive residual multigrid network for dense prediction.

    `SegPMG` with residual blocks of two multigrid convolutions in place of single ones. With J
    grids, sides are multiples of 2**(J - 1).
    """,
    partial(_progressive_trunk, MultigridResidual),
    _residual_top,
    epsilon=RESIDUAL_EPSILON,
    module=__name__,
    options=DEPTH,
)
