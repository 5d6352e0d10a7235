"""Colours of photographs: against torchvision's formulas by hand, colorsys, and distributions."""

import colorsys

import numpy as np
import pytest
from scipy import stats

from keras_mg.datasets.photo_colors import (
    ColorJitter,
    HSLJitter,
    PCALighting,
    hls_to_rgb,
    rgb_to_hls,
)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (6, 5, 3)).astype("float32")


def gray(image):
    return 0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_each_blends_with_its_own_image(kind, image):
    others = {
        "brightness": np.zeros_like(image),
        "contrast": np.full_like(image, gray(image).mean()),
        "saturation": np.repeat(gray(image)[..., None], 3, -1),
    }
    other = others[kind]
    jitter = ColorJitter(**{name: 0.4 if name == kind else 0 for name in others})
    amounts = []
    for seed in range(500):
        made = jitter(image, np.random.default_rng(seed))
        difference = (image - other).ravel()
        amount = float((made - other).ravel() @ difference / (difference @ difference))
        np.testing.assert_allclose(made, amount * image + (1 - amount) * other, atol=2e-3)
        amounts.append(amount)
    assert stats.kstest(amounts, stats.uniform(0.6, 0.8).cdf).pvalue > 1e-4


def test_the_order_is_random(image):
    """Each result is that of one of six orders, and all occur equally often."""

    def blend(x, kind, a):
        others = (np.zeros_like(x), np.full_like(x, gray(x).mean()), gray(x)[..., None])
        return a * x + (1 - a) * others[kind]

    orders = []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        order, expected = rng.permutation(3), image.astype("float64")
        for kind in order:
            expected = blend(expected, kind, rng.uniform(0.6, 1.4))
        made = ColorJitter()(image, np.random.default_rng(seed))
        np.testing.assert_allclose(made, expected, atol=1e-2)
        orders.append(tuple(order.tolist()))
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-4


def test_lighting(image):
    """The colour that is added has the covariance of the published figures, by their product."""
    values = np.array([0.2175, 0.0188, 0.0045])
    vectors = np.array(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    added = np.array(
        [PCALighting()(image, np.random.default_rng(seed)) - image for seed in range(4000)]
    )
    assert np.ptp(added, axis=(1, 2)).max() < 1e-3  # the same for all pixels
    colors = added[:, 0, 0] / 255
    expected = vectors @ np.diag((0.1 * values) ** 2) @ vectors.T
    np.testing.assert_allclose(colors.mean(0), 0, atol=1.5e-3)
    np.testing.assert_allclose(np.cov(colors.T), expected, atol=0.07 * expected.max())


def test_hls_is_that_of_the_standard_library(image):
    for pixel in (image / 255).reshape(-1, 3):
        h, l, s = (float(x) for x in rgb_to_hls(pixel))  # noqa: E741
        assert (h, l, s) == pytest.approx(colorsys.rgb_to_hls(*map(float, pixel)), abs=1e-5)
        np.testing.assert_allclose(
            hls_to_rgb(np.float32(h), np.float32(l), np.float32(s)),
            colorsys.hls_to_rgb(h, l, s),
            atol=1e-5,
        )
    for pixel in ([0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 1]):
        back = hls_to_rgb(*rgb_to_hls(np.array(pixel, "float32")))
        np.testing.assert_allclose(back, pixel, atol=1e-6)


def test_hsl_moves_the_whole_image(image):
    moved = []
    for seed in range(400):
        made = HSLJitter()(image, np.random.default_rng(seed))
        assert made.min() >= -1e-3
        assert made.max() <= 255.001
        rng = np.random.default_rng(seed)
        h, s, l = (int(rng.integers(-m, m, endpoint=True)) for m in (36, 50, 50))  # noqa: E741
        moved.append((h, s, l))
        y, x = seed % 6, seed % 5
        hue, lightness, saturation = colorsys.rgb_to_hls(*(image[y, x] / 255).tolist())
        expected = colorsys.hls_to_rgb(
            min(max(hue + h / 180, 0), 1),
            min(max(lightness + l / 255, 0), 1),
            min(max(saturation + s / 255, 0), 1),
        )
        np.testing.assert_allclose(made[y, x] / 255, expected, atol=1e-4)
    for values, most in zip(np.array(moved).T, (36, 50, 50), strict=True):
        assert -most <= values.min() < -most + 3
        assert most - 3 < values.max() <= most
        assert stats.kstest(values, stats.uniform(-most - 0.5, 2 * most + 1).cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ColorJitter(contrast=-0.1), "contrast must be at least 0. Received: -0.1"),
        (lambda: PCALighting(-1), "std must be at least 0. Received: -1"),
        (lambda: HSLJitter(hue=1.5), "hue must be an integer from 0. Received: 1.5"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
