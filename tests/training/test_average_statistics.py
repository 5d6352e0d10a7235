"""Statistics that are the mean over an epoch, against torch's own cumulative ones."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.layers import ResidualBlock
from keras_mg.training import AverageStatistics

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="changes layers")


def model(jit_compile=False):
    x = keras.Input((4, 4, 3))
    y = keras.layers.GlobalAveragePooling2D()(ResidualBlock(3, name="block", momentum=0.7)(x))
    made = keras_mg.Model(x, y)
    made.torch_backend = "eager"
    made.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit_compile)
    return made


@pytest.mark.parametrize("jit_compile", [False, True])
def test_equals_torch_s_cumulative_mean_of_each_epoch(jit_compile):
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, (20, 4, 4, 3)).astype("float32")
    trained = model(jit_compile)
    layer = trained.get_layer("block")
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((layer.first.momentum, layer.first.moving_variance.numpy().copy()))

    callbacks = [AverageStatistics(), Look()]
    trained.fit(x, np.zeros((20, 3)), 4, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
    kernel = torch.tensor(layer.first.kernel.numpy()).permute(3, 2, 0, 1)
    norm = torch.nn.BatchNorm2d(3, momentum=None)
    for rows in torch.tensor(x).permute(0, 3, 1, 2).split(4):
        norm(torch.nn.functional.conv2d(rows, kernel, padding=1))
    np.testing.assert_allclose(layer.first.moving_mean.numpy(), norm.running_mean, atol=1e-5)
    for momentum, variance in seen:
        np.testing.assert_allclose(variance, norm.running_var, rtol=1e-5)
        assert momentum == 0.7  # of whoever saves the model then
    assert layer.second.momentum == layer.momentum == 0.7
    assert not trained.run_eagerly


def test_layers_have_their_own_momentum_after_training_that_broke_off():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    trained = model()
    x = np.zeros((8, 4, 4, 3))
    trained.fit(x, np.zeros((8, 3)), 2, verbose=0, callbacks=[AverageStatistics(), Stop()])
    assert trained.get_layer("block").momentum == 0.7


def test_a_model_without_statistics(monkeypatch):
    plain = keras_mg.Model(x := keras.Input((3,)), keras.layers.Dense(1)(x), name="plain")
    plain.compile("sgd", "mse")
    arrays = np.zeros((2, 3)), np.zeros((2, 1))
    with pytest.raises(ValueError, match="No layer has moving statistics. Received: plain"):
        plain.fit(*arrays, verbose=0, callbacks=[AverageStatistics()])
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="which torch allows. Received the backend jax"):
        AverageStatistics().on_train_begin()
