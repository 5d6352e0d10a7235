"""Normalisation: published statistics as they are, the mean image from the training images."""

import keras
import numpy as np
import pytest

from keras_mg.datasets import (
    ChannelStatistics,
    MeanImage,
    Normalizer,
    load_preprocessing,
    normalization,
)
from tests.support.crops import HEIGHT, WIDTH, images

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_mean_image_is_that_of_the_images_it_is_fitted_to(monkeypatch):
    monkeypatch.setattr(normalization, "_CHUNK", 7)  # 25 images: three chunks and a part
    x = images(25).images
    normalizer = MeanImage().fit(x)
    assert normalizer.mean.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(normalizer.mean, x.mean(0), rtol=1e-6)
    # As the study takes it: of all values around their common mean, before the mean image is off.
    assert float(normalizer.std) == pytest.approx(x.std(), rel=1e-6)
    got = normalizer(x, data_format="channels_last")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, (x - x.mean(0)) / x.std(), atol=1e-5)


def test_published_statistics_do_not_look_at_the_images():
    statistics = ChannelStatistics((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    pair = [statistics.fit(images(4, seed).images) for seed in (0, 1)]
    x = images(3, 2).images
    expected = (x - np.array([1.0, 2.0, 3.0])) / np.array([4.0, 5.0, 6.0])
    for normalizer in pair:
        np.testing.assert_allclose(normalizer(x, "channels_last"), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [MeanImage(), ChannelStatistics((9.0, 8.0, 7.0), (3.0,) * 3)])
def test_tensors_and_data_formats(kind):
    x = images(6).images
    normalizer = kind.fit(x)
    expected = normalizer(x, "channels_last")
    first = np.moveaxis(x, -1, 1)
    np.testing.assert_array_equal(normalizer(first, "channels_first"), np.moveaxis(expected, -1, 1))
    for given, data_format in ((x, "channels_last"), (first, "channels_first")):
        tensor = normalizer(keras.ops.convert_to_tensor(given.copy()), data_format)
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(tensor), normalizer(given, data_format)
        )
    np.testing.assert_array_equal(normalizer(x[0], "channels_last"), expected[0])


def test_what_is_stored_normalises_as_before(tmp_path):
    x = images(6).images
    normalizer = MeanImage().fit(x)
    np.savez(tmp_path / "stored.npz", **normalizer.arrays)
    again = Normalizer.load(tmp_path / "stored.npz")
    np.testing.assert_array_equal(again(x, "channels_last"), normalizer(x, "channels_last"))


def _damaged(content):
    return content[:-60] + bytes(8) + content[-52:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: b"text", "it is no archive"),
        (lambda content: content[:-30], "it is no archive"),
        (_damaged, "BadZipFile|OSError|ValueError"),
    ],
)
def test_what_cannot_be_read(tmp_path, change, words):
    path = tmp_path / "stored.npz"
    np.savez(path, mean=np.zeros(3), std=np.ones(3))
    path.write_bytes(change(path.read_bytes()))
    for load in (Normalizer.load, load_preprocessing):
        with pytest.raises(ValueError, match=f"stored.npz' is no .npz file of numbers .*({words})"):
            load(path)


@pytest.mark.parametrize("arrays", [{"a": np.ones(3)}, {"mean": np.ones(3)}])
def test_other_arrays(tmp_path, arrays):
    np.savez(tmp_path / "stored.npz", **arrays)
    for load in (Normalizer.load, load_preprocessing):
        with pytest.raises(ValueError, match=f"holds {next(iter(arrays))}; expected"):
            load(tmp_path / "stored.npz")


def test_images_of_another_shape():
    normalizer = MeanImage().fit(images(6).images)
    message = r"shape of the mean, \(7, 5, 3\) \(channels_last.*Received shape: \(2, 8, 8, 3\)"
    with pytest.raises(ValueError, match=message):
        normalizer(np.zeros((2, 8, 8, 3)), "channels_last")
    with pytest.raises(ValueError, match=r"shape of the mean, \(3, 7, 5\) \(channels_first"):
        normalizer(np.zeros((2, 3, 8, 8)), "channels_first")
    with pytest.raises(ValueError, match=r"shape of the mean, \(1, 1, 3\)"):
        Normalizer([1.0] * 3, [1.0] * 3)(np.zeros((2, 8, 8, 1)), "channels_last")
