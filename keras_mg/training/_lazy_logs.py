"""Callbacks whose logs are read from the device only where somebody looks at them.

Keras turns the logs of every batch into floats. On a GPU each of these makes the host wait until
the device has finished the step, so that it cannot prepare the next one meanwhile.
"""

from __future__ import annotations

import inspect
import time
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar

import keras

from keras_mg._private import keras as private_keras


class LazyLogs(dict):
    """The logs of a batch: a dictionary of floats that are read at the first look at a value.

    Whoever lists the keys or counts them makes nobody wait. Copies are plain dictionaries.

    Args:
        logs: what a step returned: tensors on a device, numbers, and dictionaries of them.
    """

    def __init__(self, logs: Mapping):
        super().__init__(_flat(logs))
        self._unread = True

    def read(self) -> None:
        """Make floats of the values, as Keras does."""
        if self._unread:
            self._unread = False
            super().update(private_keras.pythonify_logs(dict(super().items())))

    def __iter__(self):
        # Without it, `dict(logs)` and `**logs` would take the values past the methods below.
        return super().__iter__()

    def __reduce_ex__(self, protocol):
        return dict, (dict(self),)


def _reading(name: str) -> Callable:
    method = getattr(dict, name)

    def read_first(self, *args, **kwargs):
        self.read()
        return method(self, *args, **kwargs)

    read_first.__name__ = name
    return read_first


for _name in (
    *("__getitem__", "get", "items", "values", "copy", "__repr__"),
    *("__eq__", "__ne__", "__or__", "__ror__", "__ior__"),
    *("__setitem__", "__delitem__", "update", "setdefault", "pop", "popitem", "clear"),
):
    setattr(LazyLogs, _name, _reading(_name))


def _flat(logs: Mapping) -> dict:
    """Nested logs in the order and with the keys that Keras gives them."""
    flat = {}
    for key, value in sorted(logs.items()):
        flat.update(_flat(value) if isinstance(value, dict) else {key: value})
    return flat


class LazyProgbarLogger(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, which looks at the logs only when it is due to be drawn."""

    def _update_progbar(self, batch, logs=None):
        bar = self.progbar
        drawn = private_keras.last_drawn(bar)
        if self.verbose == 1 and drawn and time.time() - drawn < bar.interval:
            self.seen = batch + 1
        else:
            super()._update_progbar(batch, logs)


class LazyCallbackList(keras.callbacks.CallbackList):
    """Keras's list of callbacks, which hands them `LazyLogs` of each batch.

    Keras reads the logs in a thread where no callback wants those of a batch, and makes the
    training wait where one does. Here the callbacks run in the training's thread, and wait where
    they look.

    Args:
        model: the model that they watch.
        callbacks: of `fit`, `evaluate` or `predict`.
        verbose: likewise.
        epochs: int, how many will be trained.
        kind: "train", "test" or "predict".
    """

    _progbar: keras.callbacks.ProgbarLogger | None

    def __init__(self, model, callbacks, verbose, epochs: int | None, kind: str):
        super().__init__(callbacks, add_history=kind == "train", add_progbar=verbose != 0)
        self._waiting: tuple | None = (model, verbose, epochs)
        self.kind, self.watched = kind, weakref.ref(model)
        self._epoch, self._done = 0, 0

    @property
    def steps_left(self) -> int | None:
        """How many steps there will be, where that is known."""
        steps, epochs = (self.params or {}).get("steps"), (self.params or {}).get("epochs")
        if steps is None:
            return None
        return max(0, ((epochs or 1) - self._epoch) * steps - self._done)

    def begin(self, steps: int | None = None) -> None:
        """Tell the callbacks whose they are, once; `steps` are batches per epoch."""
        if self._waiting is not None:
            model, verbose, epochs = self._waiting
            self._waiting = None
            self.set_model(model)
            self.set_params({"verbose": verbose, "epochs": epochs, "steps": steps})

    def _configure_async_dispatch(self, callbacks):
        """Nothing is dispatched to threads."""

    def _add_default_callbacks(self, add_history, add_progbar):
        super()._add_default_callbacks(add_history, False)
        if add_progbar and self._progbar is None:
            self._progbar = LazyProgbarLogger()
            self.callbacks.append(self._progbar)

    def on_train_begin(self, logs=None):
        self.begin()
        super().on_train_begin(logs)

    def on_test_begin(self, logs=None):
        self.begin()
        super().on_test_begin(logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._done = epoch, 0
        super().on_epoch_begin(epoch, logs)

    def on_predict_batch_end(self, batch, logs=None):
        self._hand_out("on_predict_batch_end", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._hand_out("on_train_batch_end", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self._hand_out("on_test_batch_end", batch, logs)

    def _hand_out(self, hook: str, batch: int, logs: Mapping | None) -> None:
        if hook == f"on_{self.kind}_batch_end":
            self._done = batch + 1
        lazy: LazyLogs | None = LazyLogs(logs or {})
        for callback in self.callbacks:
            getattr(callback, hook)(batch, logs=lazy)
        kept = weakref.ref(lazy)
        lazy = None
        # Whoever kept them wants the values of this batch: the next step may write over them.
        lazy = kept()
        if lazy is not None:
            lazy.read()


# What watches the `fit`, `evaluate` or `predict` that goes on in this thread.
_current: ContextVar[LazyCallbackList | None] = ContextVar("_current", default=None)


def steps_left(model: keras.Model, kind: str) -> int | None:
    """How many steps of a kind a model will have run when the call that goes on ends.

    None where that is not known.
    """
    lazy = _current.get()
    return lazy.steps_left if lazy and lazy.watched() is model and lazy.kind == kind else None


def verbosity(model: keras.Model) -> int:
    """How much the call that goes on is to print: 0, 1 or 2, as of `fit`."""
    lazy = _current.get()
    if lazy is None or lazy.watched() is not model:
        return 0
    verbose = (lazy.params or {}).get("verbose", 0)
    return 1 if verbose == "auto" else int(verbose)


def call(model: keras.Model, method: Callable, args: tuple, kwargs: dict):
    """`model.fit`, `model.evaluate` or `model.predict`, given as `method`, with lazy logs.

    A `keras.callbacks.CallbackList` of the user's is left as it is.
    """
    given = inspect.signature(method).bind(*args, **kwargs)
    given.apply_defaults()
    options = given.arguments
    if isinstance(options.get("callbacks"), keras.callbacks.CallbackList):
        return method(*args, **kwargs)
    if not {"callbacks", "verbose"} <= options.keys():
        return method(*args, **kwargs)  # no method of Keras's own
    training, predicting = "epochs" in options, "y" not in options
    epochs = options["epochs"] if training else 1
    lazy = LazyCallbackList(
        model,
        options["callbacks"],
        options["verbose"],
        _at_most(keras.config.max_epochs(), epochs) if training else epochs,
        kind="train" if training else "predict" if predicting else "test",
    )
    options["callbacks"] = lazy
    token = _current.set(lazy)
    try:
        return _call(model, method, given, lazy, predicting)
    finally:
        choices = getattr(model, "_choices", None)
        if choices is not None:
            choices.settle_up()
        _current.reset(token)


def _call(model: keras.Model, method: Callable, given, lazy: LazyCallbackList, predicting: bool):
    options = given.arguments
    if predicting:
        # Keras looks for an adapter of the data, whose length the callbacks are told.
        options["x"] = adapter = private_keras.get_data_adapter(
            options["x"], batch_size=options["batch_size"], steps_per_epoch=options["steps"]
        )
        steps = options["steps"] or adapter.num_batches
        lazy.begin(_at_most(keras.config.max_steps_per_epoch(), steps))
        return method(*given.args, **given.kwargs)
    model._lazy_callbacks = lazy
    try:
        return method(*given.args, **given.kwargs)
    finally:
        model._lazy_callbacks = None


def _at_most(limit: int | None, count: int | None) -> int | None:
    return min((n for n in (limit, count) if n), default=count)
