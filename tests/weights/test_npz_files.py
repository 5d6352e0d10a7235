import io
import zipfile

import numpy as np
import pytest

from keras_mg.weights import WeightsError
from keras_mg.weights._npz_files import open_npz

# As MXNet 2 writes a bfloat16 array: numpy.lib.format's version 1, one field.
BFLOAT16 = "{'descr': [('bfloat16', '<u2')], 'fortran_order': False, 'shape': (2, 2), }"


def npy(header, content, version=b"\x01\x00"):
    text = header.encode().ljust(118 - 1) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + content


def read(path):
    with open_npz(path, "x") as arrays:
        return {name: array.read() for name, array in arrays.items()}


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes(tmp_path, save):
    random = np.random.default_rng(0).normal(size=(3, 4, 5))
    arrays = {"a": random, "b": random.astype("f2").T, "c": np.float32(3), "d": random > 0}
    save(tmp_path / "x.npz", **arrays)
    got = read(tmp_path / "x.npz")
    assert list(got) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)


def test_mxnets_bfloat16(tmp_path):
    upper = (np.float32([[1, -2.5], [0.5, 3e38]]).view("u4") >> 16).astype("<u2")
    path = archive(tmp_path / "x", a=npy(BFLOAT16, upper.tobytes()))
    np.testing.assert_array_equal(read(path)["a"], (upper.astype("u4") << 16).view("f4"))


def plain(shape="(4,)", descr="'<f4'"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (npy(plain(), bytes(12)), "states 16 bytes and has 12"),
        (npy(plain(), bytes(20)), "states 16 bytes and has 20"),
        (npy(plain("(1099511627776, 4)"), bytes(16)), "states 17592186044416 bytes"),
        (npy(plain("(-4,)"), bytes(16)), "which is none"),
        (npy(plain(descr="'|O'"), bytes(32)), "type object is not a number type"),
        (npy(plain(descr="'<U1'"), bytes(16)), "not a number type"),
        (npy(plain("__import__('os')"), bytes(16)), "damaged header"),
        (npy(plain(), bytes(16), b"\x09\x00"), "version (9, 0)"),
        (b"\x93NUMPY\x01\x00\xff\xff", "damaged header"),
        (b"", "cut short"),
    ],
)
def test_what_is_refused(tmp_path, member, words):
    path = archive(tmp_path / "x", a=member)
    with pytest.raises(WeightsError) as caught:
        read(path)
    assert words in str(caught.value)


def test_an_archive_that_unpacks_to_too_much(tmp_path):
    content = io.BytesIO()
    np.save(content, np.zeros(10_000_000, "f4"))
    with zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.npy", content.getvalue())
    with pytest.raises(WeightsError, match="states 40000128 bytes of content"):
        read(tmp_path / "x")


def test_a_directory_that_has_lost_a_member(tmp_path):
    """One flipped bit makes the second entry a comment of the first one."""
    np.savez(tmp_path / "x.npz", a=np.ones(3), b=np.ones(2))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[content.index(b"PK\1\2") + 33] ^= 1  # the length of the comment
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(WeightsError, match="its end states 2 members, its directory has 1"):
        read(tmp_path / "x")


def test_two_members_of_a_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "x", "w") as made:
        made.writestr("a.npy", npy(plain(), bytes(16)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            made.writestr("a.npy", npy(plain(), bytes(16)))
    with pytest.raises(WeightsError, match="two members"):
        read(tmp_path / "x")
