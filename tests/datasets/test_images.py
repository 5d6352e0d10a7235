"""Labelled images: what is read, from where, and what happens when it is not there."""

import builtins
import io
import sys
import types
from functools import partial

import numpy as np
import pytest
from PIL import Image

from keras_mg.datasets import images as cifar
from keras_mg.datasets.digits import load_digits
from keras_mg.datasets.images import DATASETS, Images, load_images, split_validation


@pytest.fixture
def fake_tfds(monkeypatch):
    """A stand-in that records what it is asked for and gives numbered images."""
    asked = []

    class Source(list):
        def __getitems__(self, rows):
            return [self[i] for i in rows]

    def data_source(name, split, data_dir, download):
        asked.append((name, split, data_dir, download))
        shape = next(d.image_shape for d in DATASETS.values() if d.tfds_name == name)
        return Source(
            {"image": np.full(shape, i, "uint8"), "label": i % 7, "id": b"x"} for i in range(25)
        )

    module = types.ModuleType("tensorflow_datasets")
    module.data_source = data_source
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    return asked


@pytest.mark.parametrize(
    ("dataset", "name", "train"),
    [
        ("cifar10", "cifar10", "train"),
        ("cifar100", "cifar100", "train"),
        ("svhn", "svhn_cropped", "train+extra"),
        ("svhn_cropped", "svhn_cropped", "train"),
        ("mnist", "mnist", "train"),
        ("fashion_mnist", "fashion_mnist", "train"),
    ],
)
def test_arrays_and_what_is_asked_for(fake_tfds, monkeypatch, dataset, name, train):
    monkeypatch.setattr(cifar, "_CHUNK", 7)  # 25 records: three whole chunks and a part
    images, labels = load_images(dataset, "train", "folder")
    load_images(dataset, "test", download=True)
    assert fake_tfds == [(name, train, "folder", False), (name, "test", None, True)]
    assert images.dtype == np.uint8
    assert images.shape == (25, *DATASETS[dataset].image_shape)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(images[:, 3, 5, 0], np.arange(25))
    np.testing.assert_array_equal(labels, np.arange(25) % 7)


def test_home_is_expanded(fake_tfds, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    load_images("cifar10", data_dir="~/sets")
    assert fake_tfds[0][2] == "/home/somebody/sets"


@pytest.mark.parametrize(
    ("image", "label", "received"),
    [
        ((1, 1, 1), 3, r"record 7 of train: shape \(1, 1, 1\), label 3"),
        ((28, 28, 3), 3, r"shape \(28, 28, 3\)"),
        ((28, 28, 1), 10, r"shape \(28, 28, 1\), label 10"),
        ((28, 28, 1), -1, "label -1"),
    ],
)
def test_a_record_of_another_shape_or_class_is_refused(monkeypatch, image, label, received):
    class Source(list):
        def __getitems__(self, rows):
            return [self[i] for i in rows]

    records = Source({"image": np.zeros((28, 28, 1), "uint8"), "label": 0} for _ in range(9))
    records[7] = {"image": np.zeros(image, "uint8"), "label": label}
    module = types.ModuleType("tensorflow_datasets")
    module.data_source = lambda name, split, data_dir, download: records
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    with pytest.raises(
        ValueError, match=r"mnist must have images of shape \(28, 28, 1\).*" + received
    ):
        load_images("mnist")


@pytest.fixture
def prepare(monkeypatch):
    return partial(_prepare, monkeypatch)


def _prepare(monkeypatch, name, folder, splits):
    """A tiny data set in the layout that the builder itself would write."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=folder, file_format="array_record")

    def png(image):
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, "PNG")
        return file.getvalue()

    def examples(images, labels):
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            example = {"image": png(image), "label": int(label)}
            yield i, {**example, "id": f"{i}"} if "id" in builder.info.features else example

    def split_generators(self, *args, **kwargs):
        return {split: examples(*data) for split, data in splits.items()}

    monkeypatch.setattr(type(builder), "_split_generators", split_generators)
    builder.download_and_prepare(file_format="array_record")


@pytest.mark.filterwarnings("ignore")  # of tensorflow-datasets and what it imports
@pytest.mark.parametrize("dataset", ["cifar10", "mnist"])
def test_a_prepared_data_set_is_read(prepare, tmp_path, dataset):
    rng = np.random.default_rng(0)
    shape = DATASETS[dataset].image_shape
    splits = {
        split: (rng.integers(0, 256, (count, *shape)).astype("uint8"), np.arange(count) % 10)
        for split, count in (("train", 12), ("test", 5))
    }
    prepare(DATASETS[dataset].tfds_name, tmp_path, splits)
    for split, (images, labels) in splits.items():
        read = load_images(dataset, split, tmp_path)
        # The records stand in an order of the format's own.
        order = [int(np.flatnonzero((images == x).all((1, 2, 3)))[0]) for x in read.images]
        assert sorted(order) == list(range(len(labels)))
        np.testing.assert_array_equal(read.labels, labels[order])


@pytest.mark.filterwarnings("ignore")
def test_a_data_set_that_is_not_prepared(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        load_images("cifar100", "train", tmp_path)
    message = str(raised.value)
    assert f"cifar100 (split train) is not prepared in {tmp_path}" in message
    assert f"tfds build cifar100 --file_format=array_record --data_dir={tmp_path}" in message
    assert "download=True" in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir())  # nothing was downloaded or made


@pytest.mark.filterwarnings("ignore")
def test_a_missing_split_is_named(prepare, tmp_path):
    image = np.zeros((2, 32, 32, 3), "uint8")
    prepare("svhn_cropped", tmp_path, {s: (image, [0, 1]) for s in ("train", "test")})
    assert len(load_images("svhn", "test", tmp_path).labels) == 2
    with pytest.raises(FileNotFoundError, match=r"svhn_cropped \(split train\+extra\) is not"):
        load_images("svhn", "train", tmp_path)


def test_missing_tensorflow_datasets_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "tensorflow_datasets":
            raise ImportError("none here")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"none here.*extra `data`: pip install \"keras-mg\["):
        load_images("cifar10")


def test_digits_are_all_there_enlarged_and_disjoint():
    original = load_digits()
    parts = [load_images("digits", split) for split in ("train", "test")]
    assert [len(part.labels) for part in parts] == [1347, 450]
    images = np.concatenate([part.images for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    assert images.shape == (1797, 32, 32, 3)
    assert (images.dtype, images.min(), images.max()) == (np.uint8, 0, 255)
    small = images[:, ::4, ::4, 0]
    np.testing.assert_array_equal(np.kron(small[:50], np.ones((1, 4, 4))), images[:50, ..., 0])
    np.testing.assert_array_equal(images[..., 1:], images[..., :1].repeat(2, axis=-1))

    def sorted_digits(pixels, labels):
        return sorted((*row, label) for row, label in zip(pixels, labels, strict=True))

    # Sixteen grey levels survive the rounding; so each digit is there once, with its label.
    back = np.rint(small / 255 * 16).astype(int).reshape(1797, 64)
    whole = (original.images * 16).astype(int).reshape(1797, 64)
    assert sorted_digits(back, labels) == sorted_digits(whole, original.labels)


def test_unknown_names():
    with pytest.raises(ValueError, match="dataset must be one of .*'svhn'.* Received: .*'cifar'"):
        load_images("cifar")
    with pytest.raises(ValueError, match="split must be one of .* Received: split='validation'"):
        load_images("digits", "validation")


def numbered(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.arange(len(labels), dtype="uint8")[:, None, None, None] * np.ones(
        (1, 2, 2, 1), "uint8"
    )
    return Images(images, labels)


def test_validation_is_disjoint_complete_and_stratified():
    data = numbered([40, 80, 100])
    train, held = split_validation(data, 0.25, seed=4)
    rows = [part.images[:, 0, 0, 0].tolist() for part in (train, held)]
    assert sorted(rows[0] + rows[1]) == list(range(220))
    assert np.bincount(held.labels).tolist() == [10, 20, 25]
    for part, row in zip((train, held), rows, strict=True):
        np.testing.assert_array_equal(part.labels, data.labels[row])
    again = split_validation(data, 0.25, seed=4)[1].images
    np.testing.assert_array_equal(held.images, again)
    assert (split_validation(data, 0.25, seed=5)[1].images != held.images).any()


def test_no_validation():
    data = numbered([3, 4])
    assert split_validation(data, 0) == (data, None)


@pytest.mark.parametrize(
    ("fraction", "message"),
    [
        (1.0, r"must be in \[0, 1\). Received: 1.0"),
        (-0.1, r"must be in \[0, 1\). Received: -0.1"),
        (0.01, "0.01 of 7 images, cut class by class, leaves the validation set empty"),
        (0.99, "0.99 of 7 images, cut class by class, leaves the training set empty"),
    ],
)
def test_bad_fractions(fraction, message):
    with pytest.raises(ValueError, match=message):
        split_validation(numbered([3, 4]), fraction)
