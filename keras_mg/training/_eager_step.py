"""Keras's own training step, without asking for the same things several times."""

from __future__ import annotations

import warnings

import keras
import torch

from keras_mg._private import keras as private_keras


def clear_gradients(model, variables: list[keras.Variable]) -> None:
    """What `torch.nn.Module.zero_grad` does, of the weights that train.

    `zero_grad` walks all modules to find the parameters. What does not train gets no gradient, but
    may have kept its last one from when it did.

    Args:
        model: a `keras_mg.Model`.
        variables: its trainable weights.
    """
    trained = tuple(map(id, variables))
    if type(model).zero_grad is not torch.nn.Module.zero_grad or model._last_trained != trained:
        model.zero_grad()
        object.__setattr__(model, "_last_trained", trained)  # nothing for Keras to keep track of
        return
    for variable in variables:
        private_keras.tensor_of(variable).grad = None


def train(model: keras.Model, data, variables: list[keras.Variable]):
    """The logs of a training step, to the bit those of `keras.Model.train_step`.

    That lists the trainable weights, by a walk through all layers, three times, frees gradients by
    another walk, and asks each weight for the scopes that there might be.

    Args:
        model: a built and compiled Keras model on the torch backend.
        data: the batch.
        variables: the model's trainable weights.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    y_pred = model(x, training=True) if private_keras.takes_training(model) else model(x)
    clear_gradients(model, variables)  # those that the forward pass has made
    loss = private_keras.compute_loss(model, x, y, y_pred, sample_weight, True)
    samples = next(each for each in keras.tree.flatten(x) if each is not None).shape[0]
    private_keras.track_loss(model, loss, samples)
    if model.optimizer is not None:
        loss = model.optimizer.scale_loss(loss)
    if variables:
        loss.backward()
        gradients = [private_keras.tensor_of(variable).grad for variable in variables]
        with torch.no_grad():
            model.optimizer.apply(gradients, variables)
    else:
        warnings.warn("The model does not have any trainable weights.", stacklevel=2)
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
