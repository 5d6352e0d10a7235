import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_mg.weights import WeightsError, load
from keras_mg.weights._keras_files import variable_paths
from tests.weights.small_nets import assert_equal, randomize, small_net, values


@pytest.fixture
def saved(tmp_path):
    """A trained network's weights and its files in both formats."""
    model = randomize(small_net())
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((2, 8, 8, 3)), np.ones((2, 5)), verbose=0)
    model.save_weights(tmp_path / "a.weights.h5")
    model.save(tmp_path / "a.keras")
    return model, tmp_path / "a.weights.h5", tmp_path / "a.keras"


@pytest.fixture(params=[1, 2], ids=["h5", "keras"])
def file(saved, request):
    return saved[request.param]


def refused(model, path, **kwargs):
    """The message of the error, after a look that nothing of the model has changed."""
    before = values(model)
    with pytest.raises(WeightsError) as caught:
        load(model, path, **kwargs)
    assert_equal(model, before)
    return str(caught.value)


def edit(path, change):
    with h5py.File(path, "r+") as root:
        change(root)


def test_the_paths_are_those_that_keras_writes(saved):
    model, path, _ = saved
    paths, layers = variable_paths(model)
    with h5py.File(path) as root:
        for key, variable in paths:
            np.testing.assert_array_equal(root[key][()], keras.ops.convert_to_numpy(variable))
        for group, name in layers.items():
            assert root[group]["vars"].attrs["name"] == name
    assert [id(v) for _, v in paths] == [id(v) for v in model.weights]


def test_a_file_loads(saved, file):
    model = small_net()
    assert load(model, file) is model
    assert_equal(model, values(saved[0]))


def test_the_suffix_does_not_matter(saved, file, tmp_path):
    other = tmp_path / "weights.dat"
    other.write_bytes(file.read_bytes())
    assert_equal(load(small_net(), str(other)), values(saved[0]))


def test_a_trunk_loads_from_the_whole(saved, file):
    trunk = load(small_net(include_top=False), file)
    assert_equal(trunk, values(saved[0])[:-2])


def test_layers_are_found_by_name_when_their_numbers_differ(saved, tmp_path):
    model, path, _ = saved

    def swap(root):
        root.move("layers/unit", "layers/x")
        root.move("layers/unit_1", "layers/unit")
        root.move("layers/x", "layers/unit_1")

    edit(path, swap)
    assert_equal(load(small_net(), path), values(model))


def test_files_without_layer_names_load(saved):
    model, path, _ = saved

    def forget(root):
        root.visititems(lambda _, item: item.attrs.pop("name", None))

    edit(path, forget)
    assert_equal(load(small_net(), path), values(model))
    assert_equal(load(small_net(include_top=False), path), values(model)[:-2])


def test_bfloat16_arrays(tmp_path):
    keras.config.set_floatx("bfloat16")
    model = randomize(small_net())
    path = tmp_path / "a.weights.h5"
    model.save_weights(path)
    assert_equal(load(small_net(), path), values(model))
    keras.config.set_floatx("float32")
    wide = load(small_net(), path)
    for got, want in zip(values(wide), values(model), strict=True):
        np.testing.assert_array_equal(got, want.astype("float32"))


def test_other_shapes_name_the_first_array(file):
    message = refused(small_net(filters=6), file)
    assert message.startswith(str(file))
    assert "layers/unit/convolutions/conv2d/vars/0" in message
    assert "(3, 3, 3, 4) in the file" in message
    assert "(3, 3, 3, 6) in the model" in message
    assert "not changed" in message


def test_missing_arrays(file):
    message = refused(small_net(units=3), file)
    assert "no array 'layers/unit_2/convolutions/conv2d/vars/0'" in message


def test_arrays_left_over(file):
    message = refused(small_net(units=1), file)
    assert "an array 'layers/unit_1/" in message
    assert "no variable" in message


def test_a_head_that_is_not_called_so_is_an_array_left_over(tmp_path):
    path = tmp_path / "a.weights.h5"
    small_net(head="elsewhere").save_weights(path)
    assert "'layers/dense/vars/0'" in refused(small_net(include_top=False), path)


def test_other_classes(file):
    message = refused(small_net(classes=7), file)
    assert "classes=7 was asked for" in message
    assert "for 5 classes" in message
    assert "(4, 5)" in message
    assert "include_top=False" in message


def test_a_head_is_missing(tmp_path):
    path = tmp_path / "trunk.weights.h5"
    trunk = randomize(small_net(include_top=False))
    trunk.save_weights(path)
    assert "no classification head" in refused(small_net(), path)
    model = small_net()
    before = values(model)
    with pytest.warns(UserWarning, match="1 layers keep their own weights .predictions."):
        load(model, path, skip_mismatch=True)
    assert_equal(model, values(trunk) + before[-2:])


def test_skip_mismatch_leaves_the_head(saved, file):
    model = small_net(classes=7)
    before = values(model)
    with pytest.warns(UserWarning, match="classes|predictions"):
        load(model, file, skip_mismatch=True)
    assert_equal(model, values(saved[0])[:-2] + before[-2:])


def test_skip_mismatch_does_not_load_nothing(file):
    assert "no layer of 'small' fits" in refused(
        small_net(filters=6, classes=7), file, skip_mismatch=True
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x89HDF\r\n\x1a\n no h5", b"abc"])
def test_foreign_files(tmp_path, content):
    path = tmp_path / "x.weights.h5"
    path.write_bytes(content)
    assert refused(small_net(), path).startswith(str(path))


def test_keras_2_files(tmp_path):
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as root:
        root.create_group("model_weights")
        root.attrs["layer_names"] = ["a"]
    assert "Keras 2" in refused(small_net(), path)


def test_a_lambda_is_never_run(saved, tmp_path):
    """The configuration names code that would be run by whoever deserialises it."""
    trap = tmp_path / "sprung"
    bomb = tmp_path / "bomb.keras"
    config = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": f"__import__('pathlib').Path({str(trap)!r}).touch()"},
        "registered_name": None,
    }
    with zipfile.ZipFile(saved[2]) as source, zipfile.ZipFile(bomb, "w") as target:
        for name in source.namelist():
            is_config = name == "config.json"
            target.writestr(name, json.dumps(config) if is_config else source.read(name))
    load(small_net(), bomb)
    assert not trap.exists()


def test_a_keras_file_without_weights(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    assert "no member 'model.weights.h5'" in refused(small_net(), path)


def test_links_are_refused(saved, tmp_path):
    _, path, _ = saved
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as root:
        root["secret"] = np.ones(3)

    def link(root):
        root["layers/more"] = h5py.ExternalLink(str(outside), "secret")

    edit(path, link)
    assert "layers/more: a link to another place" in refused(small_net(), path)


def test_data_outside_are_refused(saved, tmp_path):
    _, path, _ = saved
    (tmp_path / "raw").write_bytes(bytes(20))

    def replace(root):
        del root["layers/dense/vars/1"]
        root["layers/dense/vars"].create_dataset(
            "1", (5,), "f4", external=[(str(tmp_path / "raw"), 0, 20)]
        )

    edit(path, replace)
    assert "layers/dense/vars/1: its data lie in another file" in refused(small_net(), path)


def test_a_shape_without_data_is_refused(saved):
    _, path, _ = saved

    def replace(root):
        del root["layers/dense/vars/1"]
        root["layers/dense/vars"].create_dataset("1", (2**40,), "f4", chunks=(1024,))

    edit(path, replace)
    message = refused(small_net(), path)
    assert "layers/dense/vars/1" in message
    assert "holds only 0 bytes" in message


def test_text_is_no_weight(saved):
    _, path, _ = saved

    def replace(root):
        del root["layers/dense/vars/1"]
        root["layers/dense/vars/1"] = "words"

    edit(path, replace)
    assert "not a number type" in refused(small_net(), path)


def test_a_member_that_unpacks_to_too_much_is_refused(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(1 << 26))
    assert path.stat().st_size < 1 << 17
    assert "states 67108864 bytes of content" in refused(small_net(), path)


def test_a_damaged_array_is_found_before_anything_changes(tmp_path):
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as root:
        source = randomize(small_net())
        for key, variable in variable_paths(source)[0]:
            array = keras.ops.convert_to_numpy(variable)
            packed = {"compression": "gzip"} if key == "layers/dense/vars/0" else {}
            root.create_dataset(key, data=array, **packed)
        offset = root["layers/dense/vars/0"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset : offset + 8] = b"damaged!"
    path.write_bytes(bytes(content))
    assert "layers/dense/vars/0: the array cannot be read" in refused(small_net(), path)


def mutated(content, data):
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=8))
        content[place : place + len(patch)] = patch
    return bytes(content[: data.draw(st.integers(1, len(content)))])


@pytest.mark.parametrize("kind", ["h5", "keras"])
def test_mutated_files_load_or_raise(tmp_path, kind):
    model = small_net()
    path = tmp_path / "x.weights.h5"
    model.save_weights(path)
    if kind == "keras":
        model.save(tmp_path / "x.keras")
        path = tmp_path / "x.keras"
    content = path.read_bytes()

    @settings(
        max_examples=150,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def check(data):
        path.write_bytes(mutated(content, data))
        before = values(model)
        try:
            load(model, path)
        except WeightsError as error:
            message = str(error)
            assert_equal(model, before)
        else:
            message = str(path)
        assert message.startswith(str(path))

    check()


def test_cut_files(saved, file, tmp_path):
    content = file.read_bytes()
    path = tmp_path / "cut"
    model = small_net()
    for length in range(0, len(content), max(1, len(content) // 97)):
        path.write_bytes(content[:length])
        assert str(path) in refused(model, path)


def test_the_crc_of_a_keras_file_is_checked(saved, tmp_path):
    content = bytearray(saved[2].read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        offset = archive.getinfo("model.weights.h5").header_offset
    content[offset + 2000] ^= 0xFF
    path = tmp_path / "flipped.keras"
    path.write_bytes(bytes(content))
    assert "Bad CRC-32" in refused(small_net(), path)
