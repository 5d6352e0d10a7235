"""What is particular to images on the device; the rest is in test_augmented_images.py."""

import keras
import numpy as np
import pytest

from keras_mg.applications import igc_cifar, mgnet, resnet
from keras_mg.datasets import AugmentedImages, DeviceImages, SetEpoch, ShiftAndFlip
from keras_mg.datasets.device_images import images_on
from tests.support.crops import HEIGHT, WIDTH, all_ways, as_it_is, epoch_of, images

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def make(data, **kwargs):
    moves = ShiftAndFlip(shift=4)
    return DeviceImages(
        data, as_it_is, **{"data_format": "channels_last", "augmentation": moves, **kwargs}
    )


def array(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("family", [igc_cifar, mgnet])
def test_normalisation_of_the_families(family, dataset):
    x = images(3).images
    expected = family.preprocess_input(x, "channels_last", dataset=dataset)
    tensor = keras.ops.convert_to_tensor(x)
    for _ in range(2):  # the constants come from the host, then from where they were left
        found = family.preprocess_input(tensor, "channels_last", dataset=dataset)
        np.testing.assert_allclose(array(found), expected, rtol=1e-6, atol=1e-7)


class Recording(DeviceImages):
    """Remembers every batch that was asked for."""

    seen: list

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        self.seen.append((self.epoch, index, array(y).tolist()))
        return x, y


def scale(x, data_format):
    return keras.ops.cast(x, "float32") / 255


def test_training_and_resuming():
    layers = [keras.Input((HEIGHT, WIDTH, 3)), keras.layers.Flatten(), keras.layers.Dense(40)]
    model = keras.Sequential(layers)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = Recording(images(40), scale, 16, ShiftAndFlip(1), data_format="channels_last")
    batches.seen = []
    options = {"verbose": 0, "shuffle": False, "callbacks": [SetEpoch(batches)]}
    losses = model.fit(batches, epochs=30, validation_data=batches, **options).history["loss"]
    assert losses[-1] < losses[0]
    batches.seen.clear()
    model.fit(batches, initial_epoch=5, epochs=7, **options)
    assert [seen[:2] for seen in batches.seen] == [(e, i) for e in (5, 6) for i in range(3)]
    again = make(images(40), batch_size=16)
    again.epoch = 6
    assert batches.seen[-1][2] == array(again[2][1]).tolist()


def test_where_images_are_augmented():
    assert images_on("device") is DeviceImages
    assert images_on("host") is AugmentedImages
    assert images_on(None) is AugmentedImages  # on a CPU
    with pytest.raises(ValueError, match="augment_on must be one of .* Received: augment_on='gpu'"):
        images_on("gpu")


@pytest.mark.gpu
def test_on_cuda():
    torch = pytest.importorskip("torch")
    data = images(64)
    with keras.device("cuda"):
        assert images_on(None) is DeviceImages
        plain = DeviceImages(
            data, resnet.preprocess_input, 16, sampling="sequence", data_format="channels_last"
        )
        x, y = plain[1]
        assert (x.device.type, y.device.type) == ("cuda", "cuda")
        expected = resnet.preprocess_input(data.images[16:32], "channels_last")
        np.testing.assert_allclose(x.cpu().numpy(), expected, rtol=1e-6, atol=1e-6)
        batches = make(data, batch_size=16)
        found, labels = epoch_of(batches)
        ways = [all_ways(image) for image in data.images]
        assert all(f.tobytes() in ways[i] for f, i in zip(found, labels, strict=True))
        torch.cuda.set_sync_debug_mode("error")
        try:
            _ = plain[0], batches[0]  # nothing waits
        finally:
            torch.cuda.set_sync_debug_mode("default")
