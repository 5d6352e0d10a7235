"""The numbers of every public layer, on `tests/support/layer_cases.py`: against the reference,
between data formats, precisions and devices."""

import keras
import numpy as np
import pytest

from tests.support.arrays import assert_close, flat, numpy, to_channels_last
from tests.support.device import exact_float32
from tests.support.layer_cases import every_layer, one_of_each_layer
from tests.support.layer_check import (
    FORMATS,
    built,
    gradients_of,
    inputs_of,
    reference_of,
    run,
    to_tensors,
    training_argument,
)

torch = pytest.importorskip("torch")

FLOAT32, FLOAT64 = 2e-5, 1e-10
HALVES = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}


def weights_of(layer):
    return [numpy(v) for v in layer.weights]


def assert_gradients_close(values, references, tolerance):
    """All on one scale: some are zero but for rounding (a bias before batch norm)."""
    scale = max([np.abs(g).max() for g in references], default=1.0)
    for value, reference in zip(values, references, strict=True):
        assert value.shape == reference.shape
        assert np.abs(value - reference).max() <= tolerance * scale


@every_layer
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("training", [False, True])
def test_outputs_are_those_of_the_reference(case, data_format, training):
    """And the weights are in the order of the forward pass, or the reference would not get them."""
    layer, arrays = built(case, data_format), inputs_of(case)
    expected, statistics, *_ = reference_of(case, layer, arrays, training)
    outputs = run(case, layer, arrays, **training_argument(layer, training))
    assert_close(outputs, expected, FLOAT32)
    if training:
        assert_close([numpy(v) for v in layer.non_trainable_variables], statistics, FLOAT32)


@every_layer
@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_those_of_the_reference(case, training):
    """In float64, where rounding cannot excuse a difference; every weight gets one."""
    layer = built(case, dtype="float64")
    arrays = inputs_of(case, dtype="float64")
    expected, _, of_inputs, of_weights = reference_of(case, layer, arrays, training)
    outputs, got_inputs, got_weights = gradients_of(case, layer, arrays, training)
    assert_close(outputs, expected, FLOAT64)
    assert_close(got_inputs, of_inputs, FLOAT64)
    assert [path for path, gradient in got_weights.items() if gradient is None] == []
    assert_gradients_close(got_weights.values(), of_weights, FLOAT64)


@every_layer
def test_both_data_formats_give_the_same_numbers(case):
    last, first = (built(case, f) for f in FORMATS)
    first.set_weights(weights_of(last))
    arrays = inputs_of(case)
    a, b = (gradients_of(case, layer, arrays, training=True) for layer in (last, first))
    assert_close(b[0], a[0], FLOAT32)
    assert_close(b[1], a[1], FLOAT32)
    assert_gradients_close(b[2].values(), a[2].values(), FLOAT32)
    for got, wanted in zip(weights_of(first), weights_of(last), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=FLOAT32)


@every_layer
def test_inputs_keep_their_values(case):
    """The layers compute in place where nobody else holds the tensor, and only there."""
    for data_format in FORMATS:
        layer = built(case, data_format)
        tensors = to_tensors(inputs_of(case), layer)
        copies = [t.clone() for t in tensors]
        outputs = flat(layer(case.nested(tensors), **training_argument(layer, False)))
        kept = [y.clone() for y in outputs]
        layer(case.nested(tensors), **training_argument(layer, True))
        for value, copy in zip([*tensors, *outputs], [*copies, *kept], strict=True):
            assert torch.equal(value, copy)


@every_layer
def test_two_uses_of_an_input_give_both_gradients(case):
    layer = built(case)
    gradients = []
    for uses in (1, 2):
        tensors = [t.clone().requires_grad_() for t in to_tensors(inputs_of(case), layer)]
        outputs = [y for _ in range(uses) for y in flat(layer(case.nested(tensors)))]
        sum(y.sum() for y in outputs).backward()
        gradients.append([None if t.grad is None else numpy(t.grad) for t in tensors])
    for once, twice in zip(*gradients, strict=True):
        if once is None:  # a grid that the layer drops
            assert twice is None
        else:
            np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-5)


@every_layer
def test_one_example_of_single_pixels_trains(case):
    layer = built(case)
    arrays = inputs_of(case, batch=1, shapes=case.smallest)
    outputs, of_inputs, of_weights = gradients_of(case, layer, arrays, training=True)
    assert [path for path, gradient in of_weights.items() if gradient is None] == []
    for array in [*outputs, *of_inputs, *of_weights.values(), *weights_of(layer)]:
        assert np.isfinite(array).all()


@one_of_each_layer
@pytest.mark.parametrize("policy", HALVES)
@pytest.mark.parametrize("data_format", FORMATS)
def test_half_precision(case, policy, data_format):
    layer, exact = (built(case, data_format, dtype=d) for d in (policy, "float32"))
    exact.set_weights(weights_of(layer))
    arrays = inputs_of(case)
    for training in (False, True):
        argument = training_argument(layer, training)
        outputs = flat(layer(case.nested(to_tensors(arrays, layer)), **argument))
        assert {keras.backend.standardize_dtype(y.dtype) for y in outputs} == {HALVES[policy]}
        expected = run(case, exact, arrays, **argument)
        got = [to_channels_last(numpy(y).astype("float64"), data_format) for y in outputs]
        # Batch norm over the few values of a coarse grid can widen a rounding tenfold.
        assert_close(got, expected, 0.1)
        for value, reference in zip(got, expected, strict=True):
            assert np.abs(value - reference).mean() <= 0.01 * np.abs(reference).max()
    for variable in layer.weights:
        assert keras.backend.standardize_dtype(variable.dtype) == "float32"
        assert keras.backend.standardize_dtype(variable.value.dtype) == "float32"
    moved = layer.non_trainable_variables, exact.non_trainable_variables
    for got, wanted in zip(*moved, strict=True):
        np.testing.assert_allclose(numpy(got), numpy(wanted), rtol=0.05, atol=0.05)


@one_of_each_layer
@pytest.mark.parametrize("policy", HALVES)
def test_half_precision_gradients(case, policy):
    layer = built(case, dtype=policy)
    _, of_inputs, of_weights = gradients_of(case, layer, inputs_of(case), training=True)
    for gradient in of_inputs:
        assert np.isfinite(gradient.astype("float64")).all()
    for gradient in of_weights.values():
        assert gradient.dtype == np.float32
        assert np.isfinite(gradient).all()


@pytest.mark.gpu
@every_layer
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("training", [False, True])
def test_cuda_gives_the_numbers_of_the_cpu(case, data_format, training):
    arrays = inputs_of(case)
    results, weights = [], None
    for device in ("cpu", "cuda"):
        with exact_float32(), keras.device(device):
            layer = built(case, data_format)
            weights = weights or weights_of(layer)
            layer.set_weights(weights)
            results.append((*gradients_of(case, layer, arrays, training), weights_of(layer)))
    cpu, cuda = results
    assert_close(cuda[0], cpu[0], FLOAT32)
    # A value that rounds to the other side of a ReLU's zero takes its gradient with it, so
    # gradients get more room than outputs.
    assert_close(cuda[1], cpu[1], 10 * FLOAT32)
    assert_gradients_close(cuda[2].values(), cpu[2].values(), 10 * FLOAT32)
    for got, wanted in zip(cuda[3], cpu[3], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.gpu
@one_of_each_layer
@pytest.mark.parametrize("policy", HALVES)
def test_cuda_half_precision(case, policy):
    with keras.device("cuda"):
        layer = built(case, dtype=policy)
        outputs, of_inputs, of_weights = gradients_of(case, layer, inputs_of(case), training=True)
        assert "cuda" in str(layer.weights[0].value.device) if layer.weights else True
    for array in [*outputs, *of_inputs, *of_weights.values(), *weights_of(layer)]:
        assert np.isfinite(array.astype("float64")).all()
