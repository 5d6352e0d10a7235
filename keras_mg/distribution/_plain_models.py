"""Models of Keras's own class, which each process would train for itself."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras

_METHODS = ("fit", "train_on_batch")


def refuse(refuses: bool) -> None:
    """Let plain models be refused where they are to train, or let them train again.

    Keras asks nobody before it trains, so its own methods have others in their place meanwhile.
    """
    for name in _METHODS:
        if (name in vars(keras.Model)) == refuses:
            continue
        if refuses:
            setattr(keras.Model, name, _refusing(getattr(keras.Model, name)))
        else:
            delattr(keras.Model, name)


def _refusing(method: Callable) -> Callable:
    @functools.wraps(method)
    def refusing(self, *args, **kwargs):
        if not hasattr(self, "_parallel_run"):
            raise ValueError(
                f"model {self.name!r}: under a DataParallel of several processes, a keras_mg.Model "
                "trains; of any other, each process would train one for itself. Make it "
                "keras_mg.Model(inputs, outputs) or a subclass of keras_mg.Model, or "
                "set_distribution(None) where each process is to train its own. Received: a model "
                f"of type {type(self).__name__}"
            )
        return method(self, *args, **kwargs)

    return refusing
