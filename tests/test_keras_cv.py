"""keras-cv's augmentation in front of our networks; runs where the `cv` extra is installed."""

import warnings

import keras
import numpy as np
import pytest

from keras_mg.applications import MgNet

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, at its import
    keras_cv = pytest.importorskip("keras_cv")

pytestmark = pytest.mark.filterwarnings("ignore")  # keras-cv is no longer developed


@pytest.fixture
def network():
    return MgNet(
        iterations=(1, 1), filters=8, classes=4, input_shape=(16, 16, 3), classifier_activation=None
    )


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 3)).astype("float32")


def augmented(network, augmentation):
    return keras.Sequential(
        [keras.Input((16, 16, 3)), augmentation, keras.layers.Rescaling(1 / 255), network]
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras_cv.layers.RandomFlip(),
        lambda: keras_cv.layers.RandAugment(value_range=(0, 255)),
        lambda: keras_cv.layers.RandomCutout(0.5, 0.5),
    ],
    ids=["RandomFlip", "RandAugment", "RandomCutout"],
)
def test_a_network_trains_behind_augmentation(network, images, make):
    model = augmented(network, make())
    before = [np.copy(w) for w in network.get_weights()]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(images, np.arange(8) % 4, batch_size=4, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert any((a != b).any() for a, b in zip(before, network.get_weights(), strict=True))


def test_prediction_is_not_augmented(network, images):
    model = augmented(network, keras_cv.layers.RandAugment(value_range=(0, 255)))
    expected = network.predict(images / 255, verbose=0)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_a_mixed_batch_trains(network, images):
    batch = {"images": images, "labels": np.eye(4, dtype="float32")[np.arange(8) % 4]}
    mixed = keras_cv.layers.CutMix()(keras_cv.layers.MixUp()(batch, training=True), training=True)
    network.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    loss = network.train_on_batch(mixed["images"], mixed["labels"])
    assert np.isfinite(loss).all()
