"""MXNet checkpoints through the constructors, and the ways a source can be given."""

from functools import partial

import h5py
import keras
import numpy as np
import pytest

from keras_mg.applications import IGC_L100M2, IGCPlain, IGCResNet18_C64
from keras_mg.weights import WeightsError, head_classes, load, read_through
from keras_mg.weights._keras_files import variable_paths
from keras_mg.weights._opening import open_arrays
from tests.weights.mxnet_writer import (
    LAYOUTS,
    file_bytes,
    fixture,
    images,
    weights,
    write_fixture,
)
from tests.weights.small_nets import assert_equal, randomize, small_net, values

TOLERANCE = 2e-5
L100M2 = "IGC-L100M2_ImageNet"


@pytest.fixture(scope="module")
def facts():
    return fixture(L100M2)


@pytest.fixture(scope="module")
def checkpoint(facts, tmp_path_factory):
    path = tmp_path_factory.mktemp("mxnet") / "l100m2.params"
    write_fixture(path, facts, "v1")
    return path


def difference(got, reference):
    return np.abs(got - reference).max() / np.abs(reference).max()


def logits_of(model, facts):
    batch = images(facts)
    if keras.config.image_data_format() == "channels_last":
        batch = batch.transpose(0, 2, 3, 1)
    return keras.ops.convert_to_numpy(model(batch, training=False))


NETWORKS = {
    L100M2: IGC_L100M2,
    "ResNet18-w64_ImageNet": IGCResNet18_C64,
    "plain_igc_d38L24M2": partial(IGCPlain, 38, 24, 2),
    "plain_igc_d8L8M2": partial(IGCPlain, 8, 8, 2),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_logits_are_mxnets(tmp_path, network, layout):
    facts = fixture(network)
    path = tmp_path / "checkpoint.params"
    write_fixture(path, facts, layout)
    model = NETWORKS[network](weights=str(path), classifier_activation=None)
    trained = sum(np.size(keras.ops.convert_to_numpy(v)) for v in model.trainable_weights)
    assert trained == facts["n_arg_params"]
    assert difference(logits_of(model, facts), np.array(facts["logits"])) <= TOLERANCE


def test_channels_first_takes_the_same_file(checkpoint, facts):
    keras.config.set_image_data_format("channels_first")
    model = IGC_L100M2(weights=checkpoint, classifier_activation=None)
    assert difference(logits_of(model, facts), np.array(facts["logits"])) <= TOLERANCE


def test_the_trunk_of_an_mxnet_file(checkpoint):
    whole = IGC_L100M2(weights=checkpoint)
    trunk = IGC_L100M2(weights=checkpoint, include_top=False)
    assert_equal(trunk, values(whole)[:-2])


def test_other_classes_than_the_mxnet_file(checkpoint):
    with pytest.raises(ValueError, match="classes=7 was asked for.*for 1000 classes") as caught:
        IGC_L100M2(weights=checkpoint, classes=7)
    assert "fc_score_weight" in str(caught.value)
    assert "(1000, 1600)" in str(caught.value)


def test_a_new_head_on_an_mxnet_file(checkpoint):
    with pytest.warns(UserWarning, match="1 layers keep their own weights .predictions."):
        model = IGC_L100M2(weights=checkpoint, classes=7, skip_mismatch=True)
    assert model.output_shape == (None, 7)
    assert_equal(IGC_L100M2(weights=checkpoint, include_top=False), values(model)[:-2])


def test_a_kernel_of_another_size_is_named(tmp_path, facts):
    arrays = weights(facts)
    arrays["g2_b1_proj_conv_weight"] = np.ones((400, 2, 1, 1), "f4")
    path = tmp_path / "x.params"
    path.write_bytes(file_bytes(arrays))
    with pytest.raises(ValueError, match="another network") as caught:
        IGC_L100M2(weights=path)
    message = str(caught.value)
    assert "'g2_b1_proj_conv_weight' has the shape (400, 2, 1, 1) in the file" in message
    assert "(1, 1, 1, 400) in the model" in message


def test_a_file_of_another_network(tmp_path):
    path = tmp_path / "resnet.params"
    write_fixture(path, fixture("ResNet18-w64_ImageNet"))
    with pytest.raises(ValueError, match="another network than 'igc_l100m2'"):
        IGC_L100M2(weights=path)


def test_a_network_without_a_table(checkpoint):
    with pytest.raises(WeightsError, match="no table from this format.*weights.h5"):
        load(small_net(), checkpoint)


@pytest.mark.parametrize("scheme", ["path", "str", "file"])
def test_a_local_file_by_path_or_address(tmp_path, scheme):
    model = randomize(small_net())
    path = tmp_path / "my weights.weights.h5"
    model.save_weights(path)
    source = {"path": path, "str": str(path), "file": path.as_uri()}[scheme]
    assert_equal(load(small_net(), source), values(model))


def test_a_home_relative_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    model = randomize(small_net())
    model.save_weights(tmp_path / "a.weights.h5")
    assert_equal(load(small_net(), "~/a.weights.h5"), values(model))


def test_none_loads_nothing():
    model = small_net()
    before = values(model)
    assert load(model, None) is model
    assert_equal(model, before)


@pytest.mark.parametrize("include_top", [True, False])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_the_classes_of_a_keras_head(tmp_path, suffix, include_top):
    model = small_net(include_top=include_top, classes=9)
    path = tmp_path / f"a{suffix}"
    model.save(path) if suffix == ".keras" else model.save_weights(path)
    assert head_classes(path, network="small") == (9 if include_top else None)


def test_the_classes_of_an_mxnet_head(checkpoint):
    assert head_classes(checkpoint, network="IGC_L100M2") == 1000


def test_reading_through(checkpoint, facts):
    kind, count, numbers = read_through(checkpoint)
    assert (kind, count) == ("mxnet", len(facts["arg_shapes"]) + len(facts["aux_shapes"]))
    assert numbers > facts["n_arg_params"]


def test_arrays_know_their_shape_before_they_are_read(checkpoint, facts):
    with open_arrays(checkpoint, "x") as (kind, arrays):
        assert kind == "mxnet"
        assert {n: list(a.shape) for n, a in arrays.items()} == {
            **facts["arg_shapes"],
            **facts["aux_shapes"],
        }


def test_the_other_order_of_bytes(tmp_path):
    model = randomize(small_net())
    path = tmp_path / "a.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        array = file[names[-1]][()]
        del file[names[-1]]
        file[names[-1]] = array.astype(">f4")
    assert_equal(load(small_net(), path), values(model))


def test_an_array_that_does_not_convert_leaves_the_model(tmp_path, monkeypatch):
    path = tmp_path / "a.weights.h5"
    randomize(small_net()).save_weights(path)
    model = small_net()
    before = values(model)
    convert, count = keras.ops.convert_to_tensor, len(before)

    def refuse_the_last(value, **kwargs):
        nonlocal count
        count -= 1
        if not count:
            raise TypeError("no such type")
        return convert(value, **kwargs)

    monkeypatch.setattr(keras.ops, "convert_to_tensor", refuse_the_last)
    with pytest.raises(WeightsError, match="does not convert to float32.*was not changed"):
        load(model, path)
    monkeypatch.undo()
    assert_equal(model, before)


def edited(tmp_path, end, change):
    """A file whose array of a path's end is changed."""
    path = tmp_path / "a.weights.h5"
    model = randomize(small_net())
    model.save_weights(path)
    place = next(p for p, v in variable_paths(model)[0] if v.path.endswith(end))
    with h5py.File(path, "r+") as file:
        array = change(file[place][()])
        del file[place]
        file[place] = array
    return path


def broken(array, number):
    array = array.astype(type(number))
    array.flat[-1] = number
    return array


@pytest.mark.parametrize(
    ("end", "change", "words"),
    [
        ("predictions/kernel", lambda a: a * np.float32("nan"), "infinite, undefined"),
        ("predictions/bias", lambda a: broken(a, np.float32("inf")), "infinite, undefined"),
        ("predictions/bias", lambda a: broken(a, np.float16("nan")), "infinite, undefined"),
        ("predictions/bias", lambda a: broken(a, np.float16("inf")), "infinite, undefined"),
        ("predictions/bias", lambda a: broken(a, -np.float64("inf")), "infinite, undefined"),
        ("predictions/bias", lambda a: broken(a, np.float64(1e300)), "beyond float32"),
        ("moving_variance", lambda a: broken(a, np.float32(-1e-6)), "is a variance and negative"),
        ("predictions/kernel", lambda a: a.astype("i4"), "type int32; expected fractions"),
        ("predictions/kernel", lambda a: a > 1, "type bool; expected fractions"),
    ],
)
def test_numbers_that_no_network_holds(tmp_path, end, change, words):
    path = edited(tmp_path, end, change)
    model = small_net()
    before = values(model)
    with pytest.raises(WeightsError, match=words):
        load(model, path)
    assert_equal(model, before)


@pytest.mark.parametrize(("dtype", "number"), [("float16", 7e4), ("bfloat16", 3.4e38)])
def test_numbers_beyond_the_type_of_the_model(tmp_path, dtype, number):
    path = edited(tmp_path, "predictions/bias", lambda a: broken(a, np.float32(number)))
    keras.config.set_dtype_policy(dtype)
    try:
        model = small_net()
    finally:
        keras.config.set_dtype_policy("float32")
    before = values(model)
    with pytest.raises(WeightsError, match=f"beyond {dtype}"):
        load(model, path)
    assert_equal(model, before)


@pytest.mark.parametrize("number", [np.float32(3e38), np.float64(3e38), np.float16(6e4)])
def test_large_numbers_are_numbers(tmp_path, number):
    """Also where their sum is none."""
    path = edited(tmp_path, "predictions/kernel", lambda a: np.full_like(a, number, type(number)))
    model = load(small_net(), path)
    np.testing.assert_array_equal(values(model)[-2], np.float32(number))


@pytest.mark.parametrize("layout", ["params", "npz"])
def test_a_file_cut_short_while_it_is_read_is_an_error(tmp_path, facts, layout):
    """Where it was mapped, the process ended with SIGBUS."""
    path = tmp_path / "x.params"
    if layout == "npz":
        with path.open("wb") as file:
            np.savez(file, **weights(facts))
    else:
        write_fixture(path, facts, "v1")
    with open_arrays(path, "x") as (_, arrays):
        path.write_bytes(b"")
        with pytest.raises(WeightsError, match="cut short"):
            [array.read() for array in arrays.values()]


def test_mxnets_npz(tmp_path, facts):
    arrays = {f"arg:{name}": array for name, array in weights(facts).items()}
    with (tmp_path / "x.params").open("wb") as file:
        np.savez(file, **arrays)
    model = IGC_L100M2(weights=tmp_path / "x.params", classifier_activation=None)
    assert difference(logits_of(model, facts), np.array(facts["logits"])) <= TOLERANCE
