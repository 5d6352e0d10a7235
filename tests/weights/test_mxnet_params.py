import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_mg.weights import WeightsError
from keras_mg.weights._mxnet_params import open_mxnet
from tests.weights.mxnet_writer import KINDS, LAYOUTS, array_bytes, file_bytes

RANDOM = np.random.default_rng(0)
SMALL = {
    "arg:conv_weight": RANDOM.normal(size=(4, 2, 3, 3)).astype("f4"),
    "arg:bn_gamma": RANDOM.normal(size=4).astype("f4"),
    "aux:bn_moving_mean": RANDOM.normal(size=4).astype("f4"),
}


def read(path):
    with open_mxnet(path, "some.params") as arrays:
        return {name: array.read() for name, array in arrays.items()}


@pytest.fixture
def attempt(tmp_path):
    """Reads bytes as a file and returns the message of the error."""

    def run(content):
        path = tmp_path / "some.params"
        path.write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            read(path)
        return str(caught.value)

    return run


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", KINDS)
def test_all_layouts_and_types(tmp_path, layout, dtype):
    arrays = {name: (10 * array).astype(dtype) for name, array in SMALL.items()}
    path = tmp_path / "x.params"
    path.write_bytes(file_bytes(arrays, layout))
    got = read(path)
    assert list(got) == ["conv_weight", "bn_gamma", "bn_moving_mean"]
    for name, array in arrays.items():
        assert got[name[4:]].dtype == array.dtype.str
        np.testing.assert_array_equal(got[name[4:]], array)


def test_bfloat16(tmp_path):
    """The upper half of each float32; MXNet's type 12."""
    array = np.float32([1, -2.5, 3e38, 2**-126]).view("u4") >> 16
    content = bytearray(file_bytes({"a": array.astype("u2")}, "v3"))
    place = content.rindex(struct.pack("<i", KINDS["u2"]), 0, -array.size * 2 - 17)
    content[place : place + 4] = struct.pack("<i", 12)
    path = tmp_path / "x.params"
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path)["a"], (array << 16).view("f4"))


@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
def test_shapes_by_numpys_rules(attempt, tmp_path, shape):
    """Layout v3 has scalars and empty arrays; in the others such a shape stands for "not known"."""
    expected = np.ones(shape, "f4")
    (tmp_path / "x").write_bytes(file_bytes({"arg:a": expected}, "v3"))
    with open_mxnet(tmp_path / "x", "x") as arrays:
        np.testing.assert_array_equal(arrays["a"].read(), expected, strict=True)
    for layout in ("v0", "v1", "v2"):
        words = attempt(file_bytes({"arg:a": expected}, layout))
        assert "0 axes" in words or "not positive" in words


def test_more_arrays_than_any_network_has(attempt):
    content = b"".join(array_bytes(np.ones(1, "u1"), "v0") for _ in range(20_001))
    assert "at most 20000" in attempt(struct.pack("<QQQ", 0x112, 0, 20_001) + content)


def test_names_without_a_prefix(tmp_path):
    path = tmp_path / "x.params"
    path.write_bytes(file_bytes({"dense0_weight": np.ones((2, 3), "f4")}))
    assert list(read(path)) == ["dense0_weight"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cut_anywhere(attempt, layout):
    content = file_bytes(SMALL, layout)
    for length in range(len(content)):
        message = attempt(content[:length])
        assert message.startswith("some.params: "), message
        assert "offset" in message or length == 0


def test_bytes_after_the_end(attempt):
    assert "3 bytes follow the last name" in attempt(file_bytes(SMALL) + b"abc")


HEADER = struct.pack("<QQQ", 0x112, 0, 1)
ONE = HEADER + array_bytes(np.ones(2, "f4"))
V1, V2 = 0xF993FAC8, 0xF993FAC9


def hostile(form, *numbers, before=HEADER, after=bytes(80)):
    return before + struct.pack("<" + form, *numbers) + after


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (hostile("QQQ", 0x113, 0, 1, before=b""), "0x113"),
        (hostile("QQQ", 0x112, 7, 1, before=b""), "0x7"),
        (hostile("QQQ", 0x112, 0, 2**60, before=b""), f"{2**60} arrays cannot lie in the 80"),
        (hostile("QQQ", 0x112, 0, 0, before=b""), "no arrays"),
        (hostile("II", V1, 2**31), "2147483648 axes"),
        (hostile("I", 1 << 20), "1048576 axes in a v0 array"),
        (hostile("II", V1, 0), "0 axes"),
        (hostile("II2q", V1, 2, 4, -4), "(4, -4)"),
        (hostile("II2q", V1, 2, 4, 0), "not positive"),
        (hostile("II1q3i", V1, 1, 4, 1, 0, 99), "element type 99"),
        (hostile("II1q3i", V1, 1, 4, 1, 0, -1), "element type -1"),
        (hostile("IiI1q3i", V2, 1, 1, 4, 1, 0, 0), "storage type 1"),
        (hostile("II2q3i", V1, 2, 2**40, 2**40, 1, 0, 0), f"needs {2**82} bytes and 80 are left"),
        (hostile("Q", 2**60, before=ONE), f"{2**60} names for 1"),
        (hostile("QQ", 1, 2**63, before=ONE), f"needs {2**63} bytes"),
        (hostile("QQ", 1, 2, before=ONE, after=b"\xff\xfe"), "not UTF-8"),
    ],
)
def test_hostile_numbers(attempt, content, words):
    message = attempt(content)
    assert words in message
    assert "offset" in message


def test_a_name_twice(attempt):
    both = {"arg:x": np.ones(2, "f4"), "aux:x": np.ones(2, "f4")}
    assert "two arrays are named 'x'" in attempt(file_bytes(both))


def test_memory_is_bounded_by_the_file(tmp_path):
    path = tmp_path / "some.params"
    path.write_bytes(
        HEADER + struct.pack("<II2q3i", 0xF993FAC8, 2, 2**20, 2**12, 1, 0, 0) + bytes(100)
    )
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="needs 17179869184 bytes"):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_mutated_files(tmp_path, layout, data):
    """Whatever the damage: the arrays, or an error that names the file."""
    content = bytearray(file_bytes(SMALL, layout))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=9))
        if data.draw(st.booleans()):
            content[place : place + len(patch)] = patch
        else:
            content[place:place] = patch
    path = tmp_path / "some.params"
    path.write_bytes(bytes(content))
    message = ""
    try:
        arrays = read(path)
    except WeightsError as error:
        message = str(error)
    else:
        assert sum(a.nbytes for a in arrays.values()) <= len(content)
    assert message == "" or message.startswith("some.params: offset ")
