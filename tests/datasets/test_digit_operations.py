"""Turning, shearing and scaling, against plain loops that were written from the formulas."""

import decimal
import math

import numpy as np
import pytest
import torch

from keras_mg.datasets.cluttered_mnist import centre, rotate, scale, shear
from keras_mg.datasets.digit_operations import _round

ANGLES = (0.0, 0.3, -1.0, math.pi / 6, math.pi / 3, -math.pi / 3, math.pi / 2, math.pi)


def nearest(value):
    """The nearest integer, halves away from zero."""
    return int(decimal.Decimal(value).quantize(0, decimal.ROUND_HALF_UP))


def looped_rotation(image, t):
    side = len(image)
    c = (side - 1) / 2
    out = np.zeros_like(image)
    for y in range(side):
        for x in range(side):
            column = nearest(math.cos(t) * (x - c) - math.sin(t) * (y - c) + c)
            row = nearest(math.cos(t) * (y - c) + math.sin(t) * (x - c) + c)
            if 0 <= row < side and 0 <= column < side:
                out[y, x] = image[row, column]
    return out


def looped_shear(image, t, axis):
    side = len(image)
    c = (side - 1) / 2
    matrix = np.array([[1, math.tan(t)], [0, 1]])
    matrix = matrix if axis == 0 else matrix.T
    out = np.zeros_like(image)
    for y in range(side):
        for x in range(side):
            row, column = matrix @ [y - c, x - c] + c
            total = 0.0
            for i in range(math.floor(row), math.floor(row) + 2):
                for j in range(math.floor(column), math.floor(column) + 2):
                    weight = (1 - abs(row - i)) * (1 - abs(column - j))
                    edge = min(max(i, 0), side - 1), min(max(j, 0), side - 1)
                    total += weight * image[edge]
            out[y, x] = total
    return out


def looped_line(values, side):
    """A row or column at another size."""
    source, out = len(values), []
    for i in range(side):
        if side >= source:
            place = i * (source - 1) / (side - 1) if side > 1 else 0.0
            low = min(math.floor(place), source - 1)
            high = min(low + 1, source - 1)
            out.append(values[low] * (1 - place + low) + values[high] * (place - low))
        else:
            begin, end = i * source / side, (i + 1) * source / side
            parts = [max(min(end, j + 1) - max(begin, j), 0) for j in range(source)]
            out.append(sum(p * v for p, v in zip(parts, values, strict=True)) / sum(parts))
    return out


def looped_scale(image, side):
    rows = np.array([looped_line(row, side) for row in image])
    return np.array([looped_line(column, side) for column in rows.T]).T


@pytest.fixture
def image():
    return np.random.default_rng(0).random((28, 28))


@pytest.mark.parametrize("angle", ANGLES)
def test_rotation(image, angle):
    np.testing.assert_array_equal(rotate(image, angle), looped_rotation(image, angle))


def test_halves_are_rounded_away_from_zero():
    values = [-1.5, -0.5, 0.5, 1.5, 2.5, 0.49999999999999994, -13.499999999999998]
    assert [nearest(value) for value in values] == [-2, -1, 1, 2, 3, 0, -13]
    assert _round(np.array(values)).tolist() == [-2, -1, 1, 2, 3, 0, -13]
    # At 45 degrees the diagonal of an even frame reads places between two pixels.
    for side in (1, 2, 3, 6, 28):
        image = np.arange(1.0, side**2 + 1).reshape(side, side)
        for angle in (math.pi / 4, -math.pi / 4, math.atan2(3, 4), 3 * math.pi / 4):
            np.testing.assert_array_equal(rotate(image, angle), looped_rotation(image, angle))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("angle", ANGLES[:6])
def test_shear(image, angle, axis):
    np.testing.assert_allclose(
        shear(image, angle, axis), looped_shear(image, angle, axis), rtol=0, atol=1e-12
    )


def test_shear_is_what_torch_samples(image):
    """Rows shift with the column: torch's own bilinear sampling with repeated edges."""
    c, slope = 13.5, math.tan(0.7)
    y, x = np.mgrid[0:28, 0:28] - c
    grid = np.stack([x, y + slope * x], -1) / c  # torch's order is (x, y), from -1 to 1
    expected = torch.nn.functional.grid_sample(
        torch.tensor(image)[None, None],
        torch.tensor(grid)[None],
        padding_mode="border",
        align_corners=True,
    )
    np.testing.assert_allclose(shear(image, 0.7, axis=0), expected[0, 0].numpy(), atol=1e-12)


@pytest.mark.parametrize("side", [1, 2, 14, 15, 27, 28, 29, 35, 42, 56])
def test_scale(image, side):
    np.testing.assert_allclose(scale(image, side), looped_scale(image, side), rtol=0, atol=1e-12)


def test_scale_is_what_torch_interpolates(image):
    tensor = torch.tensor(image)[None, None]
    larger = torch.nn.functional.interpolate(tensor, 41, mode="bilinear", align_corners=True)
    np.testing.assert_allclose(scale(image, 41), larger[0, 0].numpy(), atol=1e-12)
    halved = torch.nn.functional.avg_pool2d(tensor, 2)
    np.testing.assert_allclose(scale(image, 14), halved[0, 0].numpy(), atol=1e-12)


def test_several_images_at_once_and_their_type(image):
    images = np.stack([image, image.T])[:, None].astype("float32")
    for operation in (
        lambda x: rotate(x, 0.4),
        lambda x: shear(x, 0.4, 1),
        lambda x: scale(x, 33),
        lambda x: scale(x, 20),
    ):
        result = operation(images)
        assert result.dtype == np.float32
        assert result.shape[:2] == (2, 1)
        np.testing.assert_array_equal(result[1, 0], operation(images[1, 0]))
    assert rotate(np.eye(3, dtype=int), 0.0).tolist() == np.eye(3).tolist()


@pytest.mark.parametrize("side", [1, 14, 28, 35, 42, 63, 64])
def test_centre(side):
    assert centre(side, 64) == max(math.ceil((64 - side) / 2) - 1, 0)
    assert centre(28, 64) == 17


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rotate(np.zeros(3), 0.1), r"height and a width. Received shape: \(3,\)"),
        (lambda: rotate(np.zeros((3, 3)), math.inf), "angle must be finite. Received: inf"),
        (lambda: shear(np.zeros((3, 3)), 0.1, 2), "axis.*Received: .*2"),
        (lambda: shear(np.zeros((3, 3)), math.nan, 0), "angle must be finite. Received: nan"),
        (lambda: scale(np.zeros((3, 0)), 2), r"height and a width. Received shape: \(3, 0\)"),
        (lambda: scale(np.zeros((3, 3)), 0), "side.*Received: .*0"),
        (lambda: centre(65, 64), "must fit the canvas. Received: side=65, canvas=64"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
