"""Digits of 28x28 pixels from idx files, prepared data and the embedded set."""

import gzip
import struct

import numpy as np
import pytest

from keras_mg.datasets import mnist_digits
from keras_mg.datasets.digits import split_digits
from keras_mg.datasets.mnist_digits import load_mnist_digits, read_idx_digits


def write_idx(path, array):
    """Unsigned bytes in the idx format, as http://yann.lecun.com/exdb/mnist describes it."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    content = head + array.astype("uint8").tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_all(folder, packed="", train=30, test=7):
    """The four files; returns the arrays in them."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28))
        labels = np.arange(count) % 10
        write_idx(folder / f"{name}-images-idx3-ubyte{packed}", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte{packed}", labels)
        arrays[name] = images, labels
    return arrays


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_idx_files(tmp_path, packed, monkeypatch):
    monkeypatch.setattr(mnist_digits, "TRAINED_ON", 20)
    arrays = write_all(tmp_path, packed)
    digits = load_mnist_digits("idx", tmp_path)
    for part, rows, name in (
        ("train", slice(20), "train"),
        ("validation", slice(20, None), "train"),
        ("test", slice(None), "t10k"),
    ):
        assert digits[part].images.dtype == np.uint8
        np.testing.assert_array_equal(digits[part].images, arrays[name][0][rows])
        np.testing.assert_array_equal(digits[part].labels, arrays[name][1][rows])


def test_embedded_digits_fill_mnists_box():
    """Each is the 8x8 digit, linear between aligned corners, in the middle 20 of 28 pixels."""
    small = split_digits()
    for name, (images, labels) in load_mnist_digits("embedded").items():
        np.testing.assert_array_equal(labels, small[name].labels)
        assert not images[:, :4].any()
        assert not images[:, :, 24:].any()
        corners = images[:, 4:24:19, 4:24:19]
        np.testing.assert_array_equal(corners, np.rint(255 * small[name].images[:, ::7, ::7]))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-1]), "must be an idx file.*3 axes.*00000803"),
        (lambda f: f.write_bytes(b"\x89PNG"), "must be an idx file.*4 bytes.*89504e47"),
        (lambda f: write_idx(f, np.zeros((5, 28, 28))), "one label from 0 to 9 for each"),
        (lambda f: write_idx(f, np.zeros((30, 27, 28))), r"Received: images \(30, 27, 28\)"),
    ],
)
def test_damaged_idx_files(tmp_path, break_it, message):
    write_all(tmp_path)
    break_it(tmp_path / "train-images-idx3-ubyte")
    with pytest.raises(ValueError, match=message):
        read_idx_digits(tmp_path, "train")


def test_damaged_gzip_and_labels_out_of_range(tmp_path):
    write_all(tmp_path, ".gz")
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte.gz is damaged"):
        read_idx_digits(tmp_path, "train")
    write_idx(path, np.full(30, 10))
    with pytest.raises(ValueError, match="up to 10"):
        read_idx_digits(tmp_path, "train")


def test_missing_files_and_wrong_arguments(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no train-images-idx3-ubyte and no .*Put"):
        load_mnist_digits("idx", tmp_path)
    with pytest.raises(ValueError, match="needs a data_dir"):
        load_mnist_digits("idx")
    with pytest.raises(ValueError, match="need no folder. Received: data_dir=x"):
        load_mnist_digits("embedded", "x")
    with pytest.raises(ValueError, match="source.*Received: .*'web'"):
        load_mnist_digits("web")
    with pytest.raises(FileNotFoundError, match="mnist .*is not prepared in .*data prepare mnist"):
        load_mnist_digits("tfds", tmp_path)
