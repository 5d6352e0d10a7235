import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from keras_mg.weights import WeightsError
from keras_mg.weights._safetensors_files import open_safetensors


def read(path):
    with open_safetensors(path, "x.safetensors") as arrays:
        return {name: array.read() for name, array in arrays.items()}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "i8", "u1", "?"])
def test_types(tmp_path, dtype):
    path = tmp_path / "x.safetensors"
    array = np.arange(6).reshape(2, 3).astype(dtype)
    save_file({"a": array}, path)
    with open_safetensors(path, "x") as arrays:
        assert arrays["a"].shape == (2, 3)
        assert arrays["a"].dtype == array.dtype
        np.testing.assert_array_equal(arrays["a"].read(), array)


def test_bfloat16(tmp_path):
    path = tmp_path / "x.safetensors"
    save_torch({"a": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, path)
    got = read(path)["a"]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [1.5, -2.0])


def test_an_empty_file_of_arrays(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({}, path)
    with pytest.raises(WeightsError, match="x.safetensors: the file holds no arrays"):
        read(path)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**60]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
        {f"{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(20_002)},
        {"a": 3},
        [],
    ],
)
def test_hostile_headers(tmp_path, header):
    path = tmp_path / "x.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(WeightsError, match="^x.safetensors: "):
        read(path)


def test_mutated_files_load_or_raise(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": np.ones((3, 2), "f4"), "b": np.zeros(5, "f8")}, path)
    content = path.read_bytes()

    @settings(
        max_examples=200,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def check(data):
        changed = bytearray(content)
        place = data.draw(st.integers(0, len(changed) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=8))
        changed[place : place + len(patch)] = patch
        path.write_bytes(bytes(changed[: data.draw(st.integers(1, len(changed)))]))
        message = "x.safetensors: "
        try:
            assert sum(a.nbytes for a in read(path).values()) <= len(content)
        except WeightsError as error:
            message = str(error)
        assert message.startswith("x.safetensors: ")

    check()
