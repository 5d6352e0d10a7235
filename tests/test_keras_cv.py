"""keras-cv's augmentation in front of our networks; runs where the `cv` extra is installed.

keras-cv 0.9 augments whenever it is called, in prediction as well, and computes in TensorFlow. So
it belongs in front of `fit`, on the batches, and not inside the model. It is handed float32: its
CutMix refuses labels of 64 bits.
"""

import warnings

import keras
import numpy as np
import pytest

from keras_mg.applications import MgNet
from keras_mg.datasets import LAYERS, apply_layers
from keras_mg.recipes import get_recipe, with_layers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, at its import
    keras_cv = pytest.importorskip("keras_cv")

pytestmark = pytest.mark.filterwarnings("ignore")  # keras-cv is no longer developed

AUGMENTATIONS = {
    "flip": lambda: [keras_cv.layers.RandomFlip()],
    "rand_augment": lambda: [keras_cv.layers.RandAugment(value_range=(0, 255))],
    "cutout": lambda: [keras_cv.layers.RandomCutout(0.5, 0.5)],
    "mix_up_and_cut_mix": lambda: [keras_cv.layers.MixUp(), keras_cv.layers.CutMix()],
}


class Augmented(keras.utils.PyDataset):
    """Two batches of four 16x16 images, augmented anew each time they are read."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers
        self.images = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 3)).astype("float32")
        self.labels = np.eye(4, dtype="float32")[np.arange(8) % 4]

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        batch = {"images": self.images[rows], "labels": self.labels[rows]}
        for layer in self.layers:
            batch = layer(batch)
        return batch["images"] / 255, batch["labels"]


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_a_network_trains_on_augmented_batches(name):
    data = Augmented(AUGMENTATIONS[name]())
    images, labels = data[0]
    assert tuple(images.shape) == (4, 16, 16, 3)
    assert tuple(labels.shape) == (4, 4)

    network = MgNet(iterations=(1, 1), filters=8, classes=4, input_shape=(16, 16, 3))
    before = network.get_weights()
    network.compile("sgd", "categorical_crossentropy")
    history = network.fit(data, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert any((a != b).any() for a, b in zip(before, network.get_weights(), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("name", ["cut_mix", "mix_up"])
@pytest.mark.parametrize("source", ["", "cv_"])
def test_labels_of_any_dtype_are_mixed(source, name, dtype):
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")
    labels = np.eye(8, dtype=dtype)
    mixed = 0
    for seed in range(5):
        x, y = apply_layers([LAYERS[source + name]], images, labels, [seed])
        assert x.dtype == y.dtype == "float32"
        np.testing.assert_allclose(y.sum(1), 1, atol=1e-5)
        mixed += (y.max(1) < 0.95).sum()
    assert mixed


FURTHER = {"cut_out": lambda seed: keras_cv.layers.RandomCutout(0.5, 0.5, seed=seed)}
OF_KERAS_CV = {name: make for name, make in LAYERS.items() if name.startswith("cv_")} | FURTHER


@pytest.mark.parametrize("name", OF_KERAS_CV)
def test_a_batch_of_keras_cv_is_a_function_of_its_seed(name):
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")
    made = [apply_layers([OF_KERAS_CV[name]], images, np.eye(8), [seed])[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()
    assert made[0].min() >= 0
    assert made[0].max() <= 255


@pytest.mark.parametrize("place", ["host", "device"])
def test_a_recipe_takes_them_beside_those_of_keras(place):
    recipe = with_layers(get_recipe("mgnet-digits"), ["cv_cut_mix", "mix_up"])
    assert recipe.differs[-1].endswith("cv_cut_mix, mix_up of keras-cv and Keras")
    data = recipe.data.open(64, augment_on=place)
    network = MgNet((1, 1), filters=8, classes=10, classifier_activation=None)
    network.compile(keras.optimizers.Adam(0.01), recipe.loss())
    losses = network.fit(data.train, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert losses[2] < losses[0] - 0.05
