"""The scattered digits: what is drawn, what is true, what repeats."""

import builtins

import keras
import numpy as np
import pytest
from scipy import ndimage

from keras_mg.datasets.digits import (
    INK_THRESHOLD,
    SPLITS,
    Digits,
    DigitScatterer,
    ScatteredDigits,
    load_digits,
    split_digits,
)


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def one(digits, **kwargs):
    """A scatterer of canvases with exactly one digit each, always the first one."""
    first = Digits(digits.images[:1], digits.labels[:1])
    return DigitScatterer(first, digits_per_canvas=(1, 1), **kwargs)


def test_load_digits(digits):
    assert digits.images.shape == (1797, 8, 8)
    assert digits.images.dtype == np.float32
    assert (digits.images.min(), digits.images.max()) == (0.0, 1.0)
    assert np.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_missing_scikit_learn_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"scikit-learn.*extra `data`: pip install \"keras-mg\["):
        load_digits()


def test_split_is_disjoint_complete_and_holds_every_class(digits):
    # Numbered images tell which digit went where.
    numbered = np.arange(1797, dtype="float32")[:, None, None] * np.ones((1, 8, 8), "float32")
    parts = split_digits(Digits(numbered, digits.labels), seed=3)
    assert tuple(parts) == ("train", "validation", "test")
    rows = {name: part.images[:, 0, 0].astype(int).tolist() for name, part in parts.items()}
    assert sorted(np.concatenate(list(rows.values()))) == list(range(1797))
    for name, fraction in (("train", 0.65), ("validation", 0.10), ("test", 0.25)):
        np.testing.assert_array_equal(parts[name].labels, digits.labels[rows[name]])
        share = np.bincount(parts[name].labels) / np.bincount(digits.labels)
        np.testing.assert_allclose(share, fraction, atol=0.01)


def test_split_depends_on_the_seed_alone(digits):
    again = split_digits(seed=0)["test"].images
    np.testing.assert_array_equal(split_digits(digits, seed=0)["test"].images, again)
    assert (split_digits(digits, seed=1)["test"].images != again).any()


def test_drawing_equals_scipy(digits):
    """Turned by a known angle and enlarged by a known factor, against scipy's own look-up."""
    scatterer = one(digits, size=33, rotation=0.0, scale=(3.0, 3.0))
    angle, factor = np.radians(20.0), 3.0
    patch = scatterer._render(np.array([[0]]), np.array([[angle]]), np.array([[8 * factor]]))[0, 0]
    fine = scatterer._fine[0].astype("float64")
    step = 4 / factor  # fine pixels per canvas pixel
    matrix = step * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    side = patch.shape[0]
    middle = np.array([side // 2, side // 2])
    centre = (np.array(fine.shape) - 1) / 2
    expected = ndimage.affine_transform(
        fine, matrix, centre - matrix @ middle, output_shape=patch.shape, order=1
    )
    assert patch.max() > 0.9
    np.testing.assert_allclose(patch, expected, atol=2e-3)


def test_upright_digit_shrunk_again_is_the_digit_of_the_data_set(digits):
    scatterer = one(digits, size=64, rotation=0.0, scale=(4.0, 4.0))
    ink, _ = scatterer.draw(1, np.random.default_rng(0))
    rows, columns = np.nonzero(ink[0] > 0.05)
    box = ink[0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    digit = digits.images[0]
    used = np.nonzero(digit > 0.05)
    digit = digit[used[0].min() : used[0].max() + 1, used[1].min() : used[1].max() + 1]
    small = ndimage.zoom(
        box, np.array(digit.shape) / box.shape, order=1, grid_mode=True, mode="nearest"
    )
    assert np.corrcoef(small.ravel(), digit.ravel())[0, 1] > 0.9


def test_rotation_turns_the_digit(digits):
    upright = one(digits, rotation=0.0)
    still = upright._render(np.array([[0]]), np.array([[0.0]]), np.array([[24.0]]))[0, 0]
    turned = upright._render(np.array([[0]]), np.array([[np.pi / 2]]), np.array([[24.0]]))[0, 0]
    np.testing.assert_allclose(turned, np.rot90(still, -1), atol=1e-4)


def test_target_is_the_ink_of_its_class(digits):
    ink, maps = one(digits).draw(20, np.random.default_rng(1))
    label = digits.labels[0]
    np.testing.assert_array_equal(maps[:, label], ink >= INK_THRESHOLD)
    assert maps[:, label].any((1, 2)).all()
    assert not np.delete(maps, label, axis=1).any()


def test_digits_per_canvas_and_sizes(digits):
    """Far apart on a huge canvas, the digits can be counted and measured."""
    scatterer = DigitScatterer(digits, size=256, digits_per_canvas=(3, 5), overlap=0.0)
    ink, maps = scatterer.draw(24, np.random.default_rng(2))
    counts, heights = [], []
    for canvas, each in zip(ink, maps, strict=True):
        labelled, _ = ndimage.label(ndimage.binary_dilation(canvas > 0.02, iterations=4))
        found = ndimage.find_objects(labelled)
        counts.append(len(found))
        heights += [max(s.stop - s.start for s in box) - 8 for box in found]
        assert 1 <= each.any((1, 2)).sum() <= 5
    assert set(counts) <= {1, 2, 3, 4, 5}
    assert {3, 4, 5} <= set(counts)
    # Ten pixels of frame at scale 3, turned by 30 degrees, is the most; touching digits are rare.
    assert np.quantile(heights, 0.9) <= 36
    assert np.median(heights) >= 14


def test_whole_digits_anywhere_inside_the_canvas(digits):
    """A digit of one size has the same mass of ink wherever it lies: nothing is cut off."""
    ink, maps = one(digits, scale=(3.0, 3.0)).draw(400, np.random.default_rng(3))
    mass = ink.sum((1, 2))
    np.testing.assert_allclose(mass, mass.mean(), rtol=0.02)
    covered = maps.any((0, 1))
    assert covered.any(1)[4:-4].all()
    assert covered.any(0)[8:-8].all()


def test_overlap_is_limited(digits):
    roomy = DigitScatterer(digits, size=96, overlap=0.1)
    _, maps = roomy.draw(40, np.random.default_rng(4))
    shared = (maps.sum(1) > 1).sum((1, 2)) / maps.any(1).sum((1, 2))
    # Three digits of equal size with a tenth on the others: at most a tenth of all.
    assert shared.max() <= 0.12
    free = DigitScatterer(digits, size=64, overlap=1.0)
    _, crowded = free.draw(40, np.random.default_rng(4))
    assert (crowded.sum(1) > 1).mean() > 2 * (maps.sum(1) > 1).mean()


def test_ink_adds_up_clipped(digits):
    crowded = DigitScatterer(digits, size=40, digits_per_canvas=(8, 8), overlap=1.0)
    ink, _ = crowded.draw(20, np.random.default_rng(5))
    assert ink.dtype == np.float32
    assert (ink.min(), ink.max()) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"size": 20}, r"`size` must be at least \d+, the side of the largest.*Received: size=20"),
        ({"digits_per_canvas": (0, 3)}, r"`digits_per_canvas` must be .*Received: \(0, 3\)"),
        ({"digits_per_canvas": (5, 3)}, r"`digits_per_canvas` must be .*Received: \(5, 3\)"),
        ({"scale": (3.0, 2.0)}, r"`scale` must be .*Received: \(3.0, 2.0\)"),
        ({"rotation": -5.0}, "`rotation` must be from 0 to 180 degrees. Received: -5.0"),
        ({"overlap": 1.5}, "`overlap` must be from 0 to 1. Received: 1.5"),
        ({"tries": 0}, "tries must be a positive integer. Received: tries=0"),
    ],
)
def test_bad_scatter_arguments(digits, kwargs, message):
    with pytest.raises(ValueError, match=message):
        DigitScatterer(digits, **kwargs)


def test_bad_digits():
    with pytest.raises(ValueError, match=r"shape \(n, 8, 8\). Received: \(2, 28, 28\)"):
        DigitScatterer(Digits(np.zeros((2, 28, 28)), np.zeros(2)))
    with pytest.raises(ValueError, match="holds no digit"):
        DigitScatterer(Digits(np.zeros((0, 8, 8)), np.zeros(0)))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"split": "tets"}, r"split must be one of \('train', 'validation', 'test'\).*'tets'"),
        ({"canvases": 0}, "canvases must be a positive integer. Received: canvases=0"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer. Received: batch_size=2.5"),
        ({"data_format": "NHWC"}, "data_format must be one of .*Received: 'NHWC'"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ScatteredDigits(**kwargs)


@pytest.mark.parametrize("split", SPLITS)
def test_shapes_and_the_partial_batch(split):
    data = ScatteredDigits(split, canvases=11, batch_size=4, data_format="channels_last")
    assert len(data) == 3
    x, y = data[0]
    assert (x.shape, y.shape) == ((4, 64, 64, 1), (4, 64, 64, 10))
    assert (x.dtype, y.dtype) == (np.float32, np.float32)
    assert data[2][0].shape == (3, 64, 64, 1)
    np.testing.assert_array_equal(data[-1][0], data[2][0])
    with pytest.raises(IndexError, match="Batch 3 of 3"):
        data[3]
    assert len(list(data)) == 3


@pytest.mark.parametrize("split", ["train", "test"])
def test_data_formats_hold_the_same(split):
    last = ScatteredDigits(split, 6, batch_size=4, data_format="channels_last")[1]
    first = ScatteredDigits(split, 6, batch_size=4, data_format="channels_first")[1]
    assert first[1].shape == (2, 10, 64, 64)
    for a, b in zip(last, first, strict=True):
        np.testing.assert_array_equal(a, np.moveaxis(b, 1, -1))


def test_default_data_format_is_that_of_keras():
    keras.config.set_image_data_format("channels_first")
    assert ScatteredDigits(canvases=1)[0][0].shape == (1, 1, 64, 64)


def test_training_canvases_are_new_in_every_epoch_and_reproducible():
    def epochs(seed):
        data = ScatteredDigits("train", canvases=4, batch_size=2, seed=seed)
        seen = []
        for _ in range(2):
            seen += [x for x, _ in data]
            data.on_epoch_end()
        return np.stack(seen)

    seen = epochs(seed=1)
    np.testing.assert_array_equal(seen, epochs(seed=1))
    assert (seen != epochs(seed=2)).any((1, 2, 3, 4)).all()
    for a in range(len(seen)):
        for b in range(a):
            assert (seen[a] != seen[b]).any()


def test_fixed_canvases_stay_whatever_the_epoch_and_the_batch_size():
    data = ScatteredDigits("test", canvases=37, batch_size=5, data_format="channels_last")
    x, y = (np.concatenate(arrays) for arrays in zip(*data, strict=True))
    data.on_epoch_end()
    other = ScatteredDigits("test", canvases=40, batch_size=40, data_format="channels_last")[0]
    again = (np.concatenate(arrays) for arrays in zip(*data, strict=True))
    for a, b, c in zip((x, y), again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c[:37])
    assert len(np.unique(x.reshape(37, -1), axis=0)) == 37


def test_splits_draw_different_canvases():
    canvases = [ScatteredDigits(s, 4, batch_size=4, fresh=False)[0][0] for s in SPLITS]
    for a in range(3):
        for b in range(a):
            assert (canvases[a] != canvases[b]).any((1, 2, 3)).all()


def test_fresh_can_be_asked_for_and_refused():
    fixed = ScatteredDigits("train", 4, batch_size=4, fresh=False)
    before = fixed[0][0]
    fixed.on_epoch_end()
    np.testing.assert_array_equal(before, fixed[0][0])
    fresh = ScatteredDigits("validation", 4, batch_size=4, fresh=True)
    before = fresh[0][0]
    fresh.on_epoch_end()
    assert (before != fresh[0][0]).any()


class _Losses(keras.callbacks.Callback):
    """The loss of every batch, from the running means that Keras reports."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_epoch_begin(self, epoch, logs=None):
        self.before = 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = logs["loss"] * (batch + 1)
        self.losses.append(total - self.before)
        self.before = total


@pytest.mark.parametrize(
    "workers",
    [{"workers": 1}, {"workers": 3}, {"workers": 2, "use_multiprocessing": True}],
    ids=["one", "threads", "processes"],
)
def test_every_step_of_fit_gets_a_new_canvas_with_any_workers(workers):
    if workers.get("use_multiprocessing") and keras.backend.backend() == "jax":
        pytest.skip("Keras forks its worker processes, and a process that runs JAX must not fork")
    inputs = keras.Input((64, 64, 1))
    outputs = keras.layers.Conv2D(10, 5, padding="same", kernel_initializer="ones")(inputs)
    model = keras.Model(inputs, outputs)
    # With a learning rate of zero the loss of a batch is a figure of its canvases alone.
    model.compile(keras.optimizers.SGD(0.0), loss="mse")

    def dataset(**kwargs):
        return ScatteredDigits("train", 8, batch_size=2, data_format="channels_last", **kwargs)

    callback = _Losses()
    model.fit(dataset(**workers), epochs=3, verbose=0, callbacks=[callback])
    seen = np.array(callback.losses)
    # All that a dataset of this seed can give: batch i of epoch e.
    data = dataset()
    possible = []
    for _ in range(5):
        possible += [float(model.test_on_batch(*batch)) for batch in data]
        data.on_epoch_end()
    distance = np.abs(seen[:, None] - np.array(possible))
    assert len(seen) == 12
    assert distance.min(1).max() < 1e-3
    assert len(set(distance.argmin(1).tolist())) == 12


def test_fit_with_one_worker_is_reproducible():
    def first_weights(seed):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((64, 64, 1))
        outputs = keras.layers.Conv2D(10, 3, padding="same", activation="sigmoid")(inputs)
        model = keras.Model(inputs, outputs)
        model.compile("sgd", loss="binary_crossentropy")
        data = ScatteredDigits("train", 8, batch_size=2, seed=seed, data_format="channels_last")
        model.fit(data, epochs=2, verbose=0)
        return model.get_weights()[0]

    np.testing.assert_array_equal(first_weights(1), first_weights(1))
    assert (first_weights(1) != first_weights(2)).any()
