"""What changes between compiled steps counts: shapes, weights, freezing, settings, `compile()`."""

import keras
import numpy as np

from tests.support import compiled as support
from tests.support.arrays import numpy as array
from tests.support.compiled import assert_same, graphs, unique_graphs
from tests.support.small_model import BATCH, compiled_model, crossentropy, data, fit, plain, sgd

pytestmark = support.MARKS


def test_a_shape_is_compiled_at_once_or_when_it_comes_twice_in_a_row():
    _, model = fit(plain, sgd, True)
    steps = model._compiled_steps
    assert [tuple(key[-1][1][0]) for key in steps.train_step.graph.compiled] == [(BATCH, 8, 8, 3)]
    x, y = data()
    for _ in range(2):
        model.fit(x[:6], y[:6], batch_size=3, epochs=1, verbose=0)
    assert [key[-1][1][0][0] for key in steps.train_step.graph.compiled] == [BATCH, 3]
    before = unique_graphs()
    model.fit(x, y, batch_size=BATCH, epochs=3, verbose=0)
    assert unique_graphs() == before


def test_compile_drops_the_graphs_and_takes_new_trainable_layers():
    _, model = fit(plain, sgd, True)
    first = model._compiled_steps
    model.layers[1].trainable = False
    model.compile(sgd(), crossentropy(), jit_compile=True)
    frozen = [array(w) for w in model.layers[1].weights]
    head = array(model.layers[-1].kernel)
    x, y = data()
    model.fit(x, y, batch_size=5, epochs=2, verbose=0)
    assert model._compiled_steps is not first
    for before, after in zip(frozen, model.layers[1].weights, strict=True):
        np.testing.assert_array_equal(before, array(after))
    assert not np.array_equal(head, array(model.layers[-1].kernel))


def test_weights_set_between_steps_are_used():
    _, model = fit(plain, sgd, True)
    x, _ = data()
    compiled = [model.predict(x, batch_size=5, verbose=0)]
    model.set_weights([w * 0.5 for w in model.get_weights()])
    compiled.append(model.predict(x, batch_size=5, verbose=0))
    assert np.abs(compiled[0] - compiled[1]).max() > 0.01
    np.testing.assert_allclose(compiled[1], array(model(x)), rtol=1e-5, atol=1e-6)


def test_freezing_without_compile_counts_from_the_next_step():
    results = []
    x, y = data()
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = compiled_model(jit_compile=jit_compile)
        model.fit(x, y, verbose=0, shuffle=False)
        model.layers[1].trainable = False
        frozen = [array(w) for w in model.layers[1].weights]
        model.fit(x, y, verbose=0, shuffle=False)
        for before, after in zip(frozen, model.layers[1].weights, strict=True):
            np.testing.assert_array_equal(before, array(after))
        results.append({"weights": model.get_weights()})
    assert len(graphs(model)) == 1
    assert_same(*results)


def test_settings_of_the_optimizer_count_from_the_next_step():
    results = []
    x, y = data()
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = compiled_model() if jit_compile else plain()
        optimizer = keras.optimizers.AdamW(0.01)
        model.compile(optimizer, crossentropy(), jit_compile=jit_compile)
        model.torch_backend = "aot_eager"
        model.fit(x, y, verbose=0, shuffle=False)
        optimizer.weight_decay = 5.0
        model.fit(x, y, verbose=0, shuffle=False)
        optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
        model.fit(x, y, verbose=0, shuffle=False)
        results.append({"weights": model.get_weights()})
    assert len(graphs(model)) == 1
    assert_same(*results, tolerance=1e-6)


def test_save_and_resume_compiled(tmp_path):
    x, y = data()
    options = {"batch_size": 5, "verbose": 0, "shuffle": False}
    _, model = fit(plain, sgd, True, {"epochs": 4, **options})
    _, stopped = fit(plain, sgd, True, {"epochs": 2, **options})
    stopped.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    assert resumed.jit_compile is True
    resumed.torch_backend = "aot_eager"
    resumed.fit(x, y, epochs=2, **options)
    assert len(graphs(resumed)) == 1
    for a, b in zip(model.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(array(a), array(b))
