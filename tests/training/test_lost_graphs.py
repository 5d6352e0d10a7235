"""Whatever makes torch capture again after the first success, and threads, change no result."""

import threading

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.training import _by_shape, _forward_step, _torch_graph, _update_step, stored_in_order
from tests.support import compiled as support
from tests.support.compiled import assert_same

torch = pytest.importorskip("torch")
pytestmark = [*support.MARKS, pytest.mark.filterwarnings("error:jit_compile")]

X = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3)).astype("float32")
Y = np.random.default_rng(1).integers(0, 2, (12, 1)).astype("float32")


def model_of(jit_compile, remat=False):
    """With layers and a loss that torch captures only while something stands in for parts of it."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Rescaling(1 / 255, name="scaled")(images)
    x = keras_mg.layers.ConvNormActivation(4, 3, name="features")(x)
    x = keras.layers.GlobalMaxPooling2D(name="pooled")(x)
    score = keras.layers.Dense(1, activation="sigmoid", name="score")(x)
    model = keras_mg.Model(images, score, name="small")
    # Torch's "eager" does not recompute.
    model.torch_backend = "aot_eager" if remat else "eager"
    model.compile("sgd", "binary_crossentropy", jit_compile=jit_compile, remat=remat)
    return model


def train(model):
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)


def clear_session(model):
    keras.utils.clear_session()


def reset(model):
    torch.compiler.reset()


def predict_in_inference_mode(model):
    with torch.inference_mode():
        model.predict(X, verbose=0)


def predict_in_a_thread(model):
    thread = threading.Thread(target=model.predict, args=(X,), kwargs={"verbose": 0})
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("disturb", "remat"),
    [
        (clear_session, True),
        (reset, False),
        (predict_in_inference_mode, False),
        (predict_in_a_thread, False),
    ],
)
def test_training_goes_on_compiled(disturb, remat):
    results = []
    for jit_compile in (False, True):
        model = model_of(jit_compile, remat)
        train(model)
        predictions = [model.predict(X, verbose=0)]
        disturb(model)
        train(model)
        predictions.append(model.predict(X, verbose=0))
        results.append({"predictions": predictions, "weights": model.get_weights()})
        if jit_compile:
            steps = model._compiled_steps
            assert not steps.failed
            for step in (steps.train_step, steps.predict_step):
                assert step.settled
                assert not step.graph.lost > 1
    assert_same(*results, tolerance=0.0)


@pytest.fixture
def limit(monkeypatch):
    """A small number of graphs, so that the limit is soon reached."""
    for module in (_by_shape, _forward_step, _update_step):
        monkeypatch.setattr(module, "MAX_SHAPES", 2)
    return 2


def test_a_graph_may_be_lost_in_every_epoch(limit):
    model = model_of(True)
    for _ in range(limit + 2):
        keras.utils.clear_session()
        train(model)
    for step in (model._compiled_steps.train_step, model._compiled_steps.update):
        assert step.captures <= limit
    assert model._compiled_steps.train_step.graph.lost <= 1


def test_a_graph_that_never_runs_again_is_given_up_with_a_warning(limit):
    model = model_of(True)
    x, y = X[:4], Y[:4]
    for _ in range(limit + 1):
        model.test_on_batch(x, y)
        torch.compiler.reset()
    with pytest.warns(UserWarning, match="lost a graph 3 times in a row"):
        model.test_on_batch(x, y)
    model.test_on_batch(x, y)


@pytest.mark.filterwarnings("error")
def test_warnings_that_are_errors_do_not_end_it():
    model = model_of(True)
    train(model)
    torch.compiler.reset()
    train(model)
    assert not model._compiled_steps.failed


@pytest.mark.parametrize("lost", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_many_threads_predict(lost):
    model = model_of(True)
    expected = model.predict(X, batch_size=4, verbose=0)
    model.predict(X, batch_size=4, verbose=0)
    if lost:
        torch.compiler.reset()  # all threads meet the loss at once
    answers, errors = [], []

    def serve():
        try:
            answers.extend(model.predict_on_batch(X[:4]) for _ in range(5))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(answers) == 20
    for answer in answers:
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(answer), expected[:4])


def test_autocast_is_not_taken_from_a_graph_without():
    model = model_of(True)
    plain = model.predict(X, verbose=0)
    eager = model_of(False)
    eager.set_weights(model.get_weights())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = (m.predict(X, verbose=0) for m in (model, eager))
    np.testing.assert_array_equal(ours, theirs)
    assert np.abs(ours - plain).max() > 0
    np.testing.assert_array_equal(model.predict(X, verbose=0), plain)


@pytest.mark.parametrize(("loss", "metric"), [("mse", "AUC"), ("hinge", "mae")])
def test_masked_steps_are_left_out_of_losses_and_metrics(loss, metric):
    x = np.ones((4, 3, 2), "float32")
    x[:, 1:] = 0
    y = np.where(np.arange(3)[None, :, None] < 1, 1.0, 0.0) * np.ones((4, 3, 1))
    results = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3, 2), name="steps")
        masked = keras.layers.Masking(name="mask")(inputs)
        outputs = keras.layers.Dense(1, activation="sigmoid", name="score")(masked)
        model = keras_mg.Model(inputs, outputs, name="masked")
        model.torch_backend = "eager"
        metrics = ["mae", keras.metrics.AUC(name="auc")] if metric == "AUC" else [metric]
        model.compile("sgd", loss, metrics=metrics, jit_compile=jit_compile)
        history = model.fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0).history
        results.append(history | model.evaluate(x, y, verbose=0, return_dict=True))
        if jit_compile:
            assert not model._compiled_steps.failed
    assert_same(*results)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of inductor
def test_parameters_in_another_order(monkeypatch):
    """Inductor's code asks for the strides that it was made for."""
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.Dense(2, use_bias=False)])
    model = keras_mg.Model(model.inputs, model.outputs)
    model.compile("sgd", "mse", jit_compile=True)
    kernel = model.trainable_variables[0].value
    kernel.data = kernel.data.T.contiguous().T
    x = X[:, :3, :2, 0] / 255
    expected = x @ keras.ops.convert_to_numpy(model.weights[0])
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    captured = []
    capture = _torch_graph.capture
    monkeypatch.setattr(
        _torch_graph,
        "capture",
        lambda f, *args, **kw: captured.append(f) or capture(f, *args, **kw),
    )
    with stored_in_order(model):
        assert kernel.is_contiguous()
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
        assert not captured
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    assert not captured  # the graph from before fits again
    kernel.data = kernel.data.contiguous()
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    assert len(captured) == 1
    assert not model._compiled_steps.failed
