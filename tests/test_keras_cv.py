"""keras-cv's augmentation in front of our networks; runs where the `cv` extra is installed.

keras-cv 0.9 augments whenever it is called, in prediction as well, and computes in TensorFlow. So
it belongs in front of `fit`, on the batches, and not inside the model.
"""

import warnings

import keras
import numpy as np
import pytest

from keras_mg.applications import MgNet

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
