"""Batches of images: their order, their augmentation, on the host and on the device alike."""

import threading

import keras
import numpy as np
import pytest

from keras_mg.datasets import AugmentedImages, DeviceImages, Images, SetEpoch, ShiftAndFlip
from tests.support.crops import HEIGHT, WIDTH, all_ways, as_it_is, epoch_of, images

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(params=[AugmentedImages, DeviceImages])
def make(request):
    def make(data, **kwargs):
        return request.param(
            data, as_it_is, **{"data_format": "channels_last", "augmentation": MOVES, **kwargs}
        )

    return make


MOVES = ShiftAndFlip(shift=4)


def array(x):
    return keras.ops.convert_to_numpy(x)


def test_images_and_labels_stay_together(make):
    data = images(40)
    x, y = epoch_of(make(data, batch_size=16))
    assert x.shape == (40, HEIGHT, WIDTH, 3)
    assert all(im.tobytes() in all_ways(data.images[i]) for im, i in zip(x, y, strict=True))


def double(x, data_format):
    assert data_format == "channels_last"
    return x * 2.0 if isinstance(x, np.ndarray) else keras.ops.cast(x, "float32") * 2


def test_normalised_images_are_moved_into_a_frame_of_their_own_numbers():
    data = images(8)
    options = {"sampling": "sequence", "seed": 3, "data_format": "channels_last"}
    after = ShiftAndFlip(4, fill=-1.5, on="normalized")
    before = ShiftAndFlip(4, fill=0)
    for kind in (AugmentedImages, DeviceImages):
        x = array(kind(data, double, 8, after, **options)[0][0])
        pixels = array(kind(data, as_it_is, 8, before, **options)[0][0])
        np.testing.assert_array_equal(x, np.where(pixels == 0, -1.5, pixels * 2.0))


@pytest.mark.parametrize("sampling", ["shuffle", "replacement", "sequence"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "moves",
    [
        None,
        ShiftAndFlip(4, fill=[5, 6, 7]),
        ShiftAndFlip(2, flip=False, fill=0.25, on="normalized"),
    ],
)
def test_host_and_device_make_the_same_batches_bit_for_bit(sampling, data_format, moves):
    from keras_mg.datasets import MeanImage

    data = images(50)
    normalizer = MeanImage().fit(data.images)
    pair = [
        kind(data, normalizer, 16, moves, sampling, seed=5, data_format=data_format)
        for kind in (AugmentedImages, DeviceImages)
    ]
    for epoch in (0, 3):
        for batches in pair:
            batches.epoch = epoch
        for (x, y), (device_x, device_y) in zip(*pair, strict=True):
            assert keras.ops.is_tensor(device_x)
            assert isinstance(x, np.ndarray)
            np.testing.assert_array_equal(array(device_x), x)
            np.testing.assert_array_equal(array(device_y), y)


def test_drawing_with_replacement(make):
    data = images(50)
    batches = make(data, batch_size=16, sampling="replacement")
    assert [len(batches[i][1]) for i in range(len(batches))] == [16] * 4  # ceil(50 / 16), all full
    counts = np.zeros(50, int)
    for epoch in range(50):
        batches.epoch = epoch
        labels = epoch_of(batches)[1]
        counts += np.bincount(labels, minlength=50)
        # 64 independent draws of 50 leave 27.5% of the images out.
        assert 25 < len(set(labels.tolist())) < 46
    assert counts.sum() == 50 * 64
    assert counts.min() > 30  # 64 expected
    assert counts.max() < 105
    assert len(epoch_of(make(images(48), batch_size=16, sampling="replacement"))[1]) == 48
    longer = make(data, batch_size=16, sampling="replacement", steps_per_epoch=7)
    assert len(epoch_of(longer)[1]) == 7 * 16
    with pytest.raises(ValueError, match="is for images that are drawn with replacement. .*=7, sa"):
        make(data, steps_per_epoch=7)


def test_neither_is_the_data_itself(make):
    data = images(10)
    batches = make(data, augmentation=None, sampling="sequence", batch_size=4)
    assert [len(batches[i][1]) for i in range(3)] == [4, 4, 2]
    np.testing.assert_array_equal(epoch_of(batches)[0], data.images)
    np.testing.assert_array_equal(epoch_of(batches)[1], data.labels)


def test_each_epoch_has_every_image_once_in_an_order_of_its_own(make):
    batches = make(images(50), batch_size=8)
    orders = []
    for _ in range(3):
        orders.append(epoch_of(batches)[1].tolist())
        batches.on_epoch_end()
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    batches.epoch = 1
    assert epoch_of(batches)[1].tolist() == orders[1]


def test_a_batch_depends_on_seed_epoch_and_index_alone(make):
    def batch(seed, epoch, index, disturb=False):
        batches = make(images(64), batch_size=16, seed=seed)
        batches.epoch = epoch
        if disturb:
            np.random.seed(0)  # noqa: NPY002
            keras.utils.set_random_seed(4)
            _ = batches[3], batches[0]
        return [array(part) for part in batches[index]]

    x, y = batch(1, 2, 1)
    for a, b in zip((x, y), batch(1, 2, 1, disturb=True), strict=True):
        np.testing.assert_array_equal(a, b)
    for other in ((2, 2, 1), (1, 3, 1), (1, 2, 2)):
        assert (batch(*other)[1] != y).any()
    last = array(make(images(64), batch_size=16)[-1][1])
    np.testing.assert_array_equal(last, batch(0, 0, 3)[1])


def test_augmentation_differs_where_the_order_does_not(make):
    data = Images(images(1).images.repeat(32, axis=0), np.zeros(32, int))
    batches = make(data, batch_size=16, sampling="sequence")
    first, second = array(batches[0][0]), array(batches[1][0])
    batches.on_epoch_end()
    assert (first != second).any()
    assert (first != array(batches[0][0])).any()


def test_normalisation_and_data_formats():
    seen = []

    def halve(x, data_format):
        seen.append((x.dtype, data_format))
        return x.astype("float32") / 2

    last, first = (
        AugmentedImages(images(20), halve, 5, MOVES, data_format=f"channels_{where}")[2]
        for where in ("last", "first")
    )
    assert seen == [(np.uint8, "channels_last")] * 2
    assert first[0].shape == (5, 3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(np.moveaxis(first[0], 1, -1), last[0])
    plain = AugmentedImages(images(20), as_it_is, 5, MOVES, data_format="channels_last")
    np.testing.assert_array_equal(last[0] * 2, plain[2][0])
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
    batches = Recording(images(40), scale, augmentation=MOVES, workers=workers, **kwargs)
    small_model().fit(batches, epochs=3, verbose=0, shuffle=False, callbacks=[SetEpoch(batches)])
    plain = AugmentedImages(images(40), scale, augmentation=MOVES, **kwargs)
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
        ({"sampling": "random"}, "sampling must be one of .*'replacement'.* Received: .*'random'"),
        ({"seed": -1}, "seed must be an integer of at least 0. Received: -1"),
        ({"data_format": "NHWC"}, "data_format must be one of .* Received: 'NHWC'"),
    ],
)
def test_bad_arguments(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**{"data": images(2), **arguments})


def test_a_batch_that_is_not_there(make):
    with pytest.raises(IndexError, match="Batch 2 of 2 batches"):
        make(images(8), batch_size=4)[2]
