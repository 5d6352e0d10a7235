"""What tells the steps of one network on one machine from others."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import keras
import torch
from keras import tree

from keras_mg._private import keras as private_keras

# Of the arguments of `compile`.
_COMPARED = ("loss", "loss_weights", "metrics", "weighted_metrics")


def key_of(model, kind: str, data) -> str:
    """A digest of all that the time of a step depends on.

    Args:
        model: a built and compiled Keras model.
        kind: "train", "test" or "predict".
        data: a batch.
    """
    layers = private_keras.flatten_layers(model)
    facts = {
        "machine": machine(model),
        "kind": kind,
        "data": [_tensor(leaf) for leaf in tree.flatten(data) if leaf is not None],
        "layers": [_layer(layer) for layer in layers],
        "weights": [[list(w.shape), str(w.dtype), w.trainable] for w in model.weights],
        "remat": model._remat,
        "backend": model.torch_backend,
        "cudnn": torch.backends.cudnn.benchmark,
    }
    if kind == "train":
        facts["optimizer"] = _described(model.optimizer)
    if kind != "predict":
        given = model.get_compile_config()
        facts["compared"] = [_essence(given.get(name)) for name in _COMPARED]
    text = json.dumps(facts, sort_keys=True, default=_name)
    return hashlib.sha256(text.encode()).hexdigest()


def machine(model) -> str:
    """Processor, threads and versions."""
    # A model without weights computes where Keras puts tensors.
    tensors = [private_keras.tensor_of(weight) for weight in model.weights]
    device = (tensors or [keras.ops.zeros(())])[0].device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return (
        f"{where}, {torch.get_num_threads()} threads, {platform.system()}, torch "
        f"{torch.__version__}, keras {keras.__version__}, keras_mg {code_digest()}"
    )


@functools.cache
def _processor() -> str:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{next(iter(named), name)} {torch.backends.cpu.get_cpu_capability()}"


@functools.cache
def code_digest() -> str:
    """What tells this version of the package from others."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _tensor(leaf) -> Any:
    if not hasattr(leaf, "shape"):
        return repr(type(leaf))
    return [list(leaf.shape), str(leaf.dtype).removeprefix("torch.")]


def _layer(layer) -> Any:
    types = [layer.compute_dtype, layer.variable_dtype]
    # Those inside a model are in the list themselves.
    return [_name(layer) if hasattr(layer, "layers") else _described(layer), *types]


# Automatic names count through a process, and schedules move the rate.
_LEFT_OUT = ("name", "learning_rate")


def _described(part: Any) -> Any:
    """An object's class and settings."""
    try:
        config = part.get_config()
    except Exception:  # a class of the user's without one
        config = {}
    if isinstance(part, str | int | float | None):
        config = {"value": part}
    return [_name(part), _essence(config)]


def _essence(config: Any) -> Any:
    if isinstance(config, dict):
        return {str(k): _essence(v) for k, v in config.items() if k not in _LEFT_OUT}
    if isinstance(config, list | tuple):
        return [_essence(each) for each in config]
    return config


def _name(part: Any) -> str:
    """A function's name, or that of an object's class."""
    kind = part if hasattr(part, "__qualname__") else type(part)
    return f"{kind.__module__}.{kind.__qualname__}"
