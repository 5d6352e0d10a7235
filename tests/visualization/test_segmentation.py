"""The picture is read back: what stands where, in which colour; and nothing is lost on failure."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_mg.visualization import segmentation as segmentation_plot
from keras_mg.visualization.segmentation import PALETTE, plot_segmentation


def colours_of(path):
    """The set of colours with an area of at least 200 pixels."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    return {
        f"#{r:02x}{g:02x}{b:02x}" for (r, g, b), n in zip(colours, counts, strict=True) if n >= 200
    }


@pytest.fixture
def arrays():
    """Two images of 16x16 with three maps; the second image's prediction is half wrong."""
    inputs = np.zeros((2, 16, 16, 1), "float32")
    true = np.zeros((2, 16, 16, 3), "float32")
    true[0, :8, :, 1] = 1.0
    true[1, 8:, :, 2] = 1.0
    inputs[..., 0] = true.max(-1)
    predicted = 0.9 * true
    predicted[1, 12:, :, 2] = 0.1
    return inputs, true, predicted


def draw(path, arrays, **kwargs):
    return plot_segmentation(path, *arrays, data_format="channels_last", **kwargs)


def test_writes_one_png_with_the_colours_of_the_classes(tmp_path, arrays):
    path = draw(tmp_path / "picture.png", arrays, title="Title")
    assert path == tmp_path / "picture.png"
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) > 400
    colours = colours_of(path)
    assert {PALETTE[1], PALETTE[2], segmentation_plot._GROUND} <= colours
    assert not {PALETTE[3], PALETTE[9]} & colours  # no such class, so not in the legend either


def test_the_same_input_gives_the_same_file(tmp_path, arrays):
    a, b = draw(tmp_path / "a.png", arrays), draw(tmp_path / "b.png", arrays)
    assert a.read_bytes() == b.read_bytes()


def test_data_formats_draw_the_same(tmp_path, arrays):
    last = draw(tmp_path / "last.png", arrays)
    first = plot_segmentation(
        tmp_path / "first.png",
        *(np.moveaxis(array, -1, 1) for array in arrays),
        data_format="channels_first",
    )
    assert last.read_bytes() == first.read_bytes()
    keras.config.set_image_data_format("channels_first")
    again = plot_segmentation(tmp_path / "b.png", *(np.moveaxis(a, -1, 1) for a in arrays))
    assert again.read_bytes() == first.read_bytes()


def test_figures_under_the_predictions(arrays):
    _, true, predicted = arrays
    assert segmentation_plot._iu(true[0] > 0.5, predicted[0] > 0.5) == 1.0
    assert segmentation_plot._iu(true[1] > 0.5, predicted[1] > 0.5) == 0.5
    nothing = np.zeros((4, 4, 3), bool)
    assert segmentation_plot._iu(nothing, nothing) == 1.0


def test_painting():
    maps = np.zeros((1, 3, 2), bool)
    maps[0, 1, 0] = True
    maps[0, 2] = True
    white, red = (segmentation_plot._rgb(colour) for colour in PALETTE[:2])
    expected = [segmentation_plot._rgb(segmentation_plot._GROUND), white, (white + red) / 2]
    np.testing.assert_allclose(segmentation_plot._paint(maps)[0], expected, atol=1e-6)


def test_wrong_pixels_are_those_where_any_map_differs():
    true = np.array([[[1, 0], [1, 0], [0, 0], [0, 0]]], bool)
    predicted = np.array([[[1, 0], [1, 1], [0, 0], [0, 1]]], bool)
    painted = segmentation_plot._paint_wrong(true, predicted)[0]
    wrong = (painted == 1.0).all(-1)
    assert wrong.tolist() == [False, True, False, True]
    # A right pixel of a digit stays visible beside the empty ground.
    assert painted[0].mean() > painted[2].mean() + 0.1


def test_threshold(tmp_path, arrays):
    inputs, true, predicted = arrays
    strict = draw(tmp_path / "a.png", (inputs, true, predicted), threshold=0.95)
    nothing = draw(tmp_path / "b.png", (inputs, true, 0 * predicted), threshold=0.95)
    assert strict.read_bytes() == nothing.read_bytes()


def test_one_image_and_one_map(tmp_path):
    ones = np.ones((1, 8, 8, 1), "float32")
    assert draw(tmp_path / "one.png", (ones, ones, ones)).stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "kwargs", "message"),
    [
        (lambda x, t, p: (x, t, p[:1]), {}, r"of one shape. .*predicted \(1, 16, 16, 3\)"),
        (lambda x, t, p: (x[:1], t, p), {}, r"as many and as large.*inputs \(1, 16, 16, 1\)"),
        (lambda x, t, p: (t, t, p), {}, r"one channel.*inputs \(2, 16, 16, 3\)"),
        (lambda x, t, p: (x[:0], t[:0], p[:0]), {}, r"no image to draw.*\(0, 16, 16, 1\)"),
        (lambda x, t, p: (x, t, p), {"class_names": "ab"}, r"3 maps need 3 `class_names`.*'b'"),
        (
            lambda x, t, p: (x, np.tile(t, 4), np.tile(p, 4)),
            {},
            "colours for at most 10 maps. Received: 12",
        ),
    ],
)
def test_bad_arrays(tmp_path, arrays, change, kwargs, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "picture.png", change(*arrays), **kwargs)
    assert not list(tmp_path.iterdir())


def test_a_drawing_that_fails_leaves_the_older_file(tmp_path, arrays, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "picture.png"
    path.write_bytes(b"older")

    def fail(self, file, **kwargs):
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="No space left"):
        draw(path, arrays)
    assert path.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


def test_missing_folder(tmp_path, arrays):
    with pytest.raises(FileNotFoundError):
        draw(tmp_path / "absent" / "picture.png", arrays)


def test_missing_matplotlib_names_the_extra(tmp_path, arrays, no_matplotlib):
    with pytest.raises(ImportError, match=r"matplotlib.*extra `data`: pip install \"keras-mg\["):
        draw(tmp_path / "picture.png", arrays)
