"""Figures of each epoch for TensorBoard, without TensorFlow."""

from __future__ import annotations

import importlib.util
import os

import keras

from keras_mg._files import expand


class ScalarsToTensorBoard(keras.callbacks.Callback):
    """Writes what `fit` measures in each epoch, and the learning rate, for TensorBoard.

    `keras.callbacks.TensorBoard` needs TensorFlow; this one needs `tensorboard` alone (the extra
    of that name), whatever the backend. Validation figures stand in the panels of the training's.
    A training that goes on at `initial_epoch` takes the place of what was written after it.

    Args:
        log_dir: folder of the event files, made when training begins.

    Raises:
        ImportError: if `tensorboard` is not installed.

    Example:
        `model.fit(..., callbacks=[ScalarsToTensorBoard("logs")])`, and `tensorboard --logdir logs`
        shows them.
    """

    def __init__(self, log_dir: str | os.PathLike):
        super().__init__()
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "Logs for TensorBoard need its package, which is not installed: pip install "
                '"keras-mg[tensorboard]"'
            )
        self.log_dir = expand(log_dir)
        self._writers: dict = {}

    def on_epoch_end(self, epoch, logs=None):
        logs = dict(logs or {})
        if self.model.optimizer is not None:
            logs["learning_rate"] = float(
                keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
            )
        for key, value in logs.items():
            part = "validation" if key.startswith("val_") else "train"
            self._writer(part, epoch).add_scalar(key.removeprefix("val_"), value, epoch + 1)
        for writer in self._writers.values():
            writer.flush()

    def _writer(self, part: str, epoch: int):
        if part not in self._writers:
            from torch.utils.tensorboard import SummaryWriter

            folder = os.fspath(self.log_dir / part)
            self._writers[part] = SummaryWriter(folder, purge_step=epoch + 1)
        return self._writers[part]

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
