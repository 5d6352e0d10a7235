"""What networks there are, and what is known of each."""

from __future__ import annotations

import difflib
import fnmatch
import inspect
import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from keras_mg import ops
from keras_mg.applications._records import NETWORKS, Image, NetworkRecord, PublishedFigure
from keras_mg.layers import arguments as layer_arguments
from keras_mg.weights import weights_info

# Arguments that change neither the network's arithmetic nor what its figures belong to. Dropout,
# the momentum of batch norms and the bias that the output maps start with are settings of the
# training; the image is compared apart.
NEUTRAL = {
    *("data_format", "dtype", "classifier_activation", "input_shape"),
    *("dropout", "momentum", "output_bias"),
}
# What is loaded into a network, and where it is attached.
OUTSIDE = {"weights", "skip_mismatch", "input_tensor"}


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a network.

    Args:
        name: the constructor in `keras_mg.applications`.
        arguments: the arguments that the network was made with, as pairs of name and value.
        family: the kind of network.
        parameters: trainable parameters, counted on the model.
        multiply_accumulates: what one image costs, in multiply-accumulates of convolutions,
            transposed convolutions and fully connected layers, counted on the model.
        input_shape: `(height, width, channels)` that they were counted at.
        classes: classes or output maps; None without the top.
        published: the authors' figures of this network; empty where the arguments make another one.
        weights: tags of published weights, for `weights=`.
    """

    name: str
    arguments: tuple[tuple[str, Any], ...]
    family: str
    parameters: int
    multiply_accumulates: int
    input_shape: tuple[int, int, int]
    classes: int | None
    published: tuple[PublishedFigure, ...]
    weights: tuple[str, ...]

    @property
    def call(self) -> str:
        """The expression that makes the network, as one would write it."""
        parameters = inspect.signature(_look_up(self.name).construct).parameters
        given = dict(self.arguments)
        required = [k for k, p in parameters.items() if p.default is inspect.Parameter.empty]
        words = [repr(given.pop(key)) for key in required]
        return f"{self.name}({', '.join((*words, *(f'{k}={v!r}' for k, v in given.items())))})"

    def find(self, *metrics: str) -> tuple[PublishedFigure, ...]:
        """The published figures of these metrics."""
        return tuple(figure for figure in self.published if figure.metric in metrics)

    def __str__(self) -> str:
        height, width, channels = self.input_shape
        lines = [
            f"{self.call}, {self.family}",
            f"  parameters            {self.parameters:,}",
            f"  multiply-accumulates  {self.multiply_accumulates:,}",
            f"  input                 {height} x {width} x {channels}",
            f"  classes               {'no top' if self.classes is None else self.classes}",
            f"  weights               {', '.join(self.weights) or 'none published'}",
            *(f"  published             {figure}" for figure in self.published),
        ]
        return "\n".join(lines)


def _natural(name: str) -> list:
    """A key that sorts MG6 before MG11."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def list_models(pattern: str | None = None) -> list[str]:
    """The names of the constructors in `keras_mg.applications`.

    Args:
        pattern: shell pattern ("RMG*", "*seg*") in which letter case does not count, or None for
            all. Defaults to None.

    Returns:
        The names that match, sorted with numbers by value.

    Example:
        >>> import keras_mg
        >>> keras_mg.applications.list_models("rmg*")
        ['RMG12', 'RMG18', 'RMG22', 'RMG32', 'RMG34', 'RMG42']
    """
    names = sorted(NETWORKS, key=_natural)
    if pattern is None:
        return names
    return [name for name in names if fnmatch.fnmatchcase(name.lower(), pattern.lower())]


def _look_up(name: str) -> NetworkRecord:
    if name not in NETWORKS:
        by_lower = {n.lower(): n for n in NETWORKS}
        close = difflib.get_close_matches(str(name).lower(), by_lower, n=5, cutoff=0.5)
        like = f" Close to it: {', '.join(by_lower[c] for c in close)}." if close else ""
        raise ValueError(f"there is no network {name!r}.{like} list_models() gives all names.")
    return NETWORKS[name]


def _count(make: Callable[..., keras.Model], settings: dict[str, Any]) -> tuple[keras.Model, int]:
    """The model as shapes and its multiply-accumulates, leaving Python's random state alone.

    Keras draws the seeds of initializers from it.
    """
    state = random.getstate()
    try:
        return ops.multiply_accumulates(partial(make, **settings))
    finally:
        random.setstate(state)


def _image_shape(model: keras.Model, data_format: str) -> tuple:
    shape = model.input_shape[1:]
    return (*shape[1:], shape[0]) if data_format == "channels_first" else tuple(shape)


def _settings(signature: inspect.Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a network the one that it is, as it is written in a record."""
    bound = signature.bind(**arguments)
    bound.apply_defaults()
    values = bound.arguments
    if "filters" in values and "iterations" in values:
        iterations = layer_arguments.positive_ints("iterations", values["iterations"])
        filters = layer_arguments.per_grid("filters", values["filters"], len(iterations))
        values |= {"iterations": iterations, "filters": filters}
    return {k: _frozen(v) for k, v in values.items() if k not in NEUTRAL | OUTSIDE}


def _frozen(value):
    return tuple(value) if isinstance(value, list) else value


def _published(
    record: NetworkRecord, arguments: Mapping[str, Any], image: Image | None
) -> tuple[PublishedFigure, ...]:
    """The figures of the form that these arguments make, at this image or, if None, its own."""
    signature = inspect.signature(record.construct)
    settings = _settings(signature, arguments)
    for form in record.forms:
        same_image = image is None or form.image == image
        if same_image and _settings(signature, form.arguments) == settings:
            return form.figures
    return ()


def network_record(name: str) -> NetworkRecord:
    """The record that stands beside a constructor.

    Args:
        name: a name from `list_models()`.

    Raises:
        ValueError: if there is no such network.

    Example:
        >>> import keras_mg
        >>> [form.arguments for form in keras_mg.applications.network_record("PRMGSeg30").forms]
        [{}, {'shortcut': 'A'}]
    """
    return _look_up(name)


def published_figures(name: str, **arguments) -> tuple[PublishedFigure, ...]:
    """What its authors published of a network, which is not made for it.

    Args:
        name: a name from `list_models()`.
        **arguments: arguments of the constructor. Not `input_shape`, for the figures are those at
            the published image, nor `weights` and `input_tensor`.

    Returns:
        The figures; none where the arguments make another network than the published one.

    Raises:
        ValueError: if there is no such network, or for an argument that is not taken.
        TypeError: if the constructor has no such argument or misses one.

    Example:
        >>> import keras_mg
        >>> [str(figure) for figure in keras_mg.applications.published_figures("IGCPlain", depth=38,
        ...     primary_partitions=24, secondary_partitions=2)]
        ['parameters 0.3172 million (training log of the IGC authors)']
    """
    record = _look_up(name)
    _refuse("published_figures", arguments, OUTSIDE | {"input_shape"})
    try:
        return _published(record, arguments, None)
    except TypeError as error:
        raise TypeError(f"{name}(): {error}") from None


def _refuse(function: str, arguments: Mapping[str, Any], refused: set[str]) -> None:
    for key in sorted(refused & set(arguments)):
        raise ValueError(
            f"{function} describes a network and takes no {key!r}. "
            f"Received: {key}={arguments[key]!r}"
        )


def model_info(name: str, **arguments) -> ModelInfo:
    """What is known of a network: its size, what it costs, what its authors published.

    Parameters and multiply-accumulates are counted on the model itself, which is made as shapes
    only: no memory is taken for its weights, however large it is.

    Args:
        name: a name from `list_models()`.
        **arguments: arguments of the constructor, such as `classes=10`; required where the
            constructor requires them (`IGCPlain`). Not `weights` and `input_tensor`.

    Returns:
        A `ModelInfo`.

    Raises:
        ValueError: if there is no such network, or if an argument is not of its kind.
        TypeError: if the constructor has no such argument or misses one.

    Example:
        >>> import keras_mg
        >>> info = keras_mg.applications.model_info("MG6")
        >>> info.parameters, info.multiply_accumulates, info.input_shape
        (8344164, 116754944, (32, 32, 3))
        >>> print(info.published[-1])
        error 32.08 % on CIFAR-100 (Ke et al., CVPR 2017, table of CIFAR-100 results)
    """
    record = _look_up(name)
    _refuse("model_info", arguments, OUTSIDE)
    signature = inspect.signature(record.construct)
    try:
        bound = signature.bind(**arguments)
    except TypeError as error:
        raise TypeError(f"{name}(): {error}") from None
    bound.apply_defaults()
    values = bound.arguments
    data_format = layer_arguments.standardize_data_format(values["data_format"])

    made = arguments
    if values["input_shape"] is None and not values["include_top"]:
        # The published image, which a network without its top does not fix.
        whole = {"include_top": True, "pooling": None, "pyramid_outputs": False}
        model, _ = _count(record.construct, {**arguments, **whole})
        made = {**arguments, "input_shape": model.input_shape[1:]}
    model, count = _count(record.construct, made)
    shape = _image_shape(model, data_format)
    return ModelInfo(
        name=name,
        arguments=tuple((key, _frozen(value)) for key, value in arguments.items()),
        family=record.family,
        parameters=sum(math.prod(v.shape) for v in model.trainable_variables),
        multiply_accumulates=count,
        input_shape=shape,
        classes=values.get("classes", values.get("outputs")) if values["include_top"] else None,
        published=_published(record, arguments, shape),
        weights=tuple(entry.tag for entry in weights_info(name)),
    )
