"""Dropout of the multigrid layers: on the concatenated input of each convolution, in training."""

import keras
import numpy as np
import pytest

from keras_mg.layers import MultigridConv, MultigridResidual
from tests.support.arrays import assert_close, numpy
from tests.support.layer_cases import CASES
from tests.support.layer_check import built, inputs_of, run

ROWS = [c for c in CASES if c.name in ("MultigridConv-plain", "MultigridResidual-A")]


@pytest.fixture(params=ROWS, ids=lambda case: case.name)
def case(request):
    return request.param._replace(arguments={**request.param.arguments, "dropout": 0.5})


def test_inference_drops_nothing(case):
    plain = case._replace(arguments={**case.arguments, "dropout": 0.0})
    layer, reference = built(case), built(plain)
    reference.set_weights([numpy(v) for v in layer.weights])
    arrays = inputs_of(case)
    assert_close(run(case, layer, arrays), run(plain, reference, arrays), 0)


def test_training_draws_anew_each_time(case):
    layer, arrays = built(case), inputs_of(case)
    a, b = (run(case, layer, arrays, training=True) for _ in range(2))
    assert all(not np.allclose(x, y) for x, y in zip(a, b, strict=True))


def test_it_is_on_the_concatenated_input_of_each_convolution(case, monkeypatch):
    seen = []

    def call(self, inputs, training=False):
        seen.append((tuple(inputs.shape), self.rate, training))
        return inputs

    monkeypatch.setattr(keras.layers.Dropout, "call", call)
    layer = built(case)
    run(case, layer, inputs_of(case), training=True)
    widths = [shape[1] for shape, rate, training in seen]
    if case.layer is MultigridConv:
        assert widths == [5, 7, 5]  # of grids of 2, 3, 2 channels
    else:
        assert case.layer is MultigridResidual
        assert widths == [5, 7, 5, 7, 8, 6]  # and of 2, 5, 1
    assert {(rate, training) for _, rate, training in seen} == {(0.5, True)}


def test_elements_are_dropped_and_the_others_scaled():
    layer = MultigridConv((1,), kernel_size=1, activation=None, dropout=0.25)
    x = np.ones((4, 50, 50, 1), "float32")
    layer.build([x.shape])
    layer.units[0].kernel.assign(np.ones((1, 1, 1, 1)))
    layer.units[0].trainable = False  # its batch norm is the identity, but for epsilon
    (y,) = layer([x], training=True)
    values, counts = np.unique(numpy(y).round(3), return_counts=True)
    assert values.tolist() == pytest.approx([0.0, 1 / 0.75], abs=1e-3)
    assert counts[0] / counts.sum() == pytest.approx(0.25, abs=0.03)


def test_a_model_with_dropout_reloads(case, tmp_path):
    inputs = [keras.Input(shape) for shape in case.inputs]
    model = keras.Model(inputs, built(case)(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[-1].dropout == 0.5
    arrays = inputs_of(case)
    assert_close([numpy(y) for y in again(arrays)], [numpy(y) for y in model(arrays)], 0)
