"""Augmentation on the device: the rules of that on the host, and its distribution."""

import keras
import numpy as np
import pytest

from keras_mg.applications import igc_cifar, mgnet, resnet
from keras_mg.datasets import AugmentedImages, DeviceImages, Images, SetEpoch
from keras_mg.datasets.device_images import images_on
from tests.support.crops import HEIGHT, PLACES, WIDTH, all_ways, as_it_is, epoch_of, images

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def make(data, kind=DeviceImages, **kwargs):
    return kind(data, as_it_is, **{"data_format": "channels_last", **kwargs})


def array(x):
    return keras.ops.convert_to_numpy(x)


def test_every_image_is_one_of_its_own_crops_and_all_crops_occur():
    data = images(6)
    ways = [all_ways(image) for image in data.images]
    x, y = epoch_of(
        make(Images(data.images.repeat(600, axis=0), data.labels.repeat(600)), batch_size=500)
    )
    assert (x.dtype, x.shape) == (np.uint8, (3600, HEIGHT, WIDTH, 3))
    counts = {}
    for image, label in zip(x, y, strict=True):
        way = ways[label][image.tobytes()]  # a KeyError: not a crop of the image of its label
        counts[way] = counts.get(way, 0) + 1
    # The bounds of the test on the host: 22 of each way, 400 of each shift, 1800 of each side.
    assert len(counts) == PLACES**2 * 2
    assert max(counts.values()) < 50
    assert abs(sum(n for (_, _, mirrored), n in counts.items() if mirrored) - 1800) < 150
    for axis in (0, 1):
        marginal = [sum(n for way, n in counts.items() if way[axis] == s) for s in range(-4, 5)]
        assert min(marginal) > 300
        assert max(marginal) < 500


def test_shift_and_flip_apart():
    data = images(40)
    x, y = epoch_of(make(data, shift=0))
    mirrored = [
        all_ways(data.images[i], 0)[image.tobytes()][2] for image, i in zip(x, y, strict=True)
    ]
    assert 5 < sum(mirrored) < 35
    x, y = epoch_of(make(data, flip=False, shift=2))
    ways = [all_ways(data.images[i], 2)[image.tobytes()] for image, i in zip(x, y, strict=True)]
    assert not any(mirrored for *_, mirrored in ways)
    assert {down for down, *_ in ways} == {-2, -1, 0, 1, 2}
    assert {right for _, right, _ in ways} == {-2, -1, 0, 1, 2}
    assert any(down != right for down, right, _ in ways)


@pytest.mark.parametrize(
    "preprocess_input", [as_it_is, resnet.preprocess_input, igc_cifar.preprocess_input]
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_unaugmented_it_is_what_the_host_gives(preprocess_input, data_format):
    options = {"shift": 0, "flip": False, "shuffle": False, "data_format": data_format}
    pair = [
        kind(images(10), preprocess_input, 4, **options) for kind in (AugmentedImages, DeviceImages)
    ]
    assert len(pair[0]) == len(pair[1]) == 3
    for i in (0, 2, -1):
        assert array(pair[1][i][0]).dtype == pair[0][i][0].dtype
        for on_host, on_device in zip(*(data[i] for data in pair), strict=True):
            assert keras.ops.is_tensor(on_device)
            np.testing.assert_allclose(array(on_device), on_host, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("family", [igc_cifar, mgnet])
def test_normalisation_of_the_families(family, dataset):
    x = images(3).images
    expected = family.preprocess_input(x, "channels_last", dataset=dataset)
    tensor = keras.ops.convert_to_tensor(x)
    for _ in range(2):  # the constants come from the host, then from where they were left
        found = family.preprocess_input(tensor, "channels_last", dataset=dataset)
        np.testing.assert_allclose(array(found), expected, rtol=1e-6, atol=1e-7)


def test_each_epoch_has_every_image_once_in_an_order_of_its_own():
    batches = make(images(50), batch_size=8)
    orders = []
    for _ in range(3):
        orders.append(epoch_of(batches)[1].tolist())
        batches.on_epoch_end()
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    batches.epoch = 1
    assert epoch_of(batches)[1].tolist() == orders[1]


def test_a_batch_depends_on_seed_epoch_and_index_alone():
    def batch(seed, epoch, index, disturb=False):
        batches = make(images(64), batch_size=16, seed=seed)
        batches.epoch = epoch
        if disturb:
            keras.utils.set_random_seed(4)
            keras.random.normal((3,))
            _ = batches[3], batches[0]
        return [array(part) for part in batches[index]]

    x, y = batch(1, 2, 1)
    for a, b in zip((x, y), batch(1, 2, 1, disturb=True), strict=True):
        np.testing.assert_array_equal(a, b)
    for other in ((2, 2, 1), (1, 3, 1), (1, 2, 2)):
        assert (batch(*other)[1] != y).any()
    np.testing.assert_array_equal(array(make(images(64), batch_size=16)[-1][1]), batch(0, 0, 3)[1])


def test_augmentation_differs_where_the_order_does_not():
    data = Images(images(1).images.repeat(32, axis=0), np.zeros(32, int))
    batches = make(data, batch_size=16, shuffle=False)
    first, second = array(batches[0][0]), array(batches[1][0])
    batches.on_epoch_end()
    assert (first != second).any()
    assert (first != array(batches[0][0])).any()


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
    batches = Recording(images(40), scale, 16, shift=1, data_format="channels_last")
    batches.seen = []
    options = {"verbose": 0, "shuffle": False, "callbacks": [SetEpoch(batches)]}
    losses = model.fit(batches, epochs=30, validation_data=batches, **options).history["loss"]
    assert losses[-1] < losses[0]
    batches.seen.clear()
    model.fit(batches, initial_epoch=5, epochs=7, **options)
    assert [seen[:2] for seen in batches.seen] == [(e, i) for e in (5, 6) for i in range(3)]
    again = make(images(40), batch_size=16, shift=1)
    again.epoch = 6
    assert batches.seen[-1][2] == array(again[2][1]).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": Images(np.zeros((2, 4, 4, 3)), np.zeros(2))}, "must be uint8 .* float64"),
        ({"data": Images(np.zeros((0, 4, 4, 3), "uint8"), np.zeros(0))}, "There is no image"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"shift": -1}, "shift must be an integer of at least 0. Received: -1"),
        ({"data_format": "NHWC"}, "data_format must be one of .* Received: 'NHWC'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**{"data": images(2), **arguments})


def test_a_batch_that_is_not_there():
    with pytest.raises(IndexError, match="Batch 2 of 2 batches"):
        make(images(8), batch_size=4)[2]


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
            data, resnet.preprocess_input, 16, 0, False, False, data_format="channels_last"
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
