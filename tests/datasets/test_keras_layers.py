"""Keras's augmentation layers on our batches: what they mix, and that they repeat."""

import sys

import keras
import numpy as np
import pytest
from PIL import Image

from keras_mg.datasets import (
    LAYERS,
    AugmentedImages,
    CenterCrop,
    DeviceImages,
    ImageFolder,
    Images,
    PhotoBatches,
    apply_layers,
)
from keras_mg.datasets.keras_layers import one_hot
from tests.support.crops import as_it_is

pytestmark = [
    # Keras 3.15 counts a scalar with an operation that torch wants to drop.
    pytest.mark.filterwarnings("ignore:Tensor.T is deprecated on 0-D tensors:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def flat_images(count):
    """Images of one value each, 10, 20, ...; each is of a class of its own."""
    images = np.full((count, 16, 16, 3), 10, "uint8") * np.arange(1, count + 1, dtype="uint8")[
        :, None, None, None
    ]  # fmt: skip
    return images, np.eye(count, dtype="float32")


@pytest.mark.parametrize("name", ["mix_up", "cut_mix"])
def test_labels_say_how_much_of_which_image_there_is(name):
    mixed = 0
    for seed in range(10):
        images, labels = flat_images(8)
        x, y = apply_layers([LAYERS[name]], images, labels, [seed])
        np.testing.assert_allclose(y.sum(1), 1, atol=1e-5)
        if name == "mix_up":  # the value of an image is that of its two, by their shares
            np.testing.assert_allclose(x[:, 0, 0, 0], y @ (10 * np.arange(1.0, 9)), atol=1e-2)
        else:  # Keras's box has up to two rows and columns less than its labels say
            own = (x[..., 0] == images[..., 0]).mean((1, 2))
            assert abs(own - np.diag(y)).max() <= 2 / 16
        for image in x:
            values = set(np.unique(image).round(3).tolist())
            if name == "cut_mix":
                assert len(values) <= 2
                assert values <= set(range(10, 90, 10))
            else:
                assert np.ptp(image) < 1e-3
        mixed += (y.max(1) < 0.95).sum()
    assert mixed > 8


def test_keras_cv_is_asked_for_where_it_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    with pytest.raises(ImportError, match=r"MixUp of keras-cv needs .*\[cv\]"):
        apply_layers([LAYERS["cv_mix_up"]], *flat_images(4), [0])


@pytest.mark.parametrize("place", ["host", "device"])
def test_a_batch_is_a_function_of_its_seed(place):
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype("uint8")
    labels = np.eye(6, dtype="float32")
    layers = [make for name, make in LAYERS.items() if not name.startswith("cv_")]

    def make(words):
        given = images, labels
        if place == "device":
            given = tuple(map(keras.ops.convert_to_tensor, given))
        made = apply_layers(layers, *given, words)
        assert all(keras.ops.is_tensor(each) == (place == "device") for each in made)
        return [keras.ops.convert_to_numpy(each) for each in made]

    first, again, other = make([1, 2]), make([1, 2]), make([1, 3])
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first[0] != other[0]).any()
    assert first[0].dtype == first[1].dtype == np.float32
    assert first[0].min() >= 0
    assert first[0].max() <= 255


def test_rand_augment_keeps_labels():
    images, labels = flat_images(5)
    changed = 0
    for seed in range(4):
        x, y = apply_layers([LAYERS["rand_augment"]], images, labels, [seed])
        np.testing.assert_array_equal(y, labels)
        changed += (x != images).any()
    assert changed


def test_batches_on_host_and_device_are_mixed_alike():
    rng = np.random.default_rng(0)
    data = Images(rng.integers(0, 256, (20, 12, 12, 3)).astype("uint8"), np.arange(20) % 4)
    options = {
        "layers": [LAYERS["mix_up"]], "classes": 4, "seed": 3, "data_format": "channels_last"
    }  # fmt: skip
    host = AugmentedImages(data, as_it_is, 8, **options)
    device = DeviceImages(data, as_it_is, 8, **options)
    plain = AugmentedImages(data, as_it_is, 8, classes=4, seed=3, data_format="channels_last")
    for epoch in (0, 2):
        host.epoch = device.epoch = plain.epoch = epoch
        for i in (2, 0):
            (x, y), (x2, y2) = host[i], device[i]
            np.testing.assert_allclose(keras.ops.convert_to_numpy(x2), x, atol=1e-4)
            np.testing.assert_allclose(keras.ops.convert_to_numpy(y2), y, atol=1e-6)
            x1, y1 = plain[i]
            assert y1.shape == y.shape
            assert (x1 != x).any()
            np.testing.assert_array_equal(y1, np.eye(4)[y1.argmax(1)])
            np.testing.assert_array_equal(y1.sum(1), 1)


def test_photographs(tmp_path):
    for k in range(3):
        (tmp_path / str(k)).mkdir()
        for i in range(2):
            Image.new("RGB", (12, 12), (40 * k, 50, 60)).save(tmp_path / str(k) / f"{i}.png")
    options = {"batch_size": 6, "classes": 3, "order": "sequence", "data_format": "channels_last"}
    photos, crop = ImageFolder(tmp_path), CenterCrop(8, 12)
    x, y = PhotoBatches(photos, crop, layers=[LAYERS["mix_up"]], **options)[0]
    plain, labels = PhotoBatches(photos, crop, **options)[0]
    np.testing.assert_array_equal(labels, np.eye(3)[[0, 0, 1, 1, 2, 2]])
    # Normalising is linear, so what is mixed before is mixed after.
    reds = np.array([plain[2 * k, 0, 0, 0] for k in range(3)])
    np.testing.assert_allclose(x[:, 0, 0, 0], y @ reds, atol=1e-4)
    assert (y != labels).any()


def test_errors():
    images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.arange(4)
    with pytest.raises(ValueError, match="so they need classes. Received: classes=None"):
        AugmentedImages(Images(images, labels), as_it_is, layers=[LAYERS["mix_up"]])
    with pytest.raises(ValueError, match="from 0 to 2. Received labels from 0 to 3"):
        AugmentedImages(Images(images, labels), as_it_is, classes=3)
    with pytest.raises(ValueError, match="from 0 to 2. Received labels from -1 to 1"):
        one_hot(np.array([-1, 1]), 3)
