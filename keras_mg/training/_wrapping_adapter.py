"""Data for `fit` that are another adapter's, but for how batches are made of them."""

from __future__ import annotations

from keras_mg._private import keras as private_keras


class WrappingAdapter(private_keras.DataAdapter):
    """Says of its data what the adapter inside says; a subclass gives the batches.

    Args:
        adapter: one of Keras's, or another that wraps one.
    """

    def __init__(self, adapter):
        self.adapter = adapter

    @property
    def num_batches(self):
        return self.adapter.num_batches

    @property
    def batch_size(self):
        return self.adapter.batch_size

    @property
    def has_partial_batch(self):
        return self.adapter.has_partial_batch

    @property
    def partial_batch_size(self):
        return self.adapter.partial_batch_size

    def on_epoch_begin(self):
        self.adapter.on_epoch_begin()

    def on_epoch_end(self):
        self.adapter.on_epoch_end()
