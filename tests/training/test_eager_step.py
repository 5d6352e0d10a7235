"""Eager training steps of `keras_mg.Model` do what `keras.Model`'s do, to the bit."""

import keras
import numpy as np
import pytest

import keras_mg
from tests.support import compiled as support

torch = pytest.importorskip("torch")
pytestmark = support.MARKS

X = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")
Y = np.random.default_rng(1).integers(0, 2, 6)


def graph(regularizer=None):
    keras.utils.set_random_seed(0)
    x = images = keras.Input((8, 8, 3))
    for filters in (4, 8):
        x = keras_mg.layers.ConvNormActivation(filters, name=f"unit{filters}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return images, keras.layers.Dense(2, kernel_regularizer=regularizer, name="head")(x)


def compiled(kind, optimizer="sgd", **options):
    model = kind(*graph(**options))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model


def fit(model, **options):
    options = {"batch_size": 2, "shuffle": False, "verbose": 0, **options}
    return model.fit(X, Y, **options).history


def assert_equal(model, other):
    for own, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(own, theirs)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "scaled", "ema"])
@pytest.mark.parametrize("regularizer", [None, "l2"])
def test_weights_and_logs_are_those_of_keras(optimizer, regularizer):
    def made():
        return {
            "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
            "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
            "ema": lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=2),
        }.get(optimizer, lambda: optimizer)()

    model, other = (
        compiled(kind, made(), regularizer=regularizer) for kind in (keras_mg.Model, keras.Model)
    )
    assert fit(model, epochs=2) == fit(other, epochs=2)
    assert_equal(model, other)


def test_layers_frozen_and_released_between_fits():
    model, other = (compiled(kind, "adam") for kind in (keras_mg.Model, keras.Model))
    for each in (model, other):
        fit(each)
        each.get_layer("unit4").trainable = False
        fit(each)
        # A gradient that was kept would be memory, and would count once the layer is released.
        assert all(w.value.grad is None for w in each.get_layer("unit4").weights)
        each.get_layer("unit4").trainable = True
        fit(each)
    assert_equal(model, other)


class Freezing(keras.callbacks.Callback):
    """Freezes a layer in the middle of an epoch, and gives another new values."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            self.model.get_layer("unit8").trainable = False
            head = self.model.get_layer("head")
            head.set_weights([np.ones_like(w) for w in head.get_weights()])


def test_callbacks_that_change_layers_between_steps():
    model, other = (compiled(kind) for kind in (keras_mg.Model, keras.Model))
    for each in (model, other):
        fit(each, callbacks=[Freezing()])
    assert_equal(model, other)


def test_gradients_made_in_the_forward_pass_do_not_count():
    def run(kind):
        class Calling(kind):
            def call(self, x, training=None):
                y = super().call(x, training=training)
                if training and y.requires_grad:
                    super().call(x, training=training).sum().backward()
                return y

        model = compiled(Calling)
        fit(model)
        return model

    assert_equal(run(keras_mg.Model), run(keras.Model))


def test_no_old_gradients_are_kept_while_the_forward_pass_needs_the_memory():
    kept = []

    class Looking(keras_mg.Model):
        def call(self, x, training=None):
            if training:
                kept.append([w.value.grad is not None for w in self.trainable_weights])
            return super().call(x, training=training)

    fit(compiled(Looking), epochs=2)
    assert len(kept) >= 6
    assert not any(map(any, kept))


def test_a_loss_of_ones_own_and_losses_of_layers_count():
    class Adding(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.sum(x) * 0.01)
            return x

    def run(kind):
        class Tripled(kind):
            def compute_loss(self, *args, **kwargs):
                return super().compute_loss(*args, **kwargs) * 3

        images, y = graph()
        model = Tripled(images, Adding()(y))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, jit_compile=False)
        return model, fit(model)

    (model, history), (other, expected) = run(keras_mg.Model), run(keras.Model)
    assert history == expected
    assert_equal(model, other)


def test_losses_of_batches_of_unequal_size_are_averaged_over_images():
    model, other = (compiled(kind) for kind in (keras_mg.Model, keras.Model))
    assert fit(model, batch_size=4) == fit(other, batch_size=4)


def test_an_override_of_zero_grad_is_called():
    calls = []

    class Counting(keras_mg.Model):
        def zero_grad(self, set_to_none=True):
            calls.append(1)
            super().zero_grad(set_to_none)

    fit(compiled(Counting))
    assert len(calls) >= 3


def test_a_train_step_between_ours_and_keras_runs():
    class Counting(keras.Model):
        steps = 0

        def train_step(self, data):
            type(self).steps += 1
            return super().train_step(data)

    class Both(keras_mg.Model, Counting):
        def __init__(self):
            super().__init__()
            self.network = keras.Model(*graph())

        def call(self, x, training=None):
            return self.network(x, training=training)

    model = Both()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    fit(model)
    assert Both.steps == 3


def test_a_model_without_weights_that_train_warns():
    model = compiled(keras_mg.Model)
    model.trainable = False
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        fit(model)


def test_mixed_precision_is_that_of_keras():
    def run(kind):
        keras.config.set_dtype_policy("mixed_bfloat16")
        model = compiled(kind, "adam")
        return model, fit(model)

    (model, history), (other, expected) = run(keras_mg.Model), run(keras.Model)
    assert history == expected
    assert_equal(model, other)
