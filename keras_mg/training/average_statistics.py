"""Batch norm's moving statistics as the mean over the epoch's batches so far."""

from __future__ import annotations

import keras

from keras_mg._private.keras import flatten_layers


class AverageStatistics(keras.callbacks.Callback):
    """Makes the moving statistics of batch norms the mean over the batches of the epoch.

    Step n of an epoch, counted from 1, keeps 1 - 1/n of the statistics: the first replaces them,
    and after the last they are the mean over all batches. Between epochs the layers have their own
    momentum. The steps run eagerly: compiled ones hold the momentum as it was.

    Raises:
        RuntimeError: when training begins, on another backend than torch.
        ValueError: when training begins, if no layer has moving statistics.

    Example:

    >>> from keras_mg.training import AverageStatistics
    >>> import keras
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
    >>> model.compile("sgd", "mse")
    >>> x = keras.ops.convert_to_tensor([[0.0], [2.0], [6.0], [8.0]])
    >>> callbacks = [AverageStatistics()]
    >>> history = model.fit(x, x, 2, epochs=3, shuffle=False, verbose=0, callbacks=callbacks)
    >>> float(model.layers[0].moving_mean[0])
    4.0

    Reference:
        https://github.com/gcr/torch-residual-networks, "Effect of batch norm momentum"
    """

    def __init__(self):
        super().__init__()
        self._own: list[tuple[keras.layers.Layer, float]] = []
        self._ran_eagerly = False

    def on_train_begin(self, logs=None):
        if keras.backend.backend() != "torch":
            raise RuntimeError(
                "AverageStatistics changes layers between the steps, which torch allows. "
                f"Received the backend {keras.backend.backend()}"
            )
        layers = [each for each in flatten_layers(self.model) if hasattr(each, "momentum")]
        self._own = [(layer, layer.momentum) for layer in layers]
        if not self._own:
            raise ValueError(f"No layer has moving statistics. Received: {self.model.name}")
        self._ran_eagerly, self.model.run_eagerly = self.model.run_eagerly, True

    def on_train_batch_begin(self, batch, logs=None):
        for layer, _ in self._own:
            layer.momentum = batch / (batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        # What is saved now, and trained later, has the layers as they were made.
        for layer, momentum in self._own:
            layer.momentum = momentum

    def on_train_end(self, logs=None):
        self.on_epoch_end(0)
        self.model.run_eagerly = self._ran_eagerly
