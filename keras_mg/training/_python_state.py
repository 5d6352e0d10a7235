"""What a user keeps in Python attributes of layers, losses and metrics: graphs do not see it."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import tree

from keras_mg._private import keras as private_keras
from keras_mg.training._extent import Extent, Part

_KNOWN = ("keras", "keras_mg", "torch")
_COLLECTIONS = (list, tuple, dict, set)


class PythonState:
    """Watches the numbers and sizes in attributes of a model's foreign parts.

    A graph holds them as the constants that they were when it was captured, and what its code did
    to them it does again in each run: sets them to the same values.

    Args:
        model: a built Keras model that is compiled.
    """

    def __init__(self, model: keras.Model):
        layers = private_keras.flatten_layers(model)
        parts: list[tuple[Part, Any]] = [(Part.NETWORK, layer) for layer in layers]
        parts += [(Part.LOSS, loss) for loss in tree.flatten(getattr(model, "loss", None))]
        parts += [(Part.METRICS, metric) for metric in _all_metrics(model.metrics)]
        # Where they are several, the one that takes most out of a graph comes first.
        self.parts = [(part, each) for part, each in parts if _is_foreign(each)]
        self.seen = self._read()

    def _read(self) -> list[dict]:
        return [_numbers(each) for _, each in self.parts]

    def changed(self, extent: Extent) -> tuple[Part | None, Any]:
        """The part of a step in a graph of this extent, and what of it has changed.

        Since the last call of this method; `(None, None)` if nothing has.
        """
        before, self.seen = self.seen, self._read()
        for (part, each), old, new in zip(self.parts, before, self.seen, strict=True):
            if part in extent and old != new:
                return part, each
        return None, None


def _all_metrics(metrics: list) -> list:
    """With those that metrics hold, as Keras's own for `compile` do."""
    inner = [_all_metrics(getattr(metric, "metrics", None) or []) for metric in metrics]
    return [*metrics, *(metric for some in inner for metric in some)]


def _is_foreign(part: Any) -> bool:
    return hasattr(part, "__dict__") and type(part).__module__.split(".")[0] not in _KNOWN


def _numbers(part: Any) -> dict:
    """Numbers in attributes of the user's, and how many things there are in his collections."""
    return {
        name: len(value) if isinstance(value, _COLLECTIONS) else value
        for name, value in vars(part).items()
        if isinstance(value, (bool, int, float, str, *_COLLECTIONS)) and name not in _own_names()
    }


@functools.cache
def _own_names() -> frozenset[str]:
    """The attributes that Keras and this package give to layers and models."""
    model = keras.Model(name="without_a_number")  # an automatic name would be one fewer for others
    return frozenset(vars(model)) | {
        *("stop_training", "history", "train_function", "test_function", "predict_function"),
        *(name for name in dir(type(model)) if not name.startswith("__")),
        *("_slots_laid_out", "_jit_compile_request", "_remat", "_recomputed_layers"),
        *("_compiled_steps", "_known_steps", "_lazy_callbacks", "_graph_run", "_choices"),
    }
