"""What layers, losses, metrics and optimizers keep in Python counts as it does eagerly."""

import warnings

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.training import _python_state as python_state
from tests.support import compiled as support
from tests.support.compiled import assert_same
from tests.support.small_model import CLASSES, crossentropy, data, fit, plain, sgd, trunk, with_head

pytestmark = support.MARKS


class Counting(keras.metrics.Metric):
    """A mean that counts its batches in Python."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._n = 0
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self._n += 1
        self.total.assign_add(keras.ops.mean(y_pred))

    def result(self):
        return self.total / max(self._n, 1)

    def reset_state(self):
        self._n = 0
        self.total.assign(0.0)


class Listing(Counting):
    """The same with a list."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.batches = [*getattr(self, "batches", []), 1]
        self.total.assign_add(keras.ops.mean(y_pred) * len(self.batches))


class Growing(keras.layers.Layer):
    """Scales by the number of its calls."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x * (1 + 0.01 * self.calls)


class Weighing(keras.losses.Loss):
    """Counts its calls."""

    calls = 0

    def call(self, y_true, y_pred):
        self.calls += 1
        return crossentropy()(y_true, y_pred) * self.calls


class CountingSGD(keras.optimizers.SGD):
    """Skips every second step by a count in Python."""

    count = 0

    def apply(self, grads, trainable_variables=None):
        self.count += 1
        scale = self.count % 2
        super().apply([g * scale for g in grads], trainable_variables)


@pytest.mark.parametrize("metric", [Counting, Listing])
def test_metrics(metric):
    results = [fit(plain, sgd, jit, metrics=[metric(name="m")], evaluate=True) for jit in (0, 1)]
    assert_same(results[0][0], results[1][0])
    assert not results[1][1]._compiled_steps.failed
    assert len(support.graphs(results[1][1])) == 1  # network and loss are captured


def test_losses():
    results = [fit(plain, sgd, jit, loss=Weighing())[0] for jit in (False, True)]
    assert_same(*results)


def test_layers_with_one_warning():
    results = []
    for jit in (False, True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            results.append(fit(with_head(Growing), sgd, jit)[0])
    ours = [str(w.message) for w in caught if "jit_compile" in str(w.message)]
    assert len(ours) == 1
    assert "built=True> changes its Python attributes in each step" in ours[0]
    assert_same(*results)


def test_a_layer_and_a_metric_that_both_count():
    results = []
    for jit in (False, True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result, _ = fit(with_head(Growing), sgd, jit, metrics=[Counting(name="m")])
        results.append(result)
    assert len([w for w in caught if "jit_compile" in str(w.message)]) == 1
    assert_same(*results)


class Remembering(keras.layers.Layer):
    """Keeps the size of the first batch that has values."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = None

    def call(self, x):
        if self.first is None and x.device.type != "meta":
            self.first = x.shape[0]
        return x * 2.0


@pytest.mark.filterwarnings("error:jit_compile")
def test_what_is_set_once_stays_captured():
    eager, _ = fit(with_head(Remembering), sgd, False)
    compiled, model = fit(with_head(Remembering), sgd, True)
    assert len(support.graphs(model)) == 1
    assert_same(eager, compiled)


class Scaled(keras.layers.Layer):
    """Scales by a number of Python's."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = 1.0

    def call(self, x):
        return x * self.scale


@pytest.mark.filterwarnings("error:jit_compile")
@pytest.mark.parametrize("deployed", [False, True])
def test_a_number_that_is_set_between_predictions(deployed):
    x, _ = data()
    model = with_head(Scaled)()
    model = keras_mg.deploy(model) if deployed else model
    (layer,) = (layer for layer in model.layers if isinstance(layer, Scaled))
    results = []
    for jit_compile in (False, True):
        model = keras_mg.Model(model.input, model.output)
        model.torch_backend = "aot_eager"
        model.compile(jit_compile=jit_compile)
        parts = []
        for layer.scale in (1.0, 3.0, 0.5):
            parts.append(model.predict(x, batch_size=5, verbose=0))
        results.append({"predictions": parts})
    assert len({float(part[0, 0]) for part in parts}) == 3
    assert_same(*results)


def test_a_layer_that_counts_its_predictions():
    x, _ = data()
    results = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = with_head(Growing)()
        model.torch_backend = "aot_eager"
        model.compile(jit_compile=jit_compile)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            parts = [model.predict(x, batch_size=5, verbose=0) for _ in range(3)]
        results.append({"predictions": parts})
    assert len([w for w in caught if "jit_compile" in str(w.message)]) == 1
    assert_same(*results)


def test_names_are_given_as_keras_gives_them():
    python_state._own_names.cache_clear()
    keras.utils.clear_session(free_memory=False)
    fit(with_head(Scaled), sgd, True)
    assert keras.Model().name == "model"


def test_optimizers():
    results = [fit(plain, lambda: CountingSGD(0.05), jit)[0] for jit in (False, True)]
    assert_same(*results)


class Annealed(keras_mg.Model):
    """Its loss depends on a number that a callback sets."""

    beta = 0.0

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return loss + self.beta * keras.ops.mean(keras.ops.square(y_pred))


def annealed():
    images, x = trunk()
    return Annealed(images, keras.layers.Dense(CLASSES)(x), name="small")


def test_a_number_that_a_callback_sets():
    class Anneal(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.beta = 0.5 * epoch

    results = [
        fit(annealed, sgd, jit, fit_options={"callbacks": [Anneal()]})[0] for jit in (False, True)
    ]
    assert_same(*results)


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "OptimizerMap"), reason="this Keras has no such optimizer"
)
def test_settings_of_several_optimizers():
    results = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = plain()
        model.torch_backend = "aot_eager"
        first = sgd()
        parts = keras.optimizers.OptimizerMap(keras.optimizers.Adam(0.01))
        parts["dense.*"] = first
        optimizer = keras.optimizers.MultiOptimizer(parts)
        model.compile(optimizer, crossentropy(), jit_compile=jit_compile)
        x, y = data()
        for momentum in (0.9, 0.1):
            first.momentum = momentum
            model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        results.append({"w": model.get_weights()})
    assert_same(*results)


def test_subclasses_at_any_depth_leave_the_class_alone():
    class Base(keras_mg.Model):
        pass

    class Child(Base):
        pass

    before = keras_mg.Model.__bases__
    image = keras.Input((4,))
    for kind in (Child, Base, Child):
        model = kind(image, keras.layers.Dense(2)(image))
        assert model(np.ones((1, 4))).shape == (1, 2)
        assert isinstance(model, kind)
    assert keras_mg.Model.__bases__ == before

    class Own(keras_mg.Model):
        def call(self, x):
            return x

    Own()(np.ones((1, 4)))


def test_a_step_of_ones_own_around_ours_is_captured():
    class Noted(keras_mg.Model):
        def train_step(self, data):
            return super().train_step(data)

    def noted():
        images, x = trunk()
        return Noted(images, keras.layers.Dense(CLASSES)(x), name="small")

    eager, _ = fit(plain, sgd, False)
    compiled, model = fit(noted, sgd, True)
    assert len(support.graphs(model)) == 1
    assert_same(eager, compiled)


def test_freezing_in_turn_compiles_each_state_once():
    model = plain()
    model.torch_backend = "aot_eager"
    model.compile(sgd(), crossentropy(), jit_compile=True)
    x, y = data()
    before = support.unique_graphs()
    for i in range(6):
        model.layers[1].trainable = i % 2 == 0
        model.train_on_batch(x[:4], y[:4])
    assert support.unique_graphs() - before == 4


class Sampling(keras.layers.Layer):
    """Adds noise from a generator of its own, which no graph holds."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = keras.random.SeedGenerator(7)

    def call(self, x):
        return x + 0.1 * keras.random.normal(keras.ops.shape(x), seed=self.generator)


@pytest.mark.parametrize("layer", [Sampling, lambda: keras.layers.GaussianNoise(0.5)])
@pytest.mark.filterwarnings("ignore:jit_compile=True")
def test_looking_for_the_culprit_moves_no_generator(layer):
    results = [fit(with_head(layer), sgd, jit)[0] for jit in (False, True)]
    assert_same(*results)


def test_a_model_is_deployed_without_what_it_was_trained_by():
    def own_loss(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_pred), -1)

    model = plain()
    model.compile("adam", own_loss)
    x, y = data()
    model.fit(x, y, verbose=0)
    deployed = keras_mg.deploy(model)
    assert not deployed.compiled
    assert model.compiled
    model.fit(x, y, verbose=0)
