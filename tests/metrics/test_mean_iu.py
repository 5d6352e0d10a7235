"""MeanIU against hand-computed cases and an independent NumPy version."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_mg.metrics.mean_iu import _CARRY, MeanIU


def numpy_mean_iu(y_true, y_pred, threshold=0.5):
    """The definition with sets of pixels, map by map (channels last)."""
    ratios = []
    for m in range(y_true.shape[-1]):
        true = set(np.flatnonzero(y_true[..., m].ravel() >= threshold).tolist())
        predicted = set(np.flatnonzero(y_pred[..., m].ravel() >= threshold).tolist())
        if true | predicted:
            ratios.append(len(true & predicted) / len(true | predicted))
    return sum(ratios) / len(ratios) if ratios else 0.0


def measured(y_true, y_pred, batch=None, **kwargs):
    metric = MeanIU(**{"data_format": "channels_last", **kwargs})
    batch = batch or len(y_true)
    for i in range(0, len(y_true), batch):
        metric.update_state(y_true[i : i + batch], y_pred[i : i + batch])
    return float(metric.result())


def maps(*columns):
    """One image of one row; each argument is a map."""
    return np.array(columns, "float32").T[None, None]


def test_hand_computed():
    true = maps([1, 1, 0, 0], [0, 0, 1, 1])
    predicted = maps([0.9, 0.1, 0.6, 0.0], [0.0, 0.2, 0.8, 0.7])
    # Map 0: TP 1, FN 1, FP 1, so 1/3. Map 1: TP 2, so 1.
    assert measured(true, predicted) == pytest.approx((1 / 3 + 1) / 2)


def test_map_with_nothing_true_and_nothing_predicted_is_left_out():
    true, predicted = maps([1, 1], [0, 0]), maps([1, 0], [0, 0])
    assert measured(true, predicted) == pytest.approx(0.5)


def test_map_with_something_true_and_nothing_predicted_counts_zero():
    true, predicted = maps([1, 1], [1, 0]), maps([1, 0], [0, 0])
    assert measured(true, predicted) == pytest.approx(0.25)


def test_map_with_something_predicted_and_nothing_true_counts_zero():
    true, predicted = maps([1, 1], [0, 0]), maps([1, 0], [1, 0])
    assert measured(true, predicted) == pytest.approx(0.25)


def test_nothing_at_all_is_zero():
    assert float(MeanIU().result()) == 0.0
    assert measured(maps([0, 0]), maps([0, 0])) == 0.0


def test_threshold_belongs_to_the_map():
    true = maps([1, 1])
    assert measured(true, maps([0.5, 0.4999])) == pytest.approx(0.5)
    assert measured(true, maps([0.5, 0.4]), threshold=0.4) == pytest.approx(1.0)


@settings(max_examples=15, deadline=None)
@given(
    samples=st.integers(1, 7),
    number=st.integers(1, 4),
    batch=st.integers(1, 8),
    seed=st.integers(0),
)
def test_equals_numpy_whatever_the_batches(samples, number, batch, seed):
    rng = np.random.default_rng(seed)
    shape = (samples, 3, 5, number)
    # Thresholds per map, so that some maps are empty.
    true = (rng.random(shape) < rng.choice([0.0, 0.3, 0.9], number)).astype("float32")
    predicted = (rng.random(shape) * rng.choice([0.2, 0.8, 1.0], number)).astype("float32")
    expected = numpy_mean_iu(true, predicted)
    assert measured(true, predicted, batch) == pytest.approx(expected, abs=1e-6)
    first = measured(
        np.moveaxis(true, -1, 1), np.moveaxis(predicted, -1, 1), data_format="channels_first"
    )
    assert first == pytest.approx(expected, abs=1e-6)


def test_is_not_the_mean_of_batch_figures():
    true = np.concatenate([maps([1, 1, 1, 1]), maps([1, 0, 0, 0])])
    predicted = np.concatenate([maps([1, 1, 1, 1]), maps([0, 0, 0, 0])])
    assert measured(true, predicted, batch=1) == pytest.approx(4 / 5)


def test_counts_single_pixels_beyond_float32_and_int32():
    metric = MeanIU(data_format="channels_last")
    metric.update_state(maps([1, 1, 1, 0]), maps([1, 1, 0, 1]))
    # As after 2**33 pixels of each kind, one short of a carry.
    metric._low.assign(np.array([[_CARRY - 1]] * 3, "int32"))
    metric._high.assign(np.array([[2**9 - 1]] * 3, "int32"))
    metric.update_state(maps([1, 1, 1, 0]), maps([1, 1, 0, 1]))
    state = (metric._low, metric._high)
    low, high = (keras.ops.convert_to_numpy(v).astype("int64") for v in state)
    counted = (low + high * _CARRY).ravel().tolist()
    assert counted == [2**33 - 1 + 2, 2**33 - 1 + 1, 2**33 - 1 + 1]
    assert float(metric.result()) == pytest.approx(1 / 3)


def test_reset():
    metric = MeanIU(data_format="channels_last")
    metric.update_state(maps([1, 1]), maps([0, 0]))
    metric.reset_state()
    metric.update_state(maps([1, 1]), maps([1, 1]))
    assert float(metric.result()) == 1.0


def test_config_round_trip():
    metric = MeanIU(threshold=0.3, data_format="channels_first", name="iu")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(again) is MeanIU
    assert again.get_config() == metric.get_config()
    assert (again.threshold, again.data_format, again.name) == (0.3, "channels_first", "iu")


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_in_fit_evaluate_and_a_saved_model(tmp_path, data_format):
    # Five samples in batches of two: the last batch is partial.
    shape = (4, 4, 1) if data_format == "channels_last" else (1, 4, 4)
    inputs = keras.Input(shape)
    axis = -1 if data_format == "channels_last" else 1
    conv = keras.layers.Conv2D(2, 1, activation="sigmoid", data_format=data_format)
    model = keras.Model(inputs, conv(inputs))
    conv.set_weights([np.array([[[[4.0, -4.0]]]]), np.array([-1.0, 1.5])])
    # With a learning rate of zero `fit` reports the figure of the weights set here.
    sgd = keras.optimizers.SGD(0.0)
    model.compile(sgd, loss="mse", metrics=[MeanIU(data_format=data_format)])
    rng = np.random.default_rng(0)
    x = rng.random((5, *shape)).astype("float32")
    y = np.repeat(rng.integers(0, 2, (5, *shape)), 2, axis).astype("float32")
    last = (y, model.predict(x, verbose=0))
    if data_format == "channels_first":
        last = tuple(np.moveaxis(array, 1, -1) for array in last)
    expected = pytest.approx(numpy_mean_iu(*last), abs=1e-6)
    history = model.fit(x, y, batch_size=2, verbose=0)
    assert history.history["mean_iu"] == [expected]
    assert model.evaluate(x, y, batch_size=2, verbose=0, return_dict=True)["mean_iu"] == expected
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)["mean_iu"] == expected


def test_half_precision_predictions():
    true = maps([1, 1, 0])
    predicted = keras.ops.convert_to_tensor(maps([0.75, 0.25, 0.0]), dtype="bfloat16")
    assert measured(true, predicted) == pytest.approx(0.5)


def test_stateless_update_equals_stateful():
    metric = MeanIU(data_format="channels_last")
    metric.update_state(maps([1, 1]), maps([1, 0]))
    state = metric.stateless_reset_state()
    state = metric.stateless_update_state(state, maps([1, 1]), maps([1, 1]))
    assert float(metric.stateless_result(state)) == 1.0
    assert float(metric.result()) == 0.5


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"of one shape.*\(1, 1, 2, 1\).*\(1, 1, 3, 1\)"):
        MeanIU().update_state(maps([1, 1]), maps([1, 1, 1]))
    metric = MeanIU(data_format="channels_last")
    metric.update_state(maps([1]), maps([1]))
    with pytest.raises(ValueError, match="counted 1 maps so far. Received 2 maps on axis 3"):
        metric.update_state(maps([1], [1]), maps([1], [1]))
    assert float(metric.result()) == 1.0


def test_sample_weight_is_refused():
    with pytest.raises(ValueError, match="takes no `sample_weight`"):
        MeanIU().update_state(maps([1]), maps([1]), sample_weight=np.ones(1))


def test_unknown_data_format_is_refused():
    with pytest.raises(ValueError, match="data_format must be one of .* Received: 'NHWC'"):
        MeanIU(data_format="NHWC")
