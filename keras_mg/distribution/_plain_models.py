"""Models of Keras's own class, which each process would train for itself."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras

_METHODS = ("fit", "train_on_batch")
_MARK = "_keras_mg_instead_of"


def refuse(refuses: bool) -> None:
    """Let plain models be refused where they are to train, or let them train again.

    Keras asks nobody before it trains, so its own methods have others in their place meanwhile.
    """
    for name in _METHODS:
        own = vars(keras.Model).get(name)
        replaced = getattr(own, _MARK, None)
        if refuses and replaced is None:
            refusing = _refusing(getattr(keras.Model, name))
            # What somebody else has put on the class, and None where it inherits.
            setattr(refusing, _MARK, (own,))
            setattr(keras.Model, name, refusing)
        elif not refuses and replaced is not None:
            if replaced == (None,):
                delattr(keras.Model, name)
            else:
                setattr(keras.Model, name, replaced[0])


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
