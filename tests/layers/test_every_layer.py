"""The contract of a public layer, on every row of `tests/support/layer_cases.py`."""

import inspect
import json
import re

import keras
import numpy as np
import pytest

from keras_mg import layers
from tests.support.arrays import KINDS, assert_close, flat, kind_of, numpy, randomize
from tests.support.device import exact_float32
from tests.support.layer_cases import CASES
from tests.support.layer_check import (
    FORMATS,
    built,
    functional_model,
    gradients_of,
    in_format,
    inputs_of,
    reference_of,
    run,
    takes_training,
    training_argument,
)

torch = pytest.importorskip("torch")

FLOAT32, FLOAT64 = 2e-5, 1e-10


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    return request.param


@pytest.fixture(params=FORMATS)
def data_format(request):
    return request.param


def weights_of(layer):
    return [numpy(v) for v in layer.weights]


def test_no_public_layer_is_left_out():
    public = {
        value
        for name, value in vars(layers).items()
        if not name.startswith("_")
        and isinstance(value, type)
        and issubclass(value, keras.layers.Layer)
    }
    assert {case.layer for case in CASES} == public
    assert len({case.name for case in CASES}) == len(CASES)


# --- configuration


def test_config_has_the_keys_of_the_signature(case):
    config = case.make().get_config()
    signature = inspect.signature(case.layer.__init__).parameters
    arguments = [n for n, p in signature.items() if p.kind is not p.VAR_KEYWORD and n != "self"]
    assert sorted(config) == sorted([*arguments, "name", "trainable", "dtype"])
    json.dumps(config)


def test_config_makes_the_same_layer(case, data_format):
    layer = case.make(data_format=data_format, dtype="mixed_bfloat16", name="some_name")
    again = case.layer.from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()
    assert again.name == "some_name"
    assert again.data_format == data_format
    assert again.dtype_policy.name == "mixed_bfloat16"


def test_arguments_are_kept_under_their_names(case):
    config = case.make().get_config()
    for name, value in case.arguments.items():
        if not name.endswith("initializer"):
            kept = config[name]
            wanted = list(value) if isinstance(value, tuple) else value
            if name == "activation" and value is None:
                wanted = "linear"  # Keras's name for none
            many = len(kept) if isinstance(kept, list) else 0  # one number for all grids
            assert kept in (wanted, [wanted] * many), name


def test_registered_under_the_package_name(case):
    name = f"keras_mg>{case.layer.__name__}"
    assert keras.saving.get_registered_name(case.layer) == name


def test_data_format_is_the_global_one_by_default(case, data_format):
    keras.config.set_image_data_format(data_format)
    assert case.make().data_format == data_format


def test_another_data_format_is_refused(case):
    with pytest.raises(ValueError, match="data_format must be one of .*channels_first.*'NCHW'"):
        case.make(data_format="NCHW")


# --- shapes


@pytest.mark.parametrize("batch", [None, 2])
def test_output_shape(case, data_format, batch):
    layer = case.make(data_format=data_format)
    outputs = run(case, built(case, data_format), inputs_of(case))
    wanted = [in_format((batch, *y.shape[1:]), data_format) for y in outputs]
    shapes = [in_format(shape, data_format) for shape in case.shapes(batch=batch)]
    got = layer.compute_output_shape(case.nested(shapes))
    assert (list(got) if isinstance(got, list) else [got]) == wanted
    model = functional_model(case, built(case, data_format))
    shapes = [tuple(t.shape) for t in model.outputs]
    assert shapes == [(None, *shape[1:]) for shape in wanted]


def test_output_shape_with_unknown_sides(case, data_format):
    model = functional_model(case, built(case, data_format), unknown_sides=True)
    arrays = inputs_of(case)
    known = run(case, built(case, data_format), arrays)
    for tensor, array in zip(model.outputs, known, strict=True):
        wanted = in_format((None, None, None, array.shape[3]), data_format)
        assert tuple(tensor.shape) == wanted
    layer = model.layers[-1]
    outputs = model([in_format_array(a, data_format) for a in arrays])
    assert_close(map(numpy, flat(outputs)), map(numpy, flat(run_raw(case, layer, arrays))), 0)


def in_format_array(array, data_format):
    return np.moveaxis(array, 3, 1) if data_format == "channels_first" else array


def run_raw(case, layer, arrays):
    return layer(case.nested([in_format_array(a, layer.data_format) for a in arrays]))


def test_a_layer_built_at_one_size_takes_others(case):
    layer = built(case)
    larger = [(h * 2, w * 2, c) for h, w, c in case.inputs]
    shapes = case.shapes(batch=3, shapes=larger)
    arrays = inputs_of(case, batch=3, shapes=larger)
    if case.layer.__name__.startswith("Multigrid") and len(case.inputs) > 1:
        pytest.skip("twice an odd side is not what halves to it; see the next layer's own tests")
    outputs = run(case, layer, arrays)
    wanted = layer.compute_output_shape(case.nested(shapes))
    assert [y.shape for y in outputs] == flat_shapes(wanted)


def flat_shapes(shapes):
    return list(shapes) if isinstance(shapes, list) else [shapes]


# --- weights


def test_weight_names(case):
    layer = built(case)
    for variable in layer.weights:
        assert re.search(rf"(^|_)({'|'.join(KINDS)})(_\d+)?$", variable.name), variable.path
        trained = kind_of(variable) not in ("moving_mean", "moving_variance")
        assert variable.trainable == trained, variable.path
    paths = [v.path for v in layer.weights]
    assert len(set(paths)) == len(paths)


def test_weights_of_the_model_come_in_the_layers_order(case):
    layer = built(case)
    model = functional_model(case, layer)
    assert [id(v) for v in model.weights] == [id(v) for v in layer.weights]


# --- numbers


@pytest.mark.parametrize("training", [False, True])
def test_outputs_are_those_of_the_reference(case, data_format, training):
    """And the weights are in the order of the forward pass, or the reference would not get them."""
    layer, arrays = built(case, data_format), inputs_of(case)
    expected, statistics, *_ = reference_of(case, layer, arrays, training)
    outputs = run(case, layer, arrays, **training_argument(layer, training))
    assert_close(outputs, expected, FLOAT32)
    if training:
        moved = [numpy(v) for v in layer.non_trainable_variables]
        assert_close(moved, statistics, FLOAT32)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_those_of_the_reference(case, data_format, training):
    """In float64, where rounding cannot excuse a difference."""
    layer = built(case, data_format, dtype="float64")
    arrays = inputs_of(case, dtype="float64")
    expected, _, of_inputs, of_weights = reference_of(case, layer, arrays, training)
    outputs, got_inputs, got_weights = gradients_of(case, layer, arrays, training)
    assert_close(outputs, expected, FLOAT64)
    assert_close(got_inputs, of_inputs, FLOAT64)
    missing = [path for path, gradient in got_weights.items() if gradient is None]
    assert not missing
    # Some are zero but for rounding (a bias before batch norm), so all share one scale.
    scale = max([np.abs(g).max() for g in of_weights], default=1.0)
    for (path, got), wanted in zip(got_weights.items(), of_weights, strict=True):
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() <= FLOAT64 * scale, path


def test_both_data_formats_give_the_same_numbers(case):
    last, first = (built(case, f) for f in FORMATS)
    first.set_weights(weights_of(last))
    arrays = inputs_of(case)
    a, b = (gradients_of(case, layer, arrays, training=True) for layer in (last, first))
    assert_close(b[0], a[0], FLOAT32)
    assert_close(b[1], a[1], FLOAT32)
    scale = max([np.abs(g).max() for g in a[2].values()], default=1.0)
    for got, wanted in zip(b[2].values(), a[2].values(), strict=True):
        assert np.abs(got - wanted).max() <= FLOAT32 * scale
    for got, wanted in zip(weights_of(first), weights_of(last), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("training", [False, True])
def test_inputs_keep_their_values(case, data_format, training):
    """The layers compute in place where nobody else holds the tensor, and only there."""
    layer = built(case, data_format)
    tensors = [
        keras.ops.convert_to_tensor(in_format_array(a, data_format)) for a in inputs_of(case)
    ]
    copies = [t.clone() for t in tensors]
    first = flat(layer(case.nested(tensors), **training_argument(layer, False)))
    kept = [y.clone() for y in first]
    layer(case.nested(tensors), **training_argument(layer, training))
    for value, copy in zip([*tensors, *first], [*copies, *kept], strict=True):
        assert torch.equal(value, copy)


def test_an_input_used_twice_gets_both_gradients(case):
    layer = built(case)
    gradients = []
    for uses in (1, 2):
        tensors = [keras.ops.convert_to_tensor(a).clone().requires_grad_() for a in inputs_of(case)]
        for _ in range(uses):
            loss = sum(y.sum() for y in flat(layer(case.nested(tensors))))
        if uses == 2:
            loss = loss + sum(y.sum() for y in flat(layer(case.nested(tensors))))
        loss.backward()
        gradients.append([numpy(t.grad) for t in tensors])
    for once, twice in zip(*gradients, strict=True):
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-5)


# --- training and inference


def test_inference_leaves_every_weight(case):
    layer = built(case)
    before = weights_of(layer)
    run(case, layer, inputs_of(case))
    run(case, layer, inputs_of(case), **training_argument(layer, False))
    for old, new in zip(before, weights_of(layer), strict=True):
        np.testing.assert_array_equal(new, old)


def freeze_after_build(case):
    layer = built(case)
    layer.trainable = False
    return layer


def freeze_before_build(case):
    layer = case.make()
    layer.trainable = False
    return build(case, layer)


def frozen_by_argument(case):
    return build(case, case.make(trainable=False))


def frozen_and_reloaded(case):
    return build(case, case.layer.from_config(freeze_after_build(case).get_config()))


def build(case, layer):
    layer.build(case.nested(case.shapes()))
    return randomize(layer)


@pytest.mark.parametrize(
    "freeze", [freeze_after_build, freeze_before_build, frozen_by_argument, frozen_and_reloaded]
)
def test_a_frozen_layer_is_left_alone(case, freeze):
    arrays = inputs_of(case)
    layer = freeze(case)
    expected = run(case, built(case), arrays)
    layer.set_weights(weights_of(built(case)))
    before = weights_of(layer)
    assert_close(run(case, layer, arrays, **training_argument(layer, True)), expected, 0)
    for old, new in zip(before, weights_of(layer), strict=True):
        np.testing.assert_array_equal(new, old)
    assert layer.trainable_variables == []
    if len(before) > 0:
        layer.trainable = True
        assert len(layer.trainable_variables) == len(built(case).trainable_variables)


@pytest.mark.parametrize("training", [False, True])
def test_a_stateless_call_returns_the_statistics_instead_of_moving_them(case, training):
    layer, arrays = built(case), inputs_of(case)
    before = weights_of(layer)
    states = layer.trainable_variables, layer.non_trainable_variables
    outputs, moved = layer.stateless_call(
        *([v.value for v in s] for s in states),
        case.nested(arrays),
        **training_argument(layer, training),
    )
    for old, new in zip(before, weights_of(layer), strict=True):
        np.testing.assert_array_equal(new, old)
    expected = run(case, layer, arrays, **training_argument(layer, training))
    assert_close([numpy(y) for y in flat(outputs)], expected, 0)
    for got, variable in zip(moved, layer.non_trainable_variables, strict=True):
        np.testing.assert_allclose(numpy(got), numpy(variable), rtol=1e-6, atol=1e-7)


def test_one_example_of_single_pixels_trains(case):
    layer = built(case)
    arrays = inputs_of(case, batch=1, shapes=case.smallest)
    outputs, of_inputs, of_weights = gradients_of(case, layer, arrays, training=True)
    for array in [*outputs, *of_inputs, *of_weights.values(), *weights_of(layer)]:
        assert np.isfinite(array).all()


# --- precision


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(case, policy, data_format):
    layer = built(case, data_format, dtype=policy)
    exact = built(case, data_format)
    exact.set_weights(weights_of(layer))
    arrays = inputs_of(case)
    half = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}[policy]
    for training in (False, True):
        tensors = [keras.ops.convert_to_tensor(in_format_array(a, data_format)) for a in arrays]
        outputs = flat(layer(case.nested(tensors), **training_argument(layer, training)))
        assert {keras.backend.standardize_dtype(y.dtype) for y in outputs} == {half}
        expected = run(case, exact, arrays, **training_argument(exact, training))
        got = [to_last(numpy(y).astype("float64"), data_format) for y in outputs]
        # Batch norm over a few values of a coarse grid can widen a rounding by some ten.
        assert_close(got, expected, 0.1)
        mean = np.mean(
            [np.abs(g - e).mean() / np.abs(e).max() for g, e in zip(got, expected, strict=True)]
        )
        assert mean < 0.01
    for variable in layer.weights:
        assert keras.backend.standardize_dtype(variable.dtype) == "float32"
        assert keras.backend.standardize_dtype(variable.value.dtype) == "float32"
        assert np.isfinite(numpy(variable)).all()
    for got, wanted in zip(
        layer.non_trainable_variables, exact.non_trainable_variables, strict=True
    ):
        np.testing.assert_allclose(numpy(got), numpy(wanted), rtol=0.05, atol=0.05)


def to_last(array, data_format):
    return np.moveaxis(array, 1, 3) if data_format == "channels_first" else array


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_gradients_are_finite(case, policy):
    layer = built(case, dtype=policy)
    _, of_inputs, of_weights = gradients_of(case, layer, inputs_of(case), training=True)
    for gradient in [*of_inputs, *of_weights.values()]:
        assert np.isfinite(np.asarray(gradient, "float64")).all()
    assert all(g.dtype == np.float32 for g in of_weights.values())


# --- models


def predictions(model, arrays, data_format="channels_last"):
    outputs = model([in_format_array(a, data_format) for a in arrays])
    return [numpy(y).astype("float64") for y in flat(outputs)]


def test_clone(case, data_format):
    model = functional_model(case, built(case, data_format))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    arrays = inputs_of(case)
    expected = predictions(model, arrays, data_format)
    assert_close(predictions(clone, arrays, data_format), expected, 0)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_reload_from_keras_file(case, data_format, policy, tmp_path):
    model = functional_model(case, built(case, data_format, dtype=policy))
    arrays = inputs_of(case)
    expected = predictions(model, arrays, data_format)
    model.save(tmp_path / "model.keras")
    keras.config.set_image_data_format(next(f for f in FORMATS if f != data_format))
    keras.config.set_dtype_policy("float64")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_close(predictions(again, arrays, data_format), expected, 0)
    assert [v.path for v in again.weights] == [v.path for v in model.weights]
    assert [v.dtype for v in again.weights] == [v.dtype for v in model.weights]


def test_reload_from_weights_file(case, tmp_path):
    model = functional_model(case, built(case))
    arrays = inputs_of(case)
    model.save_weights(tmp_path / "model.weights.h5")
    again = functional_model(case, randomize(built(case), seed=1))
    if model.weights:
        assert not np.array_equal(*(m.get_weights()[-1] for m in (model, again)))
    again.load_weights(tmp_path / "model.weights.h5")
    assert_close(predictions(again, arrays), predictions(model, arrays), 0)


def test_fit_moves_every_weight(case):
    """One step of compile and fit, in eager mode as torch runs it."""
    layer = built(case)
    if not layer.weights:
        pytest.skip("the layer has no weights")
    model = functional_model(case, layer)
    model.compile(keras.optimizers.SGD(0.1), ["mse"] * len(model.outputs))
    before = weights_of(layer)
    arrays = inputs_of(case)
    targets = [np.ones(tuple(y.shape), "float32") for y in flat(run_raw(case, layer, arrays))]
    model.fit(arrays, targets, epochs=1, verbose=0)
    still = [
        v.path
        for v, old in zip(layer.weights, before, strict=True)
        if np.array_equal(numpy(v), old)
    ]
    without_effect = constant_under_training(case, layer)
    assert set(still) <= without_effect


def constant_under_training(case, layer):
    """Weights whose gradient is zero: A where the last iteration is the only one."""
    alone = case.arguments.get("iterations") == 1 and not layer.return_residual
    return {layer.operator.kernel.path} if alone else set()


# --- CUDA


@pytest.mark.gpu
@pytest.mark.parametrize("training", [False, True])
def test_cuda_gives_the_numbers_of_the_cpu(case, data_format, training):
    arrays = inputs_of(case)
    results = []
    with exact_float32():
        for device in ("cpu", "cuda"):
            with keras.device(device):
                layer = built(case, data_format)
                if results:
                    layer.set_weights(initial)
                initial = weights_of(layer)
                results.append((*gradients_of(case, layer, arrays, training), weights_of(layer)))
    cpu, cuda = results
    assert_close(cuda[0], cpu[0], FLOAT32)
    assert_close(cuda[1], cpu[1], 10 * FLOAT32)
    scale = max([np.abs(g).max() for g in cpu[2].values()], default=1.0)
    for got, wanted in zip(cuda[2].values(), cpu[2].values(), strict=True):
        assert np.abs(got - wanted).max() <= 10 * FLOAT32 * scale
    for got, wanted in zip(cuda[3], cpu[3], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.gpu
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_cuda_half_precision(case, policy):
    with keras.device("cuda"):
        layer = built(case, dtype=policy)
        outputs, of_inputs, of_weights = gradients_of(case, layer, inputs_of(case), training=True)
    for array in [*outputs, *of_inputs, *of_weights.values(), *weights_of(layer)]:
        assert np.isfinite(np.asarray(array, "float64")).all()


def test_the_table_says_which_layers_take_training():
    for case in CASES:
        assert takes_training(case.make()) == bool(
            [v for v in built(case).weights if kind_of(v) == "gamma"]
        )
