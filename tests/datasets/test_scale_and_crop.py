"""Enlarging and cropping: against torch's interpolation, and by what is drawn how often."""

import itertools

import keras
import numpy as np
import pytest
import torch

from keras_mg.datasets import AugmentedImages, DeviceImages, Images, ScaleAndCrop
from keras_mg.datasets.digit_operations import rotate, shear
from tests.support.crops import as_it_is, epoch_of


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(0).normal(size=(50, 32, 32, 3)).astype("float32")


def enlarged(images, side=36):
    """By torch: linear between aligned corners."""
    return (
        torch.nn.functional.interpolate(
            torch.tensor(images).permute(0, 3, 1, 2).double(), side, mode="bilinear",
            align_corners=True,
        )
        .permute(0, 2, 3, 1)
        .numpy()
    )  # fmt: skip


def test_each_image_is_a_crop_of_the_enlarged_one_as_it_was_drawn(photos):
    crops = ScaleAndCrop()
    down, right, mirrored = crops.draw(np.random.default_rng(1), len(photos))
    x = crops(photos, down, right, mirrored)
    assert (x.shape, x.dtype) == (photos.shape, photos.dtype)
    for i, large in enumerate(enlarged(photos)):
        expected = large[down[i] : down[i] + 32, right[i] : right[i] + 32]
        expected = expected[:, ::-1] if mirrored[i] else expected
        np.testing.assert_allclose(x[i], expected, atol=1e-5)


def test_nine_places_and_two_sides_equally_often():
    down, right, mirrored = ScaleAndCrop().draw(np.random.default_rng(0), 18_000)
    ways, counts = np.unique(np.stack([down, right, mirrored]), axis=1, return_counts=True)
    assert [tuple(way) for way in ways.T.tolist()] == list(
        itertools.product((1, 2, 3), (1, 2, 3), (0, 1))
    )
    assert abs(counts - 1000).max() < 5 * 31  # five standard deviations


def test_evaluation_crops_in_the_middle(photos):
    evaluation = ScaleAndCrop(distortion="shear").evaluation
    x = evaluation(photos, *evaluation.draw(np.random.default_rng(7), len(photos)))
    np.testing.assert_allclose(x, enlarged(photos)[:, 2:34, 2:34], atol=1e-5)


def test_pixels_are_rounded():
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype("uint8")
    crops = ScaleAndCrop(offsets=(2, 2), flip=False, on="pixels")
    x = crops(images, *crops.draw(np.random.default_rng(0), 20))
    assert x.dtype == np.uint8
    difference = abs(x - enlarged(images)[:, 2:34, 2:34])
    assert difference.max() <= 0.5 + 1e-4


@pytest.mark.parametrize("on", ["pixels", "normalized"])
def test_tensors_come_out_as_arrays_do(photos, on):
    images = photos if on == "normalized" else (photos * 40 + 128).clip(0, 255).astype("uint8")
    crops = ScaleAndCrop(on=on)
    drawn = crops.draw(np.random.default_rng(2), len(images))
    made = crops(*(keras.ops.convert_to_tensor(array) for array in (images, *drawn)))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(made), crops(images, *drawn))


@pytest.mark.parametrize("distortion", ["rotation", "shear"])
def test_distortions(photos, distortion):
    crops = ScaleAndCrop(distortion=distortion)
    _, _, _, angle, axis = crops.draw(np.random.default_rng(3), 4000)
    assert np.quantile(np.degrees(angle), [0, 0.25, 0.5, 0.75, 1]) == pytest.approx(
        [-30, -15, 0, 15, 30], abs=1.5
    )
    assert abs(axis.sum() - 2000) < 160
    plain = ScaleAndCrop()
    drawn = crops.draw(np.random.default_rng(4), len(photos))
    expected = np.stack(
        [
            np.stack(
                [
                    rotate(image[..., c], a) if distortion == "rotation"
                    else shear(image[..., c], a, ax)
                    for c in range(3)
                ],
                -1,
            )
            for image, a, ax in zip(photos, *drawn[3:], strict=True)
        ]
    )  # fmt: skip
    np.testing.assert_array_equal(crops(photos, *drawn), plain(expected, *drawn[:3]))
    data = Images((photos * 40 + 128).clip(0, 255).astype("uint8"), np.arange(50))
    one = AugmentedImages(data, as_it_is, 8, ScaleAndCrop(distortion=distortion, on="pixels"))
    assert one[0][0].dtype == np.uint8
    with pytest.raises(ValueError, match=f"distortion='{distortion}' is of arrays on the host"):
        DeviceImages(data, as_it_is, 8, ScaleAndCrop(distortion=distortion))[0]


def test_balanced_draws(photos):
    """Every class as often as any other, whatever its size; within it every image."""
    labels = np.repeat([0, 1, 2, 7], [2, 8, 30, 10])
    data = Images(np.zeros((50, 2, 2, 1), "uint8"), labels)
    for kind in (AugmentedImages, DeviceImages):
        batches = kind(data, as_it_is, 100, sampling="balanced", steps_per_epoch=40)
        _, y = epoch_of(batches)
        counts = np.bincount(y.astype(int), minlength=8)
        assert counts[[3, 4, 5, 6]].tolist() == [0, 0, 0, 0]
        assert abs(counts[[0, 1, 2, 7]] - 1000).max() < 5 * 28
    rows = np.bincount(np.asarray(AugmentedImages(
        data, as_it_is, 100, sampling="balanced", steps_per_epoch=40
    )._rows), minlength=50)  # fmt: skip
    for label, expected in ((0, 500), (1, 125), (2, 33), (7, 100)):
        assert abs(rows[labels == label] - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"offsets": (3, 1)}, r"0 <= first <= last. Received: \(3, 1\)"),
        ({"offsets": (-1, 1)}, r"0 <= first <= last. Received: \(-1, 1\)"),
        ({"scaled": 0}, "scaled.*Received: .*0"),
        ({"flip": 1}, "flip must be a boolean. Received: 1"),
        ({"distortion": "noise"}, "distortion.*Received: .*'noise'"),
        ({"on": "canvas"}, "on.*Received: .*'canvas'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScaleAndCrop(**arguments)


def test_a_crop_outside_is_refused(photos):
    crops = ScaleAndCrop(scaled=34, offsets=(1, 3))
    with pytest.raises(ValueError, match="A crop of 32x32 at 3 must lie in 34x34. Received"):
        crops(photos, *crops.draw(np.random.default_rng(0), len(photos)))
