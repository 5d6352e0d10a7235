"""The MgNet authors' PyTorch checkpoints: the names of their arrays.

An array is named after its place (`layer1.0.R_conv.weight`: grid 2, restriction), as a variable is
(`grid2_restriction/residual/kernel`); the rules below turn the one into the other.
"""

from __future__ import annotations

import re

import keras

from keras_mg import weights

NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
LAYER = re.compile(r"grid(\d+)_(smoother|restriction)")
HEAD = ("fc.weight", "fc.bias")


@weights.register_names("PyTorch MgNet", head=HEAD)
def mgnet_names(model: keras.Model) -> dict[str, list[str]]:
    """The names that the MgNet authors' checkpoints give each variable of a model.

    Returns:
        The variable's path -> its names, several for a shared convolution. Empty where the
        model is no MgNet.
    """
    found = (LAYER.fullmatch(layer.name) for layer in model.layers)
    grids = max((int(match[1]) for match in found if match), default=0)
    if not grids:
        return {}
    names: dict[str, list[str]] = {}
    for variable in model.weights:
        path = variable.path
        top, *inner, name = path.split("/")
        layer = LAYER.fullmatch(top)
        if top == "predictions":
            names[path] = [HEAD[name == "bias"]]
        elif top == "stem":
            names[path] = [_unit("conv1", "bn1", name)]
        elif layer and layer[2] == "restriction":
            units = {"feature": ("Pi_conv", "bn1"), "residual": ("R_conv", "bn2")}
            convolution, norm = units[inner[0]]
            here = f"layer{int(layer[1]) - 1}.0"
            names[path] = [_unit(f"{here}.{convolution}", f"{here}.{norm}", name)]
        elif layer:
            names[path] = _smoother_names(
                model.get_layer(top), int(layer[1]), grids, inner[0], name
            )
    return names


def _unit(convolution: str, norm: str, name: str) -> str:
    return f"{norm}.{NORM[name]}" if name in NORM else f"{convolution}.weight"


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
    return [f"{places[int(number)]}.{norm}.{NORM[name]}"]
