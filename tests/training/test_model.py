"""`keras_mg.Model` as a class: its subclasses, layers of the user's own, single batches, "auto"."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.layers import ConvNormActivation
from tests.support import compiled as support
from tests.support.compiled import assert_same, graphs, unique_graphs
from tests.support.small_model import (
    CLASSES,
    SAMPLES,
    compiled_model,
    data,
    fit,
    sgd,
    trunk,
    with_head,
)

pytestmark = support.MARKS


def test_a_step_of_the_users_own_is_left_alone():
    class Own(keras_mg.Model):
        def train_step(self, data):
            self.calls = getattr(self, "calls", 0) + 1
            return {"loss": keras.ops.zeros(())}

    images, x = trunk()
    model = Own(images, x)
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(data()[0], np.zeros((SAMPLES, 4)), batch_size=5, verbose=0)
    assert model.calls == 2


@pytest.mark.filterwarnings("error:jit_compile")
def test_single_batches_of_numpy_arrays_are_captured():
    results = []
    x, y = data()
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = compiled_model(jit_compile=jit_compile)
        model(x[:1])
        logs = [model.train_on_batch(x, y), model.test_on_batch(x.astype("float64"), y)]
        results.append({"logs": logs, "y": model.predict_on_batch(x), "w": model.get_weights()})
    assert not model._compiled_steps.failed
    assert len(graphs(model)) == 1
    assert_same(*results)


class OwnMetrics(keras_mg.Model):
    """Keras's own pattern of a loss that the model computes and tracks."""

    @property
    def metrics(self):
        if not hasattr(self, "own"):
            self.own = keras.metrics.Mean(name="own")
        return [self.own]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        self.own.update_state(y_pred[:, 0])
        return keras.ops.mean(keras.ops.square(y_pred[:, 0] - keras.ops.cast(y, "float32")))


class NoMetrics(keras_mg.Model):
    @property
    def metrics(self):
        return []


@pytest.mark.parametrize("kind", [OwnMetrics, NoMetrics])
def test_metrics_of_a_subclass(kind):
    def build():
        images, x = trunk()
        return kind(images, keras.layers.Dense(CLASSES)(x))

    eager, _ = fit(build, sgd, False, metrics=[])
    compiled, model = fit(build, sgd, True, metrics=[])
    assert len(graphs(model)) == 1
    assert eager.pop("history") == compiled.pop("history")
    assert_same(eager, compiled)


def test_a_model_that_is_built_by_its_first_prediction_is_captured():
    class Own(keras_mg.Model):
        def __init__(self):
            super().__init__()
            self.unit = ConvNormActivation(4)
            self.head = keras.layers.Dense(CLASSES)

        def call(self, x, training=None):
            return self.head(keras.ops.mean(self.unit(x, training=training), (1, 2)))

    model = compiled_model(Own)
    x, y = data()
    model.predict(x, verbose=0)
    model.fit(x, y, verbose=0)
    assert len(graphs(model)) == 1


def test_a_batch_norm_inside_a_layer_of_the_users_own():
    class Composite(keras.layers.Layer):
        def build(self, shape):
            self.norm = keras.layers.BatchNormalization()
            self.norm.build(shape)

        def call(self, x, training=None):
            return self.norm(x, training=training)

    _, model = fit(with_head(Composite), sgd, True)
    assert len(graphs(model)) == 1


def test_auto_compiles_on_cuda_but_not_a_step_of_the_users_own(monkeypatch):
    class Own(keras_mg.Model):
        def train_step(self, data):
            return {"loss": keras.ops.zeros(())}

    monkeypatch.setattr(keras_mg.Model, "_on_cuda", lambda self: True)
    image = keras.Input((4,))
    for kind, compiles in ((keras_mg.Model, True), (Own, False)):
        model = kind(image, keras.layers.Dense(2)(image))
        model.torch_backend = "aot_eager"
        model.compile("sgd", "mse")
        before = unique_graphs()
        model.fit(np.ones((4, 4), "float32"), np.ones((4, 2), "float32"), verbose=0)
        assert (unique_graphs() > before) is compiles
