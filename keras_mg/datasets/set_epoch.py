"""The callback that tells data which epoch of training begins."""

from __future__ import annotations

import keras


class SetEpoch(keras.callbacks.Callback):
    """Tells the data which epoch of training begins, also when training is resumed.

    Args:
        data: what `fit` is given and has an `epoch`: `AugmentedImages`, `DeviceImages` or
            `ScatteredDigits`.
    """

    def __init__(self, data):
        super().__init__()
        self.data = data

    def on_epoch_begin(self, epoch, logs=None):
        if self.data.epoch != epoch:
            self.data.epoch = epoch
