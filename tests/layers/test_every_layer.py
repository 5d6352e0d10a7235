"""The contract of a public layer but for its numbers, on `tests/support/layer_cases.py`."""

import inspect
import json
import re

import keras
import numpy as np
import pytest

from keras_mg import layers
from tests.support.arrays import KINDS, assert_close, flat, kind_of, numpy, randomize
from tests.support.layer_cases import CASES, every_layer, one_of_each_layer
from tests.support.layer_check import (
    FORMATS,
    built,
    functional_model,
    in_format,
    inputs_of,
    predictions,
    run,
    takes_training,
    to_tensors,
    training_argument,
)

both_formats = pytest.mark.parametrize("data_format", FORMATS)


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


@every_layer
def test_config_has_the_keys_of_the_signature(case):
    config = case.make().get_config()
    signature = inspect.signature(case.layer.__init__).parameters
    arguments = [n for n, p in signature.items() if p.kind is not p.VAR_KEYWORD and n != "self"]
    assert sorted(config) == sorted([*arguments, "name", "trainable", "dtype"])


@every_layer
def test_config_makes_the_same_layer(case):
    for data_format in FORMATS:
        layer = case.make(data_format=data_format, dtype="mixed_bfloat16", name="some_name")
        again = case.layer.from_config(json.loads(json.dumps(layer.get_config())))
        assert again.get_config() == layer.get_config()
        assert again.name == "some_name"
        assert again.data_format == data_format
        assert again.dtype_policy.name == "mixed_bfloat16"


@every_layer
def test_arguments_are_kept_under_their_names(case):
    config = case.make().get_config()
    for name, value in case.arguments.items():
        if name.endswith("initializer"):
            continue
        wanted = list(value) if isinstance(value, tuple) else value
        if name == "activation" and value is None:
            wanted = "linear"  # Keras's name for none
        kept = config[name]
        if isinstance(kept, list) and not isinstance(wanted, list):
            wanted = [wanted] * len(kept)  # one number for all grids
        assert kept == wanted, name


@one_of_each_layer
def test_registered_under_the_package_name(case):
    name = f"keras_mg>{case.layer.__name__}"
    assert keras.saving.get_registered_name(case.layer) == name


@one_of_each_layer
@both_formats
def test_data_format_is_the_global_one_by_default(case, data_format):
    keras.config.set_image_data_format(data_format)
    assert case.make().data_format == data_format


@one_of_each_layer
def test_another_data_format_is_refused(case):
    with pytest.raises(ValueError, match="data_format must be one of .*channels_first.*'NCHW'"):
        case.make(data_format="NCHW")


@one_of_each_layer
def test_an_unknown_argument_is_refused(case):
    with pytest.raises((TypeError, ValueError), match="kernel_sise"):
        case.make(kernel_sise=3)


# --- shapes


@every_layer
@both_formats
def test_output_shape(case, data_format):
    layer = built(case, data_format)
    outputs = run(case, layer, inputs_of(case))
    for batch in (None, 2):
        wanted = [in_format((batch, *y.shape[1:]), data_format) for y in outputs]
        shapes = [in_format(shape, data_format) for shape in case.shapes(batch=batch)]
        got = case.make(data_format=data_format).compute_output_shape(case.nested(shapes))
        assert (got if isinstance(got, list) else [got]) == wanted
    model = functional_model(case, layer)
    assert [tuple(t.shape)[1:] for t in model.outputs] == [shape[1:] for shape in wanted]


@one_of_each_layer
@both_formats
def test_unknown_sides(case, data_format):
    layer = built(case, data_format)
    model = functional_model(case, layer, unknown_sides=True)
    arrays = inputs_of(case)
    expected = run(case, layer, arrays)
    for tensor, array in zip(model.outputs, expected, strict=True):
        assert tuple(tensor.shape) == in_format((None, None, None, array.shape[3]), data_format)
    assert_close(predictions(model, arrays, data_format), expected, 0)


@every_layer
def test_a_layer_built_at_one_size_takes_others(case):
    layer = built(case)
    arrays = inputs_of(case, batch=3, shapes=case.smallest)
    outputs = run(case, layer, arrays)
    wanted = layer.compute_output_shape(case.nested([a.shape for a in arrays]))
    assert [y.shape for y in outputs] == (wanted if isinstance(wanted, list) else [wanted])


# --- weights


@every_layer
def test_weight_names(case):
    layer = built(case)
    for variable in layer.weights:
        assert re.fullmatch(rf"(grid_\d+_)?({'|'.join(KINDS)})(_\d+)?", variable.name)
        trained = kind_of(variable) not in ("moving_mean", "moving_variance")
        assert variable.trainable == trained, variable.path
    paths = [v.path for v in layer.weights]
    assert len(set(paths)) == len(paths)


@one_of_each_layer
def test_weights_of_the_model_come_in_the_layers_order(case):
    layer = built(case)
    model = functional_model(case, layer)
    assert [id(v) for v in model.weights] == [id(v) for v in layer.weights]


@every_layer
def test_training_is_an_argument_where_there_is_batch_norm(case):
    kinds = {kind_of(v) for v in built(case).weights}
    assert takes_training(case.make()) == ("gamma" in kinds)


# --- training and inference


@every_layer
def test_inference_leaves_every_weight(case):
    layer = built(case)
    before = weights_of(layer)
    run(case, layer, inputs_of(case))
    run(case, layer, inputs_of(case), **training_argument(layer, False))
    for old, new in zip(before, weights_of(layer), strict=True):
        np.testing.assert_array_equal(new, old)


def build(case, layer):
    layer.build(case.nested(case.shapes()))
    return randomize(layer)


def freeze_after_build(case):
    layer = built(case)
    layer.trainable = False
    return layer


def freeze_before_build(case):
    layer = case.make()
    layer.trainable = False
    return build(case, layer)


def freeze_by_argument(case):
    return build(case, case.make(trainable=False))


def freeze_and_reload(case):
    return build(case, case.layer.from_config(freeze_after_build(case).get_config()))


@one_of_each_layer
@pytest.mark.parametrize(
    "freeze", [freeze_after_build, freeze_before_build, freeze_by_argument, freeze_and_reload]
)
def test_a_frozen_layer_is_left_alone(case, freeze):
    layer, arrays = freeze(case), inputs_of(case)
    thawed = built(case)
    thawed.set_weights(weights_of(layer))
    expected = run(case, thawed, arrays)
    before = weights_of(layer)
    assert_close(run(case, layer, arrays, **training_argument(layer, True)), expected, 0)
    for old, new in zip(before, weights_of(layer), strict=True):
        np.testing.assert_array_equal(new, old)
    assert layer.trainable_variables == []
    layer.trainable = True
    assert len(layer.trainable_variables) == len(thawed.trainable_variables)
    run(case, layer, arrays, **training_argument(layer, True))
    for old, variable in zip(before, layer.weights, strict=True):
        if "moving" in variable.name:
            assert not np.array_equal(numpy(variable), old)


@one_of_each_layer
@pytest.mark.parametrize("training", [False, True])
def test_a_stateless_call_returns_the_statistics_instead_of_moving_them(case, training):
    layer, arrays = built(case), inputs_of(case)
    before = weights_of(layer)
    outputs, moved = layer.stateless_call(
        [v.value for v in layer.trainable_variables],
        [v.value for v in layer.non_trainable_variables],
        case.nested(to_tensors(arrays, layer)),
        **training_argument(layer, training),
    )
    for old, new in zip(before, weights_of(layer), strict=True):
        np.testing.assert_array_equal(new, old)
    expected = run(case, layer, arrays, **training_argument(layer, training))
    assert_close([numpy(y) for y in flat(outputs)], expected, 1e-6)
    for got, variable in zip(moved, layer.non_trainable_variables, strict=True):
        np.testing.assert_allclose(numpy(got), numpy(variable), rtol=1e-5, atol=1e-6)


@one_of_each_layer
def test_fit_moves_every_weight(case):
    layer = built(case)
    model = functional_model(case, layer)
    model.compile(keras.optimizers.SGD(0.1), ["mse"] * len(model.outputs))
    before = weights_of(layer)
    arrays = inputs_of(case)
    targets = [np.ones_like(y) for y in predictions(model, arrays)]
    if layer.weights:
        model.fit(arrays, targets, epochs=1, verbose=0)
    for variable, old in zip(layer.weights, before, strict=True):
        # A bias before batch norm has a gradient of zero.
        if kind_of(variable) != "bias":
            assert not np.array_equal(numpy(variable), old), variable.path


# --- models


@one_of_each_layer
@both_formats
def test_clone(case, data_format):
    model = functional_model(case, built(case, data_format))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    arrays = inputs_of(case)
    expected = predictions(model, arrays, data_format)
    assert_close(predictions(clone, arrays, data_format), expected, 0)


@one_of_each_layer
@pytest.mark.parametrize(
    ("data_format", "policy"),
    [
        ("channels_last", "float32"),
        ("channels_first", "float32"),
        ("channels_last", "mixed_bfloat16"),
    ],
)
def test_reload_from_keras_file(case, data_format, policy, tmp_path):
    model = functional_model(case, built(case, data_format, dtype=policy))
    arrays = inputs_of(case)
    expected = predictions(model, arrays, data_format)
    model.save(tmp_path / "model.keras")
    # What was saved counts, not the settings of the session that loads.
    keras.config.set_image_data_format(next(f for f in FORMATS if f != data_format))
    keras.config.set_dtype_policy("float64")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_close(predictions(again, arrays, data_format), expected, 0)
    assert [v.path for v in again.weights] == [v.path for v in model.weights]
    assert [v.dtype for v in again.weights] == [v.dtype for v in model.weights]


@one_of_each_layer
def test_reload_from_weights_file(case, tmp_path):
    model = functional_model(case, built(case))
    arrays = inputs_of(case)
    model.save_weights(tmp_path / "model.weights.h5")
    again = functional_model(case, built(case, seed=1))
    if again.weights:
        assert not np.array_equal(again.get_weights()[0], model.get_weights()[0])
    again.load_weights(tmp_path / "model.weights.h5")
    assert_close(predictions(again, arrays), predictions(model, arrays), 0)
