"""Contrast normalisation and whitening: by scikit-learn's PCA, on real images, and back again."""

import os

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA

from keras_mg.datasets import (
    ContrastAndZCA,
    MeanImage,
    Normalizer,
    Whitener,
    load_digits,
    load_images,
    load_preprocessing,
)


@pytest.fixture(scope="module")
def images():
    """The 1,797 real digits, with a colour that is a function of place: 8x8x3."""
    ink = 255 * load_digits().images[..., None]
    tint = np.linspace(0.3, 1, 192).reshape(8, 8, 3)
    return np.rint(ink * tint + 20 * (1 - tint)).astype("uint8")


def equal_contrast(images):
    """Of one image after the other, by the formula."""
    rows = []
    for image in images.astype("float64"):
        row = image.ravel() - image.mean()
        rows.append(row / (np.sqrt((row**2).sum()) / 55))
    return np.array(rows)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_it_is_scikit_learns_whitening_turned_back(images, order):
    flat = equal_contrast(images[..., ::-1] if order == "bgr" else images)
    pca = PCA(svd_solver="full").fit(flat)
    # PCA divides by n - 1.
    values = pca.explained_variance_ * (len(flat) - 1) / len(flat)
    turned = (flat - flat.mean(0)) @ pca.components_.T / np.sqrt(values + 0.1)
    expected = (turned @ pca.components_).reshape(images.shape)
    whitener = ContrastAndZCA(order).fit(images)
    np.testing.assert_allclose(whitener(images, "channels_last"), expected, atol=2e-4)


def test_covariance_on_real_images(images):
    """V S V' becomes V S / (S + 0.1) V': 1 where the variance is much more than the bias."""
    flat = equal_contrast(images)
    covariance = np.cov(flat.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    expected = (vectors * (values / (values + 0.1))) @ vectors.T
    whitener = ContrastAndZCA().fit(images)
    y = whitener(images, "channels_last").reshape(len(images), -1).astype("float64")
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(y.T, bias=True), expected, atol=1e-4)
    before = abs(covariance - np.diag(np.diag(covariance))).max()
    assert before > 1  # the pixels were correlated, and strongly
    little = ContrastAndZCA(filter_bias=1e-5).fit(images)
    y = little(images, "channels_last").reshape(len(images), -1).astype("float64")
    used = vectors[:, values > 1e-2]
    np.testing.assert_allclose(
        used.T @ np.cov(y.T, bias=True) @ used, np.eye(used.shape[1]), atol=5e-3
    )


@pytest.mark.slow
@pytest.mark.skipif("TFDS_DATA_DIR" not in os.environ, reason="CIFAR-10 is not prepared")
def test_covariance_on_cifar10():
    images = load_images("cifar10").images[:20000]
    y = ContrastAndZCA("bgr").fit(images)(images, "channels_last").reshape(len(images), -1)
    flat = equal_contrast(images[..., ::-1])
    values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True))
    expected = (vectors * (values / (values + 0.1))) @ vectors.T
    np.testing.assert_allclose(y.T @ y / len(y), expected, atol=1e-3)


def test_inverse(images):
    for order in ("rgb", "bgr"):
        whitener = ContrastAndZCA(order).fit(images)
        y = whitener(images, "channels_last")
        source = images[..., ::-1] if order == "bgr" else images
        np.testing.assert_allclose(
            whitener.inverse(y).reshape(len(y), -1), equal_contrast(source), atol=1e-3
        )
        np.testing.assert_allclose(
            whitener.inverse(y, *whitener.contrast(images)), source, atol=0.02
        )


def test_grey_and_one_channel(images):
    grey = ContrastAndZCA("gray").fit(images)
    y = grey(images, "channels_last")
    assert y.shape == (len(images), 8, 8, 1)
    weighted = images @ np.array([0.299, 0.587, 0.114])
    one = ContrastAndZCA("bgr").fit(images[..., :1])
    assert one(images[..., :1], "channels_last").shape == y.shape
    np.testing.assert_allclose(
        grey.inverse(y).reshape(len(y), -1), equal_contrast(weighted), atol=1e-3
    )


@pytest.mark.parametrize("order", ["rgb", "bgr", "gray"])
def test_tensors_formats_and_single_images(images, order):
    whitener = ContrastAndZCA(order).fit(images)
    y = whitener(images[:5], "channels_last")
    tensor = whitener(keras.ops.convert_to_tensor(images[:5]), "channels_last")
    assert keras.ops.is_tensor(tensor)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(tensor), y, atol=1e-5)
    first = whitener(np.moveaxis(images[:5], -1, 1), "channels_first")
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), y, atol=1e-5)
    np.testing.assert_allclose(whitener(images[3], "channels_last"), y[3], atol=1e-5)
    assert images.dtype == np.uint8


def test_an_image_of_one_colour_stays_finite(images):
    whitener = ContrastAndZCA().fit(images)
    flat = np.full((1, 8, 8, 3), 77, "uint8")
    y = whitener(flat, "channels_last")
    np.testing.assert_allclose(y.ravel(), -whitener.mean @ whitener.whitening, atol=1e-4)


def test_a_run_stores_it_and_reads_it(images, tmp_path):
    for kind, fitted in (
        (Whitener, ContrastAndZCA("bgr").fit(images)),
        (Whitener, ContrastAndZCA("gray").fit(images)),
        (Normalizer, MeanImage().fit(images)),
    ):
        np.savez(tmp_path / "preprocessing.npz", **fitted.arrays)
        loaded = load_preprocessing(tmp_path / "preprocessing.npz")
        assert type(loaded) is kind
        for one, other in zip(
            loaded(images[:9], "channels_last"), fitted(images[:9], "channels_last"), strict=True
        ):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ContrastAndZCA("hsv"), "order.*Received: .*'hsv'"),
        (lambda x: ContrastAndZCA(filter_bias=0.0), "filter_bias must be above 0. Received: 0.0"),
        (lambda x: ContrastAndZCA().fit(x[:0]), r"must be some.*Received shape: \(0, 8, 8, 3\)"),
        (lambda x: ContrastAndZCA().fit(x[..., :2]), r"Received shape: \(1797, 8, 8, 2\)"),
        (
            lambda x: ContrastAndZCA().fit(x[:9])(x[:, :7], "channels_last"),
            r"must have 64 pixels.*Received shape: \(1797, 7, 8, 3\)",
        ),
        (lambda x: Whitener(np.zeros(12), np.eye(11), np.arange(3)), "must be square and of the"),
    ],
)
def test_errors(call, message, images):
    with pytest.raises(ValueError, match=message):
        call(images)
