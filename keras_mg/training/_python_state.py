"""What a user keeps in Python attributes of layers, losses and metrics: graphs do not see it."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import tree

from keras_mg._private import keras as private_keras

# Kinds of objects, by the extent of the graph from which on they are outside of it.
METRIC, LOSS, LAYER = 0, 1, 2
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
        parts: list[tuple[int, Any]] = [(LAYER, layer) for layer in layers]
        parts += [(LOSS, loss) for loss in tree.flatten(getattr(model, "loss", None))]
        parts += [(METRIC, metric) for metric in _all_metrics(model.metrics)]
        self.parts = [(kind, part) for kind, part in parts if _is_foreign(part)]
        self.seen = self._read()

    def _read(self) -> list[dict]:
        return [_numbers(part) for _, part in self.parts]

    def changed(self, extent: int) -> tuple[int | None, Any]:
        """The kind and the part of what a graph of this extent holds that has changed.

        Since the last call of this method; `(None, None)` if nothing has.
        """
        if not self.parts:
            return None, None
        before, self.seen = self.seen, self._read()
        changed = [
            part
            for part, old, new in zip(self.parts, before, self.seen, strict=True)
            if part[0] >= extent and old != new
        ]
        return max(changed, key=lambda part: part[0]) if changed else (None, None)


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
        *("_compiled_steps", "_known_steps", "_lazy_callbacks", "_released"),
    }
