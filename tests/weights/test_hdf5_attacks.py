"""HDF5 files made to harm: libhdf5 reads their structure in a process that can be ended."""

import struct
import zipfile
import zlib

import h5py
import ml_dtypes
import numpy as np
import pytest

from keras_mg.weights import WeightsError, _hdf5, load
from keras_mg.weights._opening import open_arrays
from tests.weights.small_nets import assert_equal, randomize, small_net, values


def write(path, **arrays):
    with h5py.File(path, "w") as root:
        for name, array in arrays.items():
            root[f"layers/dense/vars/{name.removeprefix('_')}"] = array
        root["layers/dense/vars"].attrs["name"] = "dense"
    return path


def read(path):
    with open_arrays(path, "x") as (_, arrays):
        return {name: array.read() for name, array in arrays.items()}


def refused(path):
    with pytest.raises(WeightsError) as caught:
        read(path)
    assert str(caught.value).startswith("x")
    return str(caught.value)


def endless(content):
    """A global heap whose free object has the size 0: the walk over its objects never ends."""
    content = bytearray(content)
    place = content.index(b"GCOL") + 16
    while struct.unpack_from("<H", content, place)[0]:
        place += 16 + (struct.unpack_from("<Q", content, place + 8)[0] + 7) // 8 * 8
    content[place + 8 : place + 16] = bytes(8)
    return bytes(content)


@pytest.mark.parametrize("wrap", [False, True])
def test_a_heap_without_end(tmp_path, wrap):
    path = write(tmp_path / "x", _0=np.ones(3, "f4"))
    path.write_bytes(endless(path.read_bytes()))
    if wrap:
        content = path.read_bytes()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.weights.h5", content)
    assert "passed the limits of time and memory" in refused(path)
    assert read(write(tmp_path / "y", _0=np.ones(3, "f4")))  # and the next file is read


def chunked(path, content, shape, chunks, mask_filters=()):
    with h5py.File(path, "w") as root:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk(chunks)
        for method in mask_filters:
            method(made)
        group = root.create_group("layers/dense/vars")
        space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED,))
        dataset = h5py.h5d.create(group.id, b"0", h5py.h5t.IEEE_F32LE, space, made)
        dataset.write_direct_chunk((0,), content, 0)
    return path


def deflated(times):
    return [lambda made: made.set_deflate(9)] * times


def test_a_chunk_deflated_twice(tmp_path):
    bomb = zlib.compress(zlib.compress(bytes(1 << 28), 9), 9)
    path = chunked(tmp_path / "x", bomb, (4,), (4,), deflated(2))
    assert path.stat().st_size < 1 << 16
    assert "compressed twice" in refused(path)


def test_a_chunk_that_unpacks_to_more_than_it_states(tmp_path):
    path = chunked(tmp_path / "x", zlib.compress(bytes(1 << 28), 9), (4,), (4,), deflated(1))
    assert "unpacks to more than it states" in refused(path)


def test_a_chunk_larger_than_its_array(tmp_path):
    content = zlib.compress(bytes(1 << 28), 9)
    path = chunked(tmp_path / "x", content, (4,), (1 << 26,), deflated(1))
    assert "layers/dense/vars/0: the array states" in refused(path)


def test_chunks_that_are_not_in_the_file(tmp_path):
    """libhdf5 would give zeros for them."""
    with h5py.File(tmp_path / "x", "w") as root:
        dataset = root.create_dataset("layers/dense/vars/0", (30, 70), "f4", chunks=(10, 10))
        dataset[:10, :10] = 1
    assert "layers/dense/vars/0: some of its chunks are not in the file" in refused(tmp_path / "x")


@pytest.mark.slow
def test_more_groups_and_arrays_than_any_network_has(tmp_path):
    path = write(tmp_path / "x", _0=np.ones(3, "f4"))
    with h5py.File(path, "r+") as root:
        array = root["layers/dense/vars/0"].id
        for i in range(50_000):
            h5py.h5o.link(array, root["layers"].id, b"%d" % i)
    assert "more than 50000 groups and arrays" in refused(path)


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "shuffle": True}])
@pytest.mark.parametrize("fletcher32", [True, False])
def test_chunks_of_an_honest_file(tmp_path, options, fletcher32):
    array = np.random.default_rng(0).normal(size=(300, 70)).astype(">f8")
    with h5py.File(tmp_path / "x", "w") as root:
        root.create_dataset(
            "layers/dense/vars/0", data=array, chunks=(64, 64), fletcher32=fletcher32, **options
        )
    np.testing.assert_array_equal(read(tmp_path / "x")["layers/dense/vars/0"], array)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", "i4", "u2", "bool", "longdouble"])
def test_types(tmp_path, dtype):
    array = (np.arange(12).reshape(3, 4) % 5).astype(dtype)
    got = read(write(tmp_path / "x", _0=array, _1=array[0, 0]))
    np.testing.assert_array_equal(got["layers/dense/vars/0"], array)
    np.testing.assert_array_equal(got["layers/dense/vars/1"], array[0, 0])


def test_bfloat16_as_keras_writes_it(tmp_path):
    array = np.float32([[1, -2.5], [0.5, 3e38]]).astype(ml_dtypes.bfloat16)
    path = write(tmp_path / "x", _0=array)
    with h5py.File(path, "r+") as root:
        root["layers/dense/vars/0"].attrs["dtype"] = "bfloat16"
    np.testing.assert_array_equal(read(path)["layers/dense/vars/0"], array.astype("f4"))


@pytest.mark.parametrize("value", [np.float64(3), b"ab", "words", np.ones(3, "f4")])
def test_a_note_of_bfloat16_that_is_untrue(tmp_path, value):
    path = write(tmp_path / "x", _0=value)
    with h5py.File(path, "r+") as root:
        root["layers/dense/vars/0"].attrs["dtype"] = "bfloat16"
    assert "bfloat16, which has 2 bytes" in refused(path)


def test_an_array_of_which_no_byte_is_stored(tmp_path):
    with h5py.File(tmp_path / "x", "w") as root:
        root.create_dataset("layers/dense/vars/0", (3,), "f4")
    assert "holds only 0 bytes" in refused(tmp_path / "x")


def test_names_that_a_terminal_obeys(tmp_path):
    with h5py.File(tmp_path / "x", "w") as root:
        root["layers/\x1b]0;owned\x07/vars/0"] = "text"
    message = refused(tmp_path / "x")
    assert message.isprintable()
    assert r"\x1b]0;owned\x07" in message


def test_a_reader_that_cannot_start(tmp_path, monkeypatch):
    _hdf5._close_all()
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    assert "cannot be started" in refused(write(tmp_path / "x", _0=np.ones(3)))


def test_a_reader_that_was_ended_is_started_anew(tmp_path):
    model = randomize(small_net())
    path = tmp_path / "a.weights.h5"
    model.save_weights(path)
    assert_equal(load(small_net(), path), values(model))
    for reader in _hdf5._IDLE:
        reader.process.kill()
        reader.process.wait()
    assert_equal(load(small_net(), path), values(model))


def test_two_files_at_once(tmp_path):
    first = write(tmp_path / "a", _0=np.ones(3, "f4"))
    second = write(tmp_path / "b", _0=np.zeros(3, "?"))
    with open_arrays(first, "a") as (_, ones), open_arrays(second, "b") as (_, zeros):
        for arrays, number in ((ones, 1), (zeros, 0), (ones, 1)):
            np.testing.assert_array_equal(arrays["layers/dense/vars/0"].read(), [number] * 3)
