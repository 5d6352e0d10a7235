"""The gallery of transformed digits is read back: what is black, red and blue, and where."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_mg.visualization import plot_transformation
from keras_mg.visualization.transformation import paint_difference


@pytest.fixture
def arrays():
    """Two canvases: the first output is right, the second misses a half and adds a quarter."""
    true = np.zeros((2, 16, 16, 1), "float32")
    true[:, :8] = 1
    predicted = 0.9 * true
    predicted[1, :4] = 0.4
    predicted[1, 8:10] = 0.6
    return 0.5 * true, true, predicted


def draw(path, arrays, **kwargs):
    return plot_transformation(path, *arrays, data_format="channels_last", **kwargs)


def colours_of(path):
    """Colours with an area of at least 200 pixels."""
    with Image.open(path) as picture:
        return {colour for count, colour in picture.convert("RGB").getcolors(10**6) if count > 200}


def test_pixels_of_the_difference():
    true = np.array([[True, True, False, False]])
    predicted = np.array([[True, False, True, False]])
    black, missed, wrong, ground = paint_difference(true, predicted)[0].tolist()
    assert black == [0, 0, 0]
    assert ground == [1, 1, 1]
    assert missed[0] > 0.8 > 0.2 > missed[2]  # red
    assert wrong[2] > 0.8 > 0.2 > wrong[0]  # blue


def test_the_picture(arrays, tmp_path):
    path = draw(tmp_path / "a.png", arrays, title="Title")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    red, blue = (216, 38, 38), (38, 89, 242)
    assert {red, blue, (0, 0, 0), (255, 255, 255)} <= colours_of(path)
    inputs, true, _ = arrays
    right = draw(tmp_path / "b.png", (inputs, true, true))
    assert not {red, blue} & colours_of(right)
    again = draw(tmp_path / "c.png", arrays, title="Title")
    assert again.read_bytes() == path.read_bytes()


def test_data_formats_draw_the_same(arrays, tmp_path):
    last = draw(tmp_path / "a.png", arrays).read_bytes()
    moved = [np.moveaxis(array, -1, 1) for array in arrays]
    assert (
        plot_transformation(tmp_path / "b.png", *moved, data_format="channels_first").read_bytes()
        == last
    )
    keras.config.set_image_data_format("channels_first")
    assert plot_transformation(tmp_path / "c.png", *moved).read_bytes() == last


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, t, p: (x, t, p[:1]), r"of one shape.*\(1, 16, 16, 1\)"),
        (lambda x, t, p: [np.repeat(a, 3, -1) for a in (x, t, p)], "of one channel"),
        (lambda x, t, p: [a[0] for a in (x, t, p)], r"must be 4D.*\(16, 16, 1\)"),
        (lambda x, t, p: [a[:0] for a in (x, t, p)], r"no canvas to draw.*\(0, 16, 16, 1\)"),
    ],
)
def test_bad_arrays(arrays, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "a.png", change(*arrays))
    assert not list(tmp_path.iterdir())
