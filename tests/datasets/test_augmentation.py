"""Shifts and mirrors: each image comes out as one of its crops, on the host and on a device."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from keras_mg.datasets import Images, ShiftAndFlip
from tests.support.crops import PLACES, SHIFT, all_ways, images


def drawn(augmentation, data, seed=0):
    rng = np.random.default_rng(seed)
    return augmentation(data.images, *augmentation.draw(rng, len(data.images)))


@pytest.mark.parametrize("fill", [0, 7, (3, 2, 1)])
def test_every_image_is_one_of_its_own_crops_and_all_crops_occur(fill):
    few = images(6)
    ways = [all_ways(image, fill=fill) for image in few.images]
    assert all(len(way) == PLACES**2 * 2 for way in ways)
    data = Images(few.images.repeat(600, axis=0), few.labels.repeat(600))
    x = drawn(ShiftAndFlip(SHIFT, fill=fill), data)
    assert (x.dtype, x.shape) == (np.uint8, data.images.shape)
    counts = {}
    for image, label in zip(x, data.labels, strict=True):
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
    x = drawn(ShiftAndFlip(0), data)
    mirrored = [all_ways(data.images[i], 0)[image.tobytes()][2] for i, image in enumerate(x)]
    assert 5 < sum(mirrored) < 35
    x = drawn(ShiftAndFlip(2, flip=False), data)
    ways = [all_ways(data.images[i], 2)[image.tobytes()] for i, image in enumerate(x)]
    assert not any(mirrored for *_, mirrored in ways)
    assert {down for down, *_ in ways} == {-2, -1, 0, 1, 2}
    assert {right for _, right, _ in ways} == {-2, -1, 0, 1, 2}
    assert any(down != right for down, right, _ in ways)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(
    "fill", [0, 9, (3, 2, 1), [3, 2, 1], [3.0, 2.0, 1.0], [4], np.array([3, 2, 1]), np.float64(9)]
)
def test_tensors_come_out_as_arrays_do(dtype, fill):
    augmentation = ShiftAndFlip(3, fill=fill)
    x = images(30).images.astype(dtype)
    drawn = augmentation.draw(np.random.default_rng(1), 30)
    tensors = [keras.ops.convert_to_tensor(array) for array in (x, *drawn)]
    made = augmentation(*tensors)
    assert keras.ops.is_tensor(made)
    made = keras.ops.convert_to_numpy(made)
    expected = augmentation(x, *drawn)
    assert made.dtype == expected.dtype == dtype
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift": -1}, "shift must be an integer of at least 0. Received: -1"),
        ({"shift": True}, "shift must be an integer of at least 0. Received: True"),
        ({"flip": 1}, "flip must be a boolean. Received: 1"),
        ({"fill": 0.5}, "fill must be pixel values from 0 to 255. Received: 0.5"),
        ({"fill": (0, 256, 0)}, "fill must be pixel values from 0 to 255"),
        (
            {"fill": [0, 1.5, 0]},
            r"fill must be pixel values from 0 to 255. Received: \[0, 1.5, 0\]",
        ),
        ({"fill": float("nan")}, "fill must be a number, or .* for each channel. Received: nan"),
        ({"fill": "7"}, "fill must be a number, or .* for each channel. Received: '7'"),
        ({"fill": [[1, 2, 3]]}, r"fill must be a number, or .* Received: \[\[1, 2, 3\]\]"),
        ({"fill": [], "on": "normalized"}, r"fill must be a number, or .* Received: \[\]"),
        ({"fill": None, "on": "normalized"}, "fill must be a number, or .* Received: None"),
        ({"on": "images"}, "on must be one of .*'normalized'.* Received: on='images'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ShiftAndFlip(**arguments)


def test_a_list_of_a_json_file_is_the_tuple_and_is_recorded_as_it_came():
    listed = ShiftAndFlip(**json.loads('{"shift": 4, "fill": [125, 123, 114]}'))
    assert listed == ShiftAndFlip(4, fill=(125, 123, 114))
    assert hash(listed) == hash(ShiftAndFlip(4, fill=np.array([125, 123, 114])))
    assert json.loads(json.dumps(dataclasses.asdict(listed)))["fill"] == [125, 123, 114]


@pytest.mark.parametrize("on_device", [False, True])
def test_a_frame_of_other_channels_is_told(on_device):
    augmentation = ShiftAndFlip(1, fill=[1, 2])
    few = images(2).images
    arrays = (few, *augmentation.draw(np.random.default_rng(0), 2))
    if on_device:
        arrays = [keras.ops.convert_to_tensor(array) for array in arrays]
    with pytest.raises(ValueError, match=r"one for each channel. Received: fill=\(1, 2\), images"):
        augmentation(*arrays)
