"""What a graph cannot hold, and bad batches: what runs eagerly instead, and what is said of it."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.training._extent import Extent
from tests.support import compiled as support
from tests.support.compiled import assert_same, graphs, unique_graphs
from tests.support.small_model import (
    BATCH,
    CLASSES,
    assert_moves,
    compiled_model,
    crossentropy,
    data,
    fit,
    plain,
    quick,
    regularized,
    sgd,
    trunk,
    with_head,
)

pytestmark = support.MARKS

WHOLE_STEP, NETWORK_AND_LOSS, NETWORK = Extent


class Foreign(keras.layers.Layer):
    """Does what no graph can hold: it looks at a value."""

    def call(self, x):
        if keras.ops.sum(x) > 1e9:
            return x
        return x * 2.0


class Number(keras.layers.Layer):
    """Likewise, in a way that torch's tracer lets pass and its compiler does not."""

    def call(self, x):
        return x * float(keras.ops.sum(x) < 1e9)


UNCAPTURABLE = {
    "noise": (lambda: keras.layers.Dropout(0.5, seed=1, name="noise"), "layer 'noise' (Dropout)"),
    "foreign": (lambda: Foreign(name="foreign"), "layer 'foreign' (Foreign)"),
    "number": (lambda: Number(name="number"), "layer 'number' (Number)"),
}


@pytest.mark.parametrize("name", UNCAPTURABLE)
def test_what_cannot_be_captured_is_named_once_and_runs_eagerly(name):
    layer, message = UNCAPTURABLE[name]
    eager, _ = fit(with_head(layer), sgd, False)
    with pytest.warns(UserWarning, match="jit_compile=True") as caught:
        fallen_back, model = fit(with_head(layer), sgd, True)
    ours = [str(w.message) for w in caught if "jit_compile=True" in str(w.message)]
    assert len(ours) == 1
    assert message in ours[0]
    assert "'small' cannot be captured as one graph" in ours[0]
    assert not graphs(model)
    assert_moves(fallen_back, model, with_head(layer))
    assert_same(eager, fallen_back)


def test_what_the_compiler_says_is_told():
    model = plain()
    model.torch_backend = "no_such_compiler"
    model.compile(sgd(), crossentropy(), jit_compile=True)
    with pytest.warns(UserWarning, match="eagerly. Reason: .*no_such_compiler"):
        model.fit(*data(), verbose=0)


def test_the_uncapturable_layer_is_found_inside_a_nested_model():
    images, x = trunk()
    inner = keras_mg.Model(images, Foreign(name="deep")(x), name="inner")
    image = keras.Input((8, 8, 3))
    model = keras_mg.Model(image, keras.layers.Dense(CLASSES)(inner(image)))
    model.torch_backend = "aot_eager"
    model.compile("sgd", crossentropy(), jit_compile=True)
    x, y = data()
    with pytest.warns(UserWarning, match=r"layer 'deep' \(Foreign\)"):
        model.fit(x, y, verbose=0)


def reads_the_host(y_true, y_pred):
    scale = 2.0 if y_pred.detach().max() > 1e9 else 1.0
    return scale * keras.ops.sum(y_pred**2, -1)


PARTLY_CAPTURED = {
    "metric": (NETWORK_AND_LOSS, {"metrics": [reads_the_host, "accuracy"]}),
    "loss": (NETWORK, {"loss": reads_the_host}),
    "loss beside an activity loss": (NETWORK, {"loss": reads_the_host, "build": regularized}),
}


@pytest.mark.parametrize("name", PARTLY_CAPTURED)
@pytest.mark.filterwarnings("error:jit_compile")
def test_a_loss_or_metric_that_needs_the_host_leaves_the_network_captured(name):
    extent, options = PARTLY_CAPTURED[name]
    build = options.get("build", plain)
    options = {"build": build, "optimizer": sgd, "evaluate": True, **options}
    eager, _ = fit(jit_compile=False, **options)
    compiled, model = fit(jit_compile=True, **options)
    assert model._compiled_steps.train_step.extent is extent
    assert model._compiled_steps.test_step.extent is extent
    assert len(graphs(model)) == 1
    assert_moves(compiled, model, build)
    assert_same(eager, compiled)


# Two that Keras writes with a question torch's tracer cannot answer, or with values on the host.
LOSSES = {"binary_crossentropy": WHOLE_STEP, "hinge": NETWORK, "mse": WHOLE_STEP}
METRICS = {"AUC": NETWORK_AND_LOSS, "MeanSquaredError": WHOLE_STEP, "F1Score": WHOLE_STEP}


@pytest.mark.parametrize("loss", quick(LOSSES, ("binary_crossentropy",)))
@pytest.mark.parametrize("metric", quick(METRICS, ("AUC",)))
@pytest.mark.filterwarnings("error:jit_compile")
def test_losses_and_metrics_of_keras(loss, metric):
    results = []
    x, y = data()
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = with_head(lambda: keras.layers.Dense(3, "softmax"))()
        model = keras_mg.Model(model.input, model.layers[-2].output)
        model.torch_backend = "aot_eager"
        model.compile(
            sgd(), loss, metrics=[getattr(keras.metrics, metric)()], jit_compile=jit_compile
        )
        y_hot = keras.utils.to_categorical(y, CLASSES)
        history = model.fit(x, y_hot, batch_size=BATCH, epochs=2, verbose=0, shuffle=False)
        scores = model.evaluate(x, y_hot, verbose=0)
        results.append(
            {"weights": model.get_weights(), "history": history.history, "scores": scores}
        )
    assert model._compiled_steps.train_step.extent is min(
        LOSSES[loss], METRICS[metric], key=lambda extent: len(extent.value)
    )
    assert len(graphs(model)) == 1
    assert_same(*results)


def test_a_bad_batch_raises_and_changes_nothing_about_the_graphs():
    x, y = data()
    model = compiled_model()
    with pytest.raises(Exception, match="(?i)out of bounds|index"):
        model.train_on_batch(x, y + 100)
    with pytest.raises(ValueError, match="(?i)shape"):
        model.train_on_batch(x[:, :, :, :2], y)
    assert np.isfinite(model.train_on_batch(x, y))
    steps = model._compiled_steps
    assert (steps.failed, steps.train_step.extent, steps.failure) == (False, WHOLE_STEP, None)


class Idle(keras.layers.Layer):
    """Has a weight that its output does not depend on."""

    def build(self, shape):
        self.idle = self.add_weight(shape=(3,), name="idle")

    def call(self, x):
        return x * 2.0


def test_the_update_is_captured_where_a_weight_has_no_gradient():
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        eager, _ = fit(with_head(Idle), sgd, False)
    before = unique_graphs()
    with pytest.warns(UserWarning, match=r"Gradients do not exist for variables \['idle.*/idle'\]"):
        compiled, model = fit(with_head(Idle), sgd, True)
    assert len(graphs(model)) == 1
    assert unique_graphs() - before == 2
    assert_same(eager, compiled)
