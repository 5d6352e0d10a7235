"""Which array of a foreign checkpoint belongs to which variable: the tables, both ways.

A variable's path is `layer/unit/.../name`. The MXNet networks of the IGC authors name an array
after its place too (`g2_b1_proj_bn_gamma`: stage 2, block 1), and so does the PyTorch MgNet
(`layer1.0.R_conv.weight`: grid 2, restriction). The rules below turn the one into the other;
`assign` then demands that no array and no variable is left over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np

from keras_mg.weights.arrays import StoredArray, WeightsError
from keras_mg.weights.assign import HEAD, Pair

MXNET_NORM = {
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "moving_mean",
    "moving_variance": "moving_var",
}
TORCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

MXNET_UNITS: dict[str, tuple[str, ...]] = {
    "shortcut": ("_proj", "_p0_line"),
    "igc1": ("_conv1", "_p2_two1"),
    "igc2": ("_conv2", "_p2_two2"),
    "conv1": ("_conv1", "_p2_two1"),
    "conv2": ("_conv2", "_p2_two2"),
}
"""Units of a residual block: our name -> the ImageNet networks' and the CIFAR networks'."""
MXNET_PARTS = {"primary": "_conv1", "secondary": "_conv2", "norm": ""}
"""Layers of an interleaved group convolution; its batch norm is named after the whole."""
MXNET_HEADS = ("fc_score", "fc")
MXNET_BLOCK = re.compile(r"(?:stage(\d+)_block(\d+)|stem)")

MGNET_LAYER = re.compile(r"grid(\d+)_(smoother|restriction)")
TORCH_HEAD = ("fc.weight", "fc.bias")


def oihw_to_hwio(kernel: np.ndarray) -> np.ndarray:
    """A convolution kernel of MXNet or PyTorch in Keras's order of axes."""
    return np.transpose(kernel, (2, 3, 1, 0))


def hwio_to_oihw(kernel: np.ndarray) -> np.ndarray:
    """A convolution kernel of Keras in the order of axes of MXNet and PyTorch."""
    return np.transpose(kernel, (3, 2, 0, 1))


def _hwio_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 4:
        raise ValueError
    return (shape[2], shape[3], shape[1], shape[0])


def _io_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 2:
        raise ValueError
    return shape[::-1]


def foreign_pair(key: str, variable: keras.Variable) -> Pair:
    """A pair for an array with its axes in MXNet's and PyTorch's order."""
    if len(variable.shape) == 4:
        return Pair(key, variable, oihw_to_hwio, _hwio_shape)
    if len(variable.shape) == 2:
        return Pair(key, variable, np.transpose, _io_shape)
    return Pair(key, variable)


def mxnet_names(path: str) -> list[str]:
    """The names that the IGC authors' networks may give a variable, likeliest first.

    Args:
        path: the variable's path, for example `stage2_block1/igc1/primary/kernel`.

    Returns:
        Names without `arg:` and `aux:`; none where the path is of another family.
    """
    top, *inner, name = path.split("/")
    if top == HEAD and not inner:
        last = {"kernel": "weight", "bias": "bias"}.get(name)
        return [f"{head}_{last}" for head in MXNET_HEADS] if last else []
    block = MXNET_BLOCK.fullmatch(top)
    if block is None:
        return []
    prefixes = ["g0"] if top == "stem" else [f"g{block[1]}_b{block[2]}"]
    if inner and inner[0] in MXNET_UNITS:
        prefixes = [prefixes[0] + suffix for suffix in MXNET_UNITS[inner.pop(0)]]
    part = None
    if inner and inner[0] in MXNET_PARTS:
        part = MXNET_PARTS[inner.pop(0)]
    if inner:
        return []
    if name in MXNET_NORM:
        return [f"{p}_bn_{MXNET_NORM[name]}" for p in prefixes]
    if name == "kernel" and part is not None:
        return [f"{p}{part}_weight" for p in prefixes]
    if name == "kernel":
        return [f"{p}{conv}_weight" for p in prefixes for conv in ("_conv", "")]
    return []


def mgnet_names(model: keras.Model) -> dict[str, list[str]]:
    """The names that the MgNet authors' checkpoints give each variable of a model.

    Returns:
        The variable's path -> its names, several for a shared convolution. Empty where the
        model is no MgNet.
    """
    found = (MGNET_LAYER.fullmatch(layer.name) for layer in model.layers)
    grids = max((int(match[1]) for match in found if match), default=0)
    if not grids:
        return {}
    names: dict[str, list[str]] = {}
    for variable in model.weights:
        path = variable.path
        top, *inner, name = path.split("/")
        layer = MGNET_LAYER.fullmatch(top)
        if top == HEAD:
            names[path] = [{"kernel": TORCH_HEAD[0], "bias": TORCH_HEAD[1]}[name]]
        elif top == "stem":
            names[path] = [_torch_unit("conv1", "bn1", name)]
        elif layer and layer[2] == "restriction":
            units = {"feature": ("Pi_conv", "bn1"), "residual": ("R_conv", "bn2")}
            convolution, norm = units[inner[0]]
            here = f"layer{int(layer[1]) - 1}.0"
            names[path] = [_torch_unit(f"{here}.{convolution}", f"{here}.{norm}", name)]
        elif layer:
            names[path] = _smoother_names(
                model.get_layer(top), int(layer[1]), grids, inner[0], name
            )
    return names


def _torch_unit(convolution: str, norm: str, name: str) -> str:
    return f"{norm}.{TORCH_NORM[name]}" if name in TORCH_NORM else f"{convolution}.weight"


def _smoother_names(
    layer: keras.layers.Layer, grid: int, grids: int, unit: str, name: str
) -> list[str]:
    """Names of a variable of a smoother.

    Grids count from 1 here and from 0 there, and there entry 0 of every grid but the first is the
    restriction to it.
    """
    here = f"layer{grid - 1}"
    first = 0 if grid == 1 else 1
    places = [f"{here}.{first + i}" for i in range(layer.iterations)]
    if unit == "operator":
        names = [f"{place}.A.weight" for place in places]
        names += [f"{here}.0.A_conv.weight"] if grid > 1 else []
        return names + ([f"layer{grid}.0.A_old.weight"] if grid < grids else [])
    kind, _, number = unit.rpartition("_")
    if kind == "smoother":
        used = places if layer.share_smoother else [places[int(number)]]
        return [f"{place}.B.weight" for place in used]
    norm = {"residual_norm": "bn1", "feature_norm": "bn2"}[kind]
    return [f"{places[int(number)]}.{norm}.{TORCH_NORM[name]}"]


def mxnet_pairs(model: keras.Model, arrays: Mapping[str, StoredArray], file: str) -> list[Pair]:
    """The table for an MXNet file of the IGC authors' networks."""
    return _pairs(
        model,
        file,
        lambda v: _present(mxnet_names(v.path), arrays),
        "MXNet networks of the IGC authors",
    )


def torch_pairs(model: keras.Model, arrays: Mapping[str, StoredArray], file: str) -> list[Pair]:
    """The table for a PyTorch checkpoint of MgNet, or one with the names of the MXNet files."""
    names = mgnet_names(model)
    if names:
        return _pairs(model, file, lambda v: names.get(v.path, []), "PyTorch MgNet")
    return mxnet_pairs(model, arrays, file)


def _present(names: list[str], arrays: Mapping[str, StoredArray]) -> list[str]:
    """The one name that the file has; the likeliest where it has none."""
    return [name for name in names if name in arrays][:1] or names[:1]


def _pairs(
    model: keras.Model, file: str, names: Callable[[keras.Variable], Iterable[str]], known: str
) -> list[Pair]:
    pairs = []
    for variable in model.weights:
        keys = list(names(variable))
        if not keys:
            raise WeightsError(
                f"{file}: there is no table from this format to {model.name!r}: the variable "
                f"{variable.path!r} has no name in the {known}. Save the weights of such a model "
                "as .weights.h5."
            )
        pairs += [foreign_pair(key, variable) for key in keys]
    return pairs


def head_keys(arrays: Iterable[str]) -> list[str]:
    """The arrays that belong to the head of a foreign checkpoint, the kernel before the bias."""
    heads = [f"{head}_{name}" for head in MXNET_HEADS for name in ("weight", "bias")]
    present = set(arrays)
    return [key for key in (*heads, *TORCH_HEAD) if key in present]
