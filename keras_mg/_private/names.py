"""What a private name is, and the test whether the installed libraries have it."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from types import SimpleNamespace
from typing import Any

import keras


class Feature(Enum):
    """What needs private names, and is left out or refused where they are not there."""

    COMPILED_STEPS = auto()  # else all steps run eagerly, and `jit_compile=True` warns
    RATE_ON_DEVICE = auto()  # else Keras's own updates, which read the rate on the host
    OWN_GRAPH_RUN = auto()  # else Keras's, which keeps all outputs; `remat=True` is refused
    LAZY_LOGS = auto()  # else Keras's logs
    PREFETCH = auto()  # else `prefetch` is refused
    DEPLOY = auto()  # else `deploy` is refused
    WEIGHTS_FILES = auto()  # else `load_weights` is refused
    COUPLED_SGD = auto()  # else `CoupledSGD` is refused
    RANDOM_STATE = auto()  # else checkpoints leave out the generator of operations without a seed
    PARALLEL = auto()  # else `fit` in several processes is refused
    SYNCHRONIZED_BATCH_NORM = auto()  # else so are batch norms of Keras's over all of them
    STATELESS_SCOPE = auto()  # else batch norms always take the slower way
    VALUES_AT_ONCE = auto()  # else `Variable.value`, which asks for scopes each time


@dataclass(frozen=True)
class Name:
    """A private name of a library.

    Args:
        owner: the module that it is in, or the key of one of `example`'s objects.
        name: the attribute's name.
        features: what does not work without it.
        why: why the public interface does not do.
        watch: the public way that would make it superfluous.
        parameters: of a function, those that it is called with.
        base: of a class, one that it must inherit from.
    """

    owner: str
    name: str
    features: tuple[Feature, ...]
    why: str
    watch: str
    parameters: tuple[str, ...] | None = None
    base: type | None = None

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"

    def find(self) -> Any:
        """The object.

        Raises:
            AttributeError, ImportError: if it is not there.
        """
        examples = _examples()
        if self.owner in examples:
            return getattr(examples[self.owner](), self.name)
        return getattr(importlib.import_module(self.owner), self.name)

    def is_as_expected(self) -> bool:
        """Whether it exists, can be called as it is called here, and inherits what it should."""
        try:
            value = self.find()
        except Exception:  # whatever a library of the future raises there
            return False
        if self.base is not None:
            return isinstance(value, type) and issubclass(value, self.base)
        return self.parameters is None or _takes(value, self.parameters)


def _takes(function: Any, parameters: tuple[str, ...]) -> bool:
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return callable(function)  # written in C: it has no signature to look at
    required = {
        name
        for name, parameter in known.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    return required <= set(parameters) <= set(known)


def find(module: str, name: str, otherwise: Any = None) -> Any:
    """The attribute of a module, or `otherwise` where one of the two is not there."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return otherwise


def _examples() -> dict[str, Callable[[], Any]]:
    """Objects whose attributes are looked at; named by hand, so that no counter of Keras moves."""
    return {
        "graph": _graph,
        "node": lambda: next(iter(_graph()._nodes_by_depth.values()))[0],
        "symbolic tensor": lambda: _graph().output,
        "scopes": _state_in_scopes,
        "masked tensor": _masked_tensor,
        "sequential": lambda: keras.Sequential([keras.Input((1,), name="x")], name="probe"),
        "compiled model": _compiled_model,
        "layer": lambda: keras.layers.Identity(name="probe"),
        "batch norm": _batch_norm,
        "optimizer": _optimizer,
        "variable": lambda: keras.Variable([0.0], name="probe"),
        "callback list": lambda: keras.callbacks.CallbackList([], add_progbar=True),
        "progress bar": lambda: keras.callbacks.ProgbarLogger(),
        "progress bar's own": lambda: keras.utils.Progbar(1, verbose=0),
    }


@functools.cache
def _graph() -> Any:
    x = keras.Input((1,), name="x")
    return keras.Model(x, x, name="probe")


def _state_in_scopes() -> Any:
    """What Keras keeps of a thread, as long as scopes are open in it."""
    state = find("keras.src.backend.common.global_state", "GLOBAL_STATE_TRACKER")
    autocast = find("keras.src.backend.common.variables", "AutocastScope")
    with keras.StatelessScope(), autocast("float16"):
        return SimpleNamespace(**{k: v for k, v in vars(state).items() if v is not None})


def _masked_tensor() -> Any:
    tensor = keras.ops.zeros((1,))
    find("keras.src.backend.common.masking", "set_keras_mask")(tensor, tensor)
    return tensor


@functools.cache
def _compiled_model() -> Any:
    x = keras.Input((1,), name="x")
    model = keras.Model(x, x, name="probe")
    model.compile(loss="mse", optimizer=_optimizer())
    return model


@functools.cache
def _batch_norm() -> Any:
    layer = keras.layers.BatchNormalization(name="probe")
    layer.build((None, 1))
    return layer


@functools.cache
def _optimizer() -> Any:
    return keras.optimizers.SGD(name="probe")
