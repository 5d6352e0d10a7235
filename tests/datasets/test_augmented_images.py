"""Augmentation: every image comes out as one of its own crops, and all crops come out."""

import threading

import keras
import numpy as np
import pytest

from keras_mg.datasets import AugmentedImages, Images, SetEpoch
from tests.support.crops import HEIGHT, PLACES, WIDTH, all_ways, as_it_is, epoch_of, images


def make(data, **kwargs):
    return AugmentedImages(data, as_it_is, **{"data_format": "channels_last", **kwargs})


def test_every_image_is_one_of_its_own_crops_and_all_crops_occur():
    data = images(6)
    ways = [all_ways(image) for image in data.images]
    assert all(len(way) == PLACES**2 * 2 for way in ways)
    batches = make(Images(data.images.repeat(600, axis=0), data.labels.repeat(600)), batch_size=500)
    x, y = epoch_of(batches)
    assert (x.dtype, x.shape) == (np.uint8, (3600, HEIGHT, WIDTH, 3))
    counts = {}
    for image, label in zip(x, y, strict=True):
        way = ways[label][image.tobytes()]  # a KeyError: not a crop of the image of its label
        counts[way] = counts.get(way, 0) + 1
    assert len(counts) == 81 * 2
    # 3600 draws of 162 equally likely ways: 22 of each; of 81 places 44, of two sides 1800.
    assert max(counts.values()) < 50
    assert abs(sum(n for (_, _, mirrored), n in counts.items() if mirrored) - 1800) < 150
    for axis in (0, 1):
        marginal = [sum(n for way, n in counts.items() if way[axis] == s) for s in range(-4, 5)]
        assert min(marginal) > 300  # 400 expected
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


def test_neither_is_the_data_itself():
    data = images(10)
    batches = make(data, shift=0, flip=False, shuffle=False, batch_size=4)
    assert [len(batches[i][1]) for i in range(3)] == [4, 4, 2]
    np.testing.assert_array_equal(epoch_of(batches)[0], data.images)
    np.testing.assert_array_equal(epoch_of(batches)[1], data.labels)


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
            np.random.seed(0)  # noqa: NPY002
            _ = batches[3], batches[0]
        return batches[index]

    x, y = batch(1, 2, 1)
    for a, b in zip((x, y), batch(1, 2, 1, disturb=True), strict=True):
        np.testing.assert_array_equal(a, b)
    for other in ((2, 2, 1), (1, 3, 1), (1, 2, 2)):
        assert (batch(*other)[1] != y).any()
    np.testing.assert_array_equal(make(images(64), batch_size=16)[-1][1], batch(0, 0, 3)[1])


def test_augmentation_differs_where_the_order_does_not():
    data = Images(images(1).images.repeat(32, axis=0), np.zeros(32, int))
    batches = make(data, batch_size=16, shuffle=False)
    first, second = batches[0][0], batches[1][0]
    batches.on_epoch_end()
    assert (first != second).any()
    assert (first != batches[0][0]).any()


def test_normalisation_and_data_formats():
    seen = []

    def halve(x, data_format):
        seen.append((x.dtype, data_format))
        return x.astype("float32") / 2

    last, first = (
        AugmentedImages(images(20), halve, 5, data_format=f"channels_{where}")[2]
        for where in ("last", "first")
    )
    assert seen == [(np.uint8, "channels_last"), (np.uint8, "channels_first")]
    assert first[0].shape == (5, 3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(np.moveaxis(first[0], 1, -1), last[0])
    np.testing.assert_array_equal(last[0] * 2, make(images(20), batch_size=5)[2][0])
    keras.config.set_image_data_format("channels_first")
    assert AugmentedImages(images(20), halve, 5)[0][0].shape == (5, 3, HEIGHT, WIDTH)


class Recording(AugmentedImages):
    """Remembers every batch that was asked for."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.lock, self.seen = threading.Lock(), []

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        with self.lock:
            self.seen.append((self.epoch, index, x, y))
        return x, y


def small_model():
    layers = [keras.Input((HEIGHT, WIDTH, 3)), keras.layers.Flatten(), keras.layers.Dense(40)]
    model = keras.Sequential(layers)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_draw_what_one_would(workers):
    def scale(x, data_format):
        return x.astype("float32") / 255

    kwargs = {"batch_size": 4, "data_format": "channels_last"}
    batches = Recording(images(40), scale, workers=workers, **kwargs)
    small_model().fit(batches, epochs=3, verbose=0, shuffle=False, callbacks=[SetEpoch(batches)])
    plain = AugmentedImages(images(40), scale, **kwargs)
    assert {epoch for epoch, *_ in batches.seen} >= {0, 1, 2}
    for epoch, index, x, y in batches.seen:
        plain.epoch = epoch
        np.testing.assert_array_equal(plain[index][0], x)
        np.testing.assert_array_equal(plain[index][1], y)
    if workers == 1:
        # Keras reads one batch ahead to build the metrics.
        assert [s[:2] for s in batches.seen[1:]] == [(e, i) for e in range(3) for i in range(10)]


def test_set_epoch_resumes():
    batches = Recording(images(8), as_it_is, batch_size=4, data_format="channels_last")
    small_model().fit(
        batches,
        initial_epoch=5,
        epochs=7,
        verbose=0,
        shuffle=False,
        callbacks=[SetEpoch(batches)],
    )
    assert [epoch for epoch, *_ in batches.seen[1:]] == [5, 5, 6, 6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": Images(np.zeros((2, 4, 4, 3)), np.zeros(2))}, "must be uint8 .* float64"),
        ({"data": Images(np.zeros((2, 4, 4), "uint8"), np.zeros(2))}, r"uint8 .* \(2, 4, 4\)"),
        ({"data": Images(np.zeros((2, 4, 4, 3), "uint8"), np.zeros(3))}, r"labels \(3,\)"),
        ({"data": Images(np.zeros((0, 4, 4, 3), "uint8"), np.zeros(0))}, "There is no image"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"shift": -1}, "shift must be an integer of at least 0. Received: -1"),
        ({"shift": True}, "shift must be an integer of at least 0. Received: True"),
        ({"seed": -1}, "seed must be an integer of at least 0. Received: -1"),
        ({"data_format": "NHWC"}, "data_format must be one of .* Received: 'NHWC'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**{"data": images(2), **arguments})


def test_a_batch_that_is_not_there():
    with pytest.raises(IndexError, match="Batch 2 of 2 batches"):
        make(images(8), batch_size=4)[2]
