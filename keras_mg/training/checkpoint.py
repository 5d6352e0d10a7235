"""Training that is saved in one file, and goes on from it as if nothing had happened."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import keras
import numpy as np

from keras_mg._files import expand, remove_partial
from keras_mg._private import keras as private_keras
from keras_mg.distribution.data_parallel import is_parallel
from keras_mg.distribution.processes import process_id
from keras_mg.layers.arguments import positive_int
from keras_mg.training import _checkpoint_files as files
from keras_mg.training._checkpoint_files import CheckpointError as CheckpointError
from keras_mg.training._random_state import random_state, set_random_state


class TrainingStopped(KeyboardInterrupt):
    """`Checkpoint.request_stop` has been called, and what was trained is saved."""


class Checkpoint(keras.callbacks.Callback):
    """Saves training after each epoch, in one file, and goes on from the last one.

    A checkpoint holds weights, optimizer, metrics, the random states of Python, NumPy, Keras, torch
    and the layers, epoch and step, what `jit_compile="auto"` has chosen (a further one is written
    when it has), and the history so far. It is written beside its place, synced and renamed, and
    has a checksum that is compared when it is read. The one before is kept: should the last be
    damaged, training goes on from that, with a warning. Reading runs nothing.

    A training that was killed at any moment goes on from the last checkpoint and ends, on a CPU bit
    for bit, as one that was not, if each epoch's order of data is a function of the epoch or of the
    random states above. That of arrays which `fit` shuffles is, in a `keras_mg.Model`; in a
    `keras.Model` it begins anew since Keras 3.16. With `every_steps` training goes on inside an
    epoch: the batches before are drawn once more, and not trained on. What other callbacks keep in
    Python is not saved; those that change the training stand before this one.

    Two trainings must not use one directory at the same time. The processes of one training
    (`keras_mg.distribution`) all make the callback: the first one reads and writes for all of them,
    and the files are those of one process.

    Args:
        directory: of the checkpoints; made at the first one.
        every_steps: int, further checkpoints after every so many steps of an epoch, on torch;
            None for none. Defaults to None.
        writes: bool, False where nothing is to be written. Under a `DataParallel` the first
            process alone writes. Defaults to True.

    Attributes:
        saved_epoch: int, the epochs that the checkpoint found in `directory` has finished, 0 where
            there is none: `initial_epoch` of `fit`.
        saved_step: int, the steps that it has taken in the epoch after these.
        found: bool, whether there is one.
        seconds: float, what this training has taken: since the callback was made, and of each part
            before it up to the checkpoint that the next went on from. What was lost is not counted.
        last_saved: `(epoch, step)` of the checkpoint that was written or found last, or None.
        history: list of dictionaries, `epoch` and what `fit` measured in it.
        settings: dictionary in JSON's types, saved with the training and read from the checkpoint.
            For what has to be the same when it goes on.
        arrays: NumPy arrays by name, likewise.

    Raises:
        CheckpointError: all checkpoints are damaged, or the last is one of another model.
        ValueError: for an argument out of its range, `every_steps` on another backend, or a `fit`
            that begins at another epoch than `saved_epoch`.
        OSError: a checkpoint cannot be written, such as on a full disk; those before survive.
            All processes raise it.

    Example:

    >>> from keras_mg.training import Checkpoint
    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> x, y = keras.ops.ones((8, 2)), keras.ops.ones((8, 1))
    >>> for epochs in (1, 3):  # the second time as after an interruption
    ...     checkpoint = Checkpoint("checkpoints-of-the-example")
    ...     runs = {"epochs": epochs, "initial_epoch": checkpoint.saved_epoch}
    ...     history = model.fit(x, y, verbose=0, callbacks=[checkpoint], **runs)
    ...     print(checkpoint.saved_epoch, history.epoch)
    0 [0]
    1 [0, 1, 2]
    """

    def __init__(
        self, directory: str | os.PathLike, every_steps: int | None = None, writes: bool = True
    ):
        super().__init__()
        self.directory = expand(directory)
        self.every_steps = None if every_steps is None else positive_int("every_steps", every_steps)
        if self.every_steps and not _is_torch():
            raise ValueError(
                "every_steps needs the torch backend, whose variables are up to date after each "
                f"step. Received: every_steps={every_steps}, backend={keras.backend.backend()!r}"
            )
        self._parallel = is_parallel()
        self.writes = writes and (not self._parallel or process_id() == 0)
        self._saved = _latest(self.directory)
        state = self._saved.state if self._saved else {}
        self.found = self._saved is not None
        self.saved_epoch: int = state.get("epoch", 0)
        self.saved_step: int = state.get("step", 0)
        self.history: list[dict[str, Any]] = state.get("history", [])
        self.settings: dict[str, Any] = state.get("settings", {})
        self.arrays = self._part("arrays")
        self.last_saved = (self.saved_epoch, self.saved_step) if self.found else None
        self._last = self._saved.path if self._saved else None
        self._seconds_before: float = state.get("seconds", 0.0)
        self._made = time.monotonic()
        self._stops = False
        self._at: tuple[int, int] | None = None  # epoch and steps, while an epoch goes on
        self._epoch_random: Any = None  # at its first step
        self._last_random: Any = None  # after its last step
        self._skipped = 0  # steps of this epoch that are not trained on again
        self._before_test: Any = None  # metrics and random states, while validation goes on

    @property
    def seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._made

    def request_stop(self) -> None:
        """Saves after the step that goes on, and raises `TrainingStopped`.

        For handlers of signals and other threads. On backends other than torch training stops after
        the epoch.
        """
        self._stops = True

    def on_train_begin(self, logs=None):
        self._stops = False
        self._at = None
        if is_parallel() and (not self._parallel or self._run is None):
            raise ValueError(
                "In several processes a Checkpoint is made after set_distribution, and for a "
                f"keras_mg.Model. Received: model {self.model.name!r} of type "
                f"{type(self.model).__name__}"
            )
        if self._run is not None:
            self._run.wishes.append(lambda: self._stops)
        if self.writes and self.directory.is_dir():
            remove_partial(self.directory)
        if self._saved is not None:
            self._restore()

    def on_epoch_begin(self, epoch, logs=None):
        self._skipped, self._last_random = 0, None
        if self._saved is not None:
            if epoch != self.saved_epoch:
                raise ValueError(
                    f"{self._saved.path} goes on after epoch {self.saved_epoch}: give `fit` "
                    f"initial_epoch=checkpoint.saved_epoch. Received: initial_epoch={epoch}"
                )
            self._recall_history()
            self._skip_orders()
            if self.saved_step:
                self._skip(self.saved_step)
            else:
                self._saved = None
        self._at = (epoch, self._skipped)
        self._epoch_random = random_state()

    def _skip_orders(self) -> None:
        iterator = getattr(self.model, "_last_iterator", None)
        if iterator is not None:
            private_keras.skip_epochs_of_order(iterator(), self.saved_epoch)

    def on_train_batch_end(self, batch, logs=None):
        if self._at is None:
            return
        trained_on = batch >= self._skipped
        if trained_on:
            self._at = (self._at[0], batch + 1)
        elif batch + 1 == self._skipped:
            # Here, because it is where the checkpoint was written: after what other callbacks do.
            self._restore()
            self._saved = None
        stops = self._stops_now()
        due = self.every_steps is not None and (batch + 1) % self.every_steps == 0
        # What was found out by the clock, nobody finds out again.
        due = (self._choices is not None and self._choices.take_news()) or due
        if trained_on and (due or stops):
            self._save(*self._at)
        if stops:
            self._stop()
        if batch + 1 == (self.params or {}).get("steps"):
            self._last_random = random_state()

    def on_test_begin(self, logs=None):
        if self._at is not None and _is_torch():
            # Where the number of steps is not known, the validation's data may have drawn by now.
            random = self._last_random or random_state()
            self._before_test = _values(self.model.metrics_variables), random

    def on_test_batch_end(self, batch, logs=None):
        if self._run is not None:
            return  # not all processes know it yet, and they have not as many batches
        if self._stops and self._before_test is not None and self._at is not None:
            self._save(*self._at, *self._before_test)
            self._stop()

    def on_test_end(self, logs=None):
        self._before_test = None

    def on_epoch_end(self, epoch, logs=None):
        if self._saved is not None:
            raise CheckpointError(
                f"{self._saved.path} holds {self.saved_step} steps of an epoch, and this one is "
                "over before. Training cannot go on with other data."
            )
        self._at = None
        row = {key: _plain_number(value) for key, value in (logs or {}).items()}
        self.history.append({"epoch": epoch, **row})
        # A training that diverged leaves what it was before.
        if math.isfinite(row.get("loss", 0.0)):
            self._save(epoch + 1, 0)
        if self._stops if self._run is None else self._run.stop_and_save:
            self._stop()

    def on_train_end(self, logs=None):
        self._at = None
        if self._saved is not None:  # no epoch was left
            self._recall_history()
            self._saved = None

    @property
    def _run(self) -> Any:
        """What several processes do together while this one trains; None where it is alone."""
        return getattr(self.model, "_parallel_run", None)

    @property
    def _choices(self) -> Any:
        """What `jit_compile="auto"` decides by; None where nothing is left to it."""
        return getattr(self.model, "_choices", None)

    def _stops_now(self) -> bool:
        if self._run is not None:
            return self._run.stop_and_save
        return self._stops and _is_torch()

    def _stop(self) -> None:
        self._stops, self._at, self._before_test = False, None, None
        raise TrainingStopped

    def _variables(self) -> dict[str, list[keras.Variable]]:
        optimizer = self.model.optimizer
        return {
            "model": self.model.variables,
            "optimizer": optimizer.variables if optimizer is not None else [],
            "metrics": self.model.metrics_variables,
        }

    def _save(self, epoch: int, step: int, metrics=None, random=None) -> None:
        run = self._run
        if run is not None:
            run.before_saving()
        failure = None
        if self.writes:
            try:
                self._write(epoch, step, metrics, random)
            except Exception as error:
                failure = error
        if run is not None:
            run.after_saving(failure)
        if failure is not None:
            raise failure

    def _write(self, epoch: int, step: int, metrics, random) -> None:
        arrays: dict[str, np.ndarray] = {}
        for group, variables in self._variables().items():
            values = _values(variables)
            if group == "metrics" and metrics is not None:
                values = metrics
            for i, (variable, value) in enumerate(zip(variables, values, strict=True)):
                arrays[f"{group}/{i:05d}/{variable.path}"] = files.plain(value)
        state = {
            "epoch": epoch,
            "step": step,
            "history": self.history,
            "settings": self.settings,
            "seconds": round(self.seconds, 1),
            "keras": keras.__version__,
        }
        if self._choices is not None:
            state["steps"] = self._choices.state()
        randoms = {"random": random or random_state()}
        if step:
            randoms["epoch_random"] = self._epoch_random
        for name, (rest, held) in randoms.items():
            state[name] = rest
            arrays |= {f"{name}/{key}": value for key, value in held.items()}
        arrays |= {f"arrays/{key}": files.plain(value) for key, value in self.arrays.items()}
        path = files.path_of(self.directory, epoch, step)
        files.write(path, state, arrays)
        files.remove_others(self.directory, path, self._last)
        self._last = path
        self.last_saved = (epoch, step)

    def _part(self, name: str) -> dict[str, np.ndarray]:
        saved = {} if self._saved is None else self._saved.arrays
        return {
            key.removeprefix(f"{name}/"): value
            for key, value in saved.items()
            if key.startswith(f"{name}/")
        }

    def _restore(self) -> None:
        """Gives the model, its optimizer and the generators what the checkpoint holds."""
        saved = self._saved
        assert saved is not None
        pairs: list[tuple[keras.Variable, np.ndarray]] = []
        for group, variables in self._variables().items():
            values = [saved.arrays[name] for name in sorted(self._part_names(group))]
            ours = [(tuple(v.shape), v.path) for v in variables]
            theirs = [value.shape for value in values]
            if [shape for shape, _ in ours] != theirs:
                which = [f"{p} {s}" for (s, p), t in zip(ours, theirs, strict=False) if s != t]
                raise CheckpointError(
                    f"{saved.path} is of another model: of its {group} it holds {len(theirs)} "
                    f"arrays, and this one has {len(ours)}"
                    + (f"; {which[0]} differs" if which else "")
                )
            pairs += zip(variables, values, strict=True)
        converted = [(v, _as_variable(value, v.dtype)) for v, value in pairs]
        for variable, value in converted:
            variable.assign(value)
        set_random_state(saved.state["random"], self._part("random"))
        if self._choices is not None:
            self._choices.set_state(saved.state.get("steps"))
        if self._run is not None and saved.state["step"]:
            self._run.after_saving()

    def _part_names(self, group: str) -> list[str]:
        assert self._saved is not None
        return [name for name in self._saved.arrays if name.startswith(f"{group}/")]

    def _recall_history(self) -> None:
        """Lets the history that `fit` returns begin at the first epoch."""
        history = self.model.history
        for row in self.history:
            history.epoch.append(row["epoch"])
            for key, value in row.items():
                if key != "epoch":
                    history.history.setdefault(key, []).append(value)

    def _skip(self, steps: int) -> None:
        """Lets the batches be drawn that were trained on before, and not trained on."""
        saved = self._saved
        assert saved is not None
        set_random_state(saved.state["epoch_random"], self._part("epoch_random"))
        names = sorted(self._part_names("metrics"))
        for variable, name in zip(self.model.metrics_variables, names, strict=True):
            variable.assign(_as_variable(saved.arrays[name], variable.dtype))
        model, history, train_function = self.model, self.model.history, self.model.train_function
        left = self._skipped = steps

        def skip(data):
            nonlocal left
            if model.history is not history:  # another `fit`, after this one was broken off
                model.train_function = train_function
                return train_function(data)
            left -= 1
            if left == 0:
                model.train_function = train_function
            return dict(model.get_metrics_result())

        model.train_function = skip


def _latest(directory):
    """The last checkpoint; of several processes, the one that the first finds."""
    if not is_parallel():
        return files.latest(directory)
    from keras_mg.distribution import collectives

    return collectives.in_turn(lambda: files.latest(directory))


def _values(variables) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _as_variable(value: np.ndarray, dtype: str):
    if value.dtype.kind == "u" and keras.backend.standardize_dtype(dtype) == "bfloat16":
        import ml_dtypes

        value = value.view(ml_dtypes.bfloat16)
    return keras.ops.convert_to_tensor(value, dtype)


def _plain_number(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _is_torch() -> bool:
    return keras.backend.backend() == "torch"
