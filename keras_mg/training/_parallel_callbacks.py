"""What stands before and behind the callbacks of a training in several processes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import keras

from keras_mg.distribution.processes import process_id
from keras_mg.training.scalars_to_tensorboard import ScalarsToTensorBoard

if TYPE_CHECKING:
    from keras_mg.training._parallel_run import Run

# Those that write, which the first process alone does.
WRITERS = (
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.TensorBoard,
    keras.callbacks.RemoteMonitor,
    ScalarsToTensorBoard,
)

_SECONDS = 1.0  # about as often do the processes ask each other whether one wants to stop


def of_this_process(callbacks) -> list[keras.callbacks.Callback]:
    """The callbacks that this process runs.

    Raises:
        ValueError: if they are in a list of Keras's kind, which holds a progress bar.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        raise ValueError(
            "In several processes, callbacks must be a plain list, of which each process takes "
            f"its own. Received: {callbacks!r}"
        )
    given = keras.tree.flatten(callbacks) if callbacks else []
    return [c for c in given if process_id() == 0 or not isinstance(c, WRITERS)]


class First(keras.callbacks.Callback):
    """Before the callbacks of the user: lets all processes stop in the same step."""

    def __init__(self, run: Run):
        super().__init__()
        self.run = run
        self._due, self._since = 1, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.run.epoch_begins()
        self._due, self._since = 1, time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        run = self.run
        run.batch_is_over()
        if batch + 1 < self._due:
            return
        # The distance of the next question is by the clock of the slowest process, and not by the
        # first steps alone.
        seconds = (time.monotonic() - self._since) / (batch + 1)
        steps = max(1, min(batch + 1, int(_SECONDS / max(seconds, 1e-6))))
        self._due = batch + 1 - int(run.agree_on_stop(-float(steps)))

    def on_epoch_end(self, epoch, logs=None):
        self.run.agree_on_stop()


class Last(keras.callbacks.Callback):
    """Behind them: all processes begin with what the first one has restored, and end together."""

    def __init__(self, run: Run):
        super().__init__()
        self.run = run

    def on_train_begin(self, logs=None):
        self.run.training_begins()

    def on_train_batch_end(self, batch, logs=None):
        # Keras stops after a batch where it is said so; another process may not know of it yet.
        self.run.hold_stop()

    def on_epoch_end(self, epoch, logs=None):
        self.run.hold_stop()
        self.run.agree_on_stop()
        self.run.compare_weights()
