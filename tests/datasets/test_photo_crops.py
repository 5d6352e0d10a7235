"""Crops of photographs: by the distributions of their formulas, and by hand."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from keras_mg.datasets.photo_crops import (
    CenterCrop,
    RandomAreaCrop,
    RandomAspectCrop,
    TenCrops,
    ten_crops,
)


@pytest.fixture(scope="module")
def photo():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype("uint8")
    return Image.fromarray(pixels)


def test_area_and_aspect_are_uniform():
    """Of a photograph so large that nearly every attempt fits and rounding does not count."""
    crop, rng = RandomAreaCrop(area=(0.08, 0.5)), np.random.default_rng(0)
    drawn = np.array([crop.draw(rng, 9000, 10000) for _ in range(3000)])
    top, left, height, width = drawn.T
    assert (top >= 0).all()
    assert (top + height <= 9000).all()
    assert (left + width <= 10000).all()
    area = height * width / 9e7
    assert stats.kstest(area, stats.uniform(0.08, 0.42).cdf).pvalue > 1e-4
    # A uniform aspect, its inverse half of the time.
    uniform = stats.uniform(3 / 4, 4 / 3 - 3 / 4).cdf

    def cdf(x):
        return (uniform(x) + 1 - uniform(1 / x)) / 2

    assert stats.kstest(width / height, cdf).pvalue > 1e-4
    for begin, free in ((top, 9000 - height), (left, 10000 - width)):
        assert stats.kstest(begin / free, stats.uniform().cdf).pvalue > 1e-4


def test_a_crop_is_the_part_scaled_by_pillow(photo):
    crop = RandomAreaCrop(16)
    for seed in range(5):
        top, left, height, width = crop.draw(np.random.default_rng(seed), 60, 80)
        part = np.asarray(photo)[top : top + height, left : left + width]
        expected = Image.fromarray(part).resize((16, 16), Image.Resampling.BICUBIC)
        made = crop(photo, np.random.default_rng(seed))
        assert made.dtype == np.uint8
        np.testing.assert_array_equal(made, expected)


def test_where_nothing_fits_the_middle_is_taken():
    """A part of the whole area of a strip can only be the strip."""
    strip = Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 90, 3)).astype("uint8"))
    crop = RandomAreaCrop(10, area=(1, 1))
    assert crop.draw(np.random.default_rng(0), 10, 90) is None
    middle = np.asarray(strip)[:, 40:50]
    np.testing.assert_array_equal(crop(strip, np.random.default_rng(0)), middle)


def test_aspect_crops_are_distributed_as_their_formula():
    crop, rng = RandomAspectCrop(), np.random.default_rng(0)
    drawn = np.array([crop.draw(rng, 4800, 6000) for _ in range(3000)])
    top, left, height, width = drawn.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 4800 + 1e-6).all()
    assert (left + width <= 6000 + 1e-6).all()
    # The scaled photograph is 4800 / (height / 224) high; back from it to s and r.
    high, wide = 224 * 4800 / height, 224 * 6000 / width
    vertical, horizontal = high / 480, wide / 600
    ratio, scale = horizontal / vertical, (horizontal + vertical) / 2
    assert stats.kstest(ratio, stats.uniform(0.75, 0.5).cdf).pvalue > 1e-3
    assert stats.kstest(scale, stats.uniform(0.533, 0.467).cdf).pvalue > 1e-3
    assert high.min() >= 223.99


def test_aspect_crop_reads_its_part(photo):
    crop = RandomAspectCrop(size=60, packed=60, scale=(1, 1), aspect=0)
    top, left, height, width = crop.draw(np.random.default_rng(3), 60, 80)
    assert (top, height, width) == (0, 60, 60)
    expected = np.asarray(photo)[:, round(left) : round(left) + 60]
    np.testing.assert_array_equal(crop(photo, np.random.default_rng(3)), expected)


def test_center_crop(photo):
    scaled = photo.resize((40, 30), Image.Resampling.BICUBIC)
    expected = np.asarray(scaled)[5:25, 10:30]
    np.testing.assert_array_equal(CenterCrop(20, 30)(photo), expected)
    tall = photo.transpose(Image.Transpose.TRANSPOSE)
    assert CenterCrop(20, 30)(tall).shape == (20, 20, 3)


def test_ten_crops(photo):
    image = np.asarray(photo)
    crops = ten_crops(image, 50)
    places = ((5, 15), (0, 0), (0, 30), (10, 0), (10, 30))
    for crop, mirrored, (top, left) in zip(crops[:5], crops[5:], places, strict=True):
        np.testing.assert_array_equal(crop, image[top : top + 50, left : left + 50])
        np.testing.assert_array_equal(mirrored, crop[:, ::-1])
    np.testing.assert_array_equal(TenCrops(50, 60)(photo), crops)
    np.testing.assert_array_equal(TenCrops(50, 60)(photo)[0], CenterCrop(50, 60)(photo))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RandomAreaCrop(0), "size.*Received: .*0"),
        (lambda: RandomAreaCrop(area=(0, 1)), r"area must be.*Received: \(0, 1\)"),
        (lambda: RandomAreaCrop(area=(0.5, 1.5)), r"at most 1.0. Received: \(0.5, 1.5\)"),
        (lambda: RandomAreaCrop(aspect=(2, 1)), r"aspect must be.*Received: \(2, 1\)"),
        (lambda: RandomAspectCrop(scale=(1, 0.5)), r"scale must be.*Received: \(1, 0.5\)"),
        (lambda: RandomAspectCrop(aspect=math.inf), "aspect must be from 0 .*Received: inf"),
        (lambda: CenterCrop(224, 200), "at least size=224. Received: shorter=200"),
        (lambda: ten_crops(np.zeros((4, 9, 3)), 5), r"size=5 must fit.*\(4, 9, 3\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
