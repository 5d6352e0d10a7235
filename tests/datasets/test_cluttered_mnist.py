"""The canvases of cluttered MNIST: what is drawn, from which distribution, and that it repeats."""

import math
import pickle

import numpy as np
import pytest
from scipy import stats

from keras_mg.datasets import cluttered_mnist as cm
from keras_mg.datasets.canvas_batches import CanvasBatches
from keras_mg.datasets.mnist_digits import MNISTDigits, load_mnist_digits

# By task: scale, largest rotation and shear in degrees, scattered, sizes, maps; of the paper.
PAPER = {
    "seg": ((0.5, 1.25), 60, 0, True, (10_000, 1_000, 1_000), 10),
    "spt": ((0.5, 1.5), 60, 60, True, (50_000, 10_000, 10_000), 1),
    "rot": ((1, 1), 60, 0, False, (50_000, 10_000, 10_000), 1),
    "sca": ((0.5, 1.5), 0, 0, False, (50_000, 10_000, 10_000), 1),
    "tra": ((1, 1), 0, 0, True, (50_000, 10_000, 10_000), 1),
    "aff": ((1, 1), 0, 60, False, (50_000, 10_000, 10_000), 1),
}


@pytest.fixture(scope="module")
def digits():
    return load_mnist_digits("embedded")["train"]


class Watched(cm.Canvases):
    """Canvases that remember their digits, and what was drawn for each."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.places = []

    def _place(self, ink, canvas, rng):
        placed = super()._place(ink, canvas, rng)
        self.places.append(placed)
        return placed


@pytest.fixture
def drawn(monkeypatch):
    """Every operation that was called, with its arguments."""
    calls = []
    for name in ("rotate", "shear", "scale"):
        real = getattr(cm, name)

        def watched(image, *args, name=name, real=real, **kwargs):
            calls.append((name, *args, *kwargs.values()))
            return real(image, *args, **kwargs)

        monkeypatch.setattr(cm, name, watched)
    return calls


def test_the_tasks_are_the_papers():
    assert list(cm.TASKS) == list(PAPER)
    for name, task in cm.TASKS.items():
        found = task.scale, task.rotation, task.shear, task.scattered, task.sizes, task.maps
        assert found == PAPER[name], name
    assert cm.TASKS["seg"].digits == (5.0, 0.5)
    assert (cm.MEAN, cm.STD, cm.CANVAS, cm.INK_THRESHOLD) == (0.1141, 0.2746, 64, 0.3)


@pytest.mark.parametrize("task", list(PAPER))
def test_what_is_drawn_is_uniform_between_the_papers_bounds(task, digits, drawn):
    (least, most), rotation, shear, scattered, _, _ = PAPER[task]
    canvases = Watched(task, digits)
    count = 60 if task == "seg" else 400
    for i in range(count):
        canvases[i]
    angles = [args[0] for name, *args in drawn if name == "rotate"]
    shears = [args for name, *args in drawn if name == "shear"]
    sides = np.array([args[0] for name, *args in drawn if name == "scale"])
    order = [name for name, *_ in drawn]
    assert not rotation or order[0] == "rotate"
    # A wrong distribution of these sizes gives p far below 1e-4; a right one does once in 10,000.
    for values, bound in ((angles, rotation), ([angle for angle, _ in shears], shear)):
        assert bool(len(values)) == bool(bound)
        if bound:
            uniform = stats.uniform(-math.radians(bound), 2 * math.radians(bound))
            assert stats.kstest(values, uniform.cdf).pvalue > 1e-4
    if shear:
        axes = [axis for _, axis in shears]
        assert stats.binomtest(sum(axes), len(axes)).pvalue > 1e-4
    if least == most:
        assert set(sides) == {28}
    else:
        # ceil(28 s): side k has probability (k - 28 least) / ... of the factors in (k - 1, k] / 28.
        assert sides.min() > 28 * least
        assert sides.max() <= 28 * most
        spread = stats.uniform(28 * least, 28 * (most - least))
        edges = np.linspace(28 * least, 28 * most, 8).round()
        observed = np.histogram(sides, edges + 0.5)[0]
        expected = len(sides) * np.diff(spread.cdf(edges))
        if task != "seg":  # a small digit finds a place more easily: that is the paper's rule
            assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > (
                1e-4
            )
    for digit, y, x in canvases.places:
        assert digit.max() == 1
        if scattered:
            assert 0 <= y <= 64 - len(digit)
            assert 0 <= x <= 64 - len(digit)
        else:
            assert y == x == cm.centre(len(digit), 64)
    if scattered and task != "seg":
        share = [at / (64 - len(digit)) for digit, *place in canvases.places for at in place]
        assert stats.kstest(share, stats.uniform(-0.01, 1.02).cdf).pvalue > 1e-5


def test_segmentation_by_brute_force(digits):
    """Numbers, overlap, sum and maps of each canvas, pixel by pixel from its placed digits."""
    canvases = Watched("seg", digits)
    numbers, used = [], 0
    for i in range(40):
        image, target = canvases[i]
        placed = canvases.places[used:]
        used += len(placed)
        numbers.append(len(placed))
        ink, maps = np.zeros((64, 64)), np.zeros((64, 64, 10))
        labels = [digits.labels[row] for row in sequence(canvases, used)[used - len(placed) :]]
        for (digit, y, x), label in zip(placed, labels, strict=True):
            own = on_others = 0
            for row in range(len(digit)):
                for column in range(len(digit)):
                    own += digit[row, column] > 0
                    on_others += digit[row, column] > 0 and ink[y + row, x + column] > 0
            assert on_others <= 0.3 * own
            ink[y : y + len(digit), x : x + len(digit)] += digit
            maps[y : y + len(digit), x : x + len(digit), label] += digit
        np.testing.assert_array_equal(image[..., 0], np.minimum(ink, 1).astype("float32"))
        np.testing.assert_array_equal(target, maps >= 0.3)
    assert set(numbers) <= {4, 5, 6, 7}


def sequence(canvases, count):
    """The rows of the first digits that canvases are made of."""
    size = len(canvases.digits.labels)
    return [canvases._order(k // size)[k % size] for k in range(count)]


def test_numbers_of_digits_are_normal_and_rounded_up(digits):
    canvases = cm.Canvases("seg", digits)
    numbers = np.array([canvases._share(i)[1] for i in range(5000)])
    normal = stats.norm(5, 0.5)
    kinds = np.arange(4, 8)
    expected = 5000 * (normal.cdf(kinds) - normal.cdf(kinds - 1))
    observed = np.array([(numbers == kind).sum() for kind in kinds])
    assert observed.sum() >= 4998
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4
    begins = np.array([canvases._share(i)[0] for i in range(5000)])
    np.testing.assert_array_equal(begins, np.cumsum(numbers) - numbers)


def test_each_digit_once_before_any_again(digits):
    few = MNISTDigits(digits.images[:50], digits.labels[:50])
    for task in ("seg", "rot"):
        rows = sequence(cm.Canvases(task, few), 150)
        passes = [rows[i : i + 50] for i in (0, 50, 100)]
        assert all(sorted(each) == list(range(50)) for each in passes)
        assert passes[0] != passes[1] != passes[2]


@pytest.mark.parametrize("task", ["spt", "tra"])
def test_the_target_is_the_untouched_digit_in_the_middle(task, digits):
    canvases = cm.Canvases(task, digits, "test", seed=5)
    for i, row in enumerate(sequence(canvases, 10)):
        expected = np.zeros((64, 64))
        expected[17:45, 17:45] = digits.images[row] / 255
        np.testing.assert_array_equal(canvases[i][1][..., 0], expected >= 0.3)


def test_a_translated_digit_is_the_digit_over_its_maximum(digits):
    canvases = Watched("tra", digits)
    image, _ = canvases[0]
    ink = digits.images[sequence(canvases, 1)[0]] / 255
    _, y, x = canvases.places[0]
    np.testing.assert_allclose(image[y : y + 28, x : x + 28, 0], ink / ink.max(), atol=1e-7)


def test_a_blank_digit_stays_blank():
    blank = MNISTDigits(np.zeros((1, 28, 28), "uint8"), np.zeros(1, int))
    for task in PAPER:
        image, target = cm.Canvases(task, blank)[0]
        assert not image.any()
        assert not target.any()


def test_an_end_where_no_place_is_left(digits, monkeypatch):
    monkeypatch.setattr(cm, "_SCALES", 2)
    full = MNISTDigits(np.full((1, 28, 28), 255, "uint8"), np.zeros(1, int))
    crowded = cm.dataclasses.replace(
        cm.TASKS["seg"], digits=(40.0, 0.1), overlap=0, scale=(1.2, 1.2)
    )
    monkeypatch.setitem(cm.TASKS, "seg", crowded)
    with pytest.raises(RuntimeError, match="at most 0% of its pixels; in 2 scales of 10 positions"):
        cm.Canvases("seg", full)[0]


def test_a_canvas_depends_on_seed_task_part_and_number_alone(digits):
    first = cm.Canvases("seg", digits, "train", seed=3)
    in_order = [first[i] for i in range(6)]
    again = pickle.loads(pickle.dumps(first))
    for i in (5, 0, 3):
        for one, other in zip(in_order[i], again[i], strict=True):
            assert one.tobytes() == other.tobytes()
    for other in (
        cm.Canvases("seg", digits, "train", seed=4),
        cm.Canvases("seg", digits, "test", seed=3),
        cm.Canvases("seg", digits, "train", seed=2**64 - 1),
    ):
        assert (other[0][0] != in_order[0][0]).any()


def test_an_endless_stream_for_fit(digits):
    canvases = cm.Canvases("spt", digits)
    data = CanvasBatches(canvases, batch_size=4, steps_per_epoch=3, data_format="channels_first")
    data.epoch = 7
    x, y = data[2]
    assert (len(data), x.shape, y.shape) == (3, (4, 1, 64, 64), (4, 1, 64, 64))
    expected = [canvases[i] for i in range(7 * 12 + 8, 7 * 12 + 12)]
    np.testing.assert_allclose(
        x[:, 0], (np.stack([image[..., 0] for image, _ in expected]) - 0.1141) / 0.2746, rtol=1e-6
    )
    np.testing.assert_array_equal(y[:, 0], np.stack([target[..., 0] for _, target in expected]))
    later = CanvasBatches(canvases, 4, 3, data_format="channels_first")
    for _ in range(7):
        later.on_epoch_end()
    np.testing.assert_array_equal(later[2][0], x)


class Stored:
    """What tfds.data_source gives, with the number of each canvas in its first pixel."""

    def __len__(self):
        return 10

    def __getitems__(self, rows):
        image = np.zeros((64, 64, 1), "float32")
        return [{"image": image + row, "target": image.astype("uint8")} for row in rows]


def numbers(data, epochs):
    seen = []
    for epoch in range(epochs):
        data.epoch = epoch
        seen += [np.rint(data[i][0][:, 0, 0, 0] * 0.2746 + 0.1141) for i in range(len(data))]
    return np.concatenate(seen).astype(int).tolist()


def test_stored_canvases_come_each_once_whatever_an_epoch_is():
    rows = numbers(CanvasBatches(Stored(), 4, 2, data_format="channels_last"), epochs=5)  # 40
    assert all(sorted(rows[i : i + 10]) == list(range(10)) for i in range(0, 40, 10))
    assert rows[:10] != rows[10:20]
    assert rows == numbers(CanvasBatches(Stored(), 4, 2, data_format="channels_last"), epochs=5)
    whole = CanvasBatches(Stored(), 4, data_format="channels_last")
    assert [len(whole[i][0]) for i in range(len(whole))] == [4, 4, 2]
    assert sorted(numbers(whole, 1)) == list(range(10))
    assert numbers(CanvasBatches(Stored(), 4, shuffle=False, data_format="channels_last"), 2) == (
        2 * list(range(10))
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: cm.Canvases("rotate", d), "task.*'seg'.*Received: .*'rotate'"),
        (lambda d: cm.Canvases("rot", d, "valid"), "split.*Received: .*'valid'"),
        (lambda d: cm.Canvases("rot", d, seed=-1), "seed must be.*Received: -1"),
        (lambda d: cm.Canvases("rot", d, seed=2**64), "seed must be.*Received: 1844"),
        (lambda d: cm.Canvases("rot", MNISTDigits(*(a[:0] for a in d))), "There is no digit"),
        (lambda d: CanvasBatches(cm.Canvases("rot", d)), "needs steps_per_epoch. Received: .*None"),
        (lambda d: CanvasBatches([]), "There is no canvas"),
        (lambda d: CanvasBatches(Stored(), seed=-2), "seed must be.*Received: -2"),
    ],
)
def test_errors(call, message, digits):
    with pytest.raises(ValueError, match=message):
        call(digits)
    with pytest.raises(IndexError, match="at least 0. Received: -1"):
        cm.Canvases("rot", digits)[-1]
    with pytest.raises(IndexError, match="Batch 3 of 3"):
        CanvasBatches(Stored(), 4)[3]
