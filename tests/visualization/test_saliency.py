"""Saliency against a plain loop written from the paper's description, and by hand."""

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from keras_mg.visualization import (
    Saliency,
    find_points,
    gradient_saliency,
    occlusion_saliency,
    plot_saliency,
    write_saliency,
)
from keras_mg.visualization.saliency_plot import HUES, colour_points, colour_saliency
from tests.support.jax_process import run_on_jax

SIDE, PATCH, STRIDE = 20, 8, 2
MEAN, STD = 0.1, 0.3


@pytest.fixture
def image():
    """A slanting stroke, of which the blur below makes an output with a bounding box."""
    image = np.zeros((SIDE, SIDE), "float32")
    for y in range(4, 15):
        image[y, 3 + y // 2 : 8 + y // 2] = 0.9
    return image


def blur(data_format="channels_last", maps=1):
    """The mean of 5x5 pixels of the image, before it was normalised, times 1, 2, 3..."""
    shape = (SIDE, SIDE, 1) if data_format == "channels_last" else (1, SIDE, SIDE)
    kernel = np.ones((5, 5, 1, maps)) * np.arange(1, maps + 1) / 25
    convolution = keras.layers.Conv2D(
        maps, 5, padding="same", use_bias=False, data_format=data_format
    )
    x = keras.Input(shape)
    model = keras.Model(x, convolution(keras.layers.Rescaling(STD, MEAN)(x)))
    convolution.set_weights([kernel.astype("float32")])
    return model


def box_points(output):
    """The seven points, each as the set of its nine pixels; None for an output without a box."""
    height, width = output.shape
    rows = [y for y in range(height) if any(output[y, x] >= 0.4 for x in range(width))]
    columns = [x for x in range(width) if any(output[y, x] >= 0.4 for y in range(height))]
    if len(rows) < 2 or len(columns) < 2:
        return None
    top, bottom, left, right = min(rows), max(rows), min(columns), max(columns)
    middle = (top + bottom) // 2
    places = [(middle, (left + right) // 2)]
    for x in (left, right):
        places += [(top, x), (middle, x), (bottom, x)]
    points = []
    for y, x in places:
        y, x = min(max(y, 1), height - 2), min(max(x, 1), width - 2)
        points.append({(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)})
    return points


def plain_saliency(run, inputs):
    """The maps by loops over positions, points and pixels; `inputs` has the noise."""
    clean = run(inputs[0])
    points = box_points(clean)
    maps = np.zeros((7, SIDE, SIDE))
    number = 0
    for y in range(0, SIDE - PATCH + 1, STRIDE):
        for x in range(0, SIDE - PATCH + 1, STRIDE):
            number += 1
            output = run(inputs[number])
            for k, point in enumerate(points):
                impact = max(abs(output[p] - clean[p]) for p in point)
                if impact >= 0.1:
                    for i in range(PATCH):
                        for j in range(PATCH):
                            maps[k, y + i, x + j] += impact
    assert number == len(inputs) - 1
    return maps


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_occlusion_is_what_a_plain_loop_finds(image, data_format):
    if data_format == "channels_first" and keras.backend.backend() != "torch":
        pytest.skip("channels first on a CPU")
    model = blur(data_format, maps=2)
    found = occlusion_saliency(model, image, MEAN, STD, output_map=1, seed=3)

    def run(ink):
        x = (ink - np.float32(MEAN)) / np.float32(STD)
        x = x[None, ..., None] if data_format == "channels_last" else x[None, None]
        y = model.predict_on_batch(x)[0]
        return y[..., 1] if data_format == "channels_last" else y[1]

    np.testing.assert_allclose(
        found.saliency, plain_saliency(run, found.inputs), rtol=1e-4, atol=1e-5
    )
    assert (found.saliency.max((1, 2)) > 0).all()
    for mask, point in zip(found.points, box_points(run(image)), strict=True):
        assert {tuple(p) for p in np.argwhere(mask).tolist()} == point
    np.testing.assert_allclose(found.outputs[5], run(found.inputs[5]), atol=1e-6)


def test_the_noise_lies_under_the_patch_alone_and_is_new_at_every_position(image):
    found = occlusion_saliency(blur(), image, MEAN, STD)
    np.testing.assert_array_equal(found.inputs[0], image)
    noise = []
    for number, inputs in enumerate(found.inputs[1:]):
        y, x = (STRIDE * i for i in divmod(number, (SIDE - PATCH) // STRIDE + 1))
        inside = np.zeros(image.shape, bool)
        inside[y : y + PATCH, x : x + PATCH] = True
        np.testing.assert_array_equal(inputs[~inside], image[~inside])
        noise.append(inputs[inside])
    assert len(noise) == 49
    noise = np.stack(noise)
    assert len({each.tobytes() for each in noise}) == 49
    assert 0 <= noise.min() < 0.01
    assert 0.99 < noise.max() < 1
    assert abs(noise.mean() - 0.5) < 0.02
    assert abs(noise.var() - 1 / 12) < 0.005
    again = occlusion_saliency(blur(), image, MEAN, STD)
    np.testing.assert_array_equal(again.inputs, found.inputs)
    other = occlusion_saliency(blur(), image, MEAN, STD, seed=(0, 1))
    assert (other.inputs[1] != found.inputs[1]).any()


def test_a_canvas_of_the_paper_has_841_positions():
    canvas = np.zeros((64, 64), "float32")
    canvas[20:40, 25:35] = 1
    x = keras.Input((64, 64, 1))
    found = occlusion_saliency(keras.Model(x, keras.layers.Identity()(x)), canvas)
    assert found.inputs.shape == found.outputs.shape == (842, 64, 64)
    # The network looks at each pixel alone: at most four patches a side cover a pixel, five cover
    # some pixel of a point.
    rows, columns = np.nonzero(found.saliency[0])
    assert rows.max() - rows.min() + 1 <= 2 * PATCH + 2
    assert columns.max() - columns.min() + 1 <= 2 * PATCH + 2


@pytest.mark.parametrize(
    ("rows", "columns", "centres"),
    [
        # Middles between two pixels are rounded down.
        ((4, 9), (5, 8), [(6, 6), (4, 5), (6, 5), (9, 5), (4, 8), (6, 8), (9, 8)]),
        # Points at the border are moved inside.
        ((0, 11), (0, 11), [(5, 5), (1, 1), (5, 1), (10, 1), (1, 10), (5, 10), (10, 10)]),
        ((3, 4), (2, 3), [(3, 2), (3, 2), (3, 2), (4, 2), (3, 3), (3, 3), (4, 3)]),
    ],
)
def test_points(rows, columns, centres):
    output = np.full((12, 12), 0.39)
    output[rows[0], columns[0]] = output[rows[1], columns[1]] = 0.4
    points = find_points(output)
    assert points.sum((1, 2)).tolist() == [9] * 7
    assert [tuple(np.argwhere(p).mean(0).astype(int)) for p in points] == centres


@pytest.mark.parametrize("where", [[], [(3, 3)], [(3, 3), (3, 8)], [(3, 3), (8, 3)]])
def test_an_output_without_a_box_is_skipped(where, image):
    output = np.zeros((12, 12))
    for place in where:
        output[place] = 1
    assert find_points(output) is None
    assert occlusion_saliency(blur(), 0 * image, MEAN, STD) is None
    assert gradient_saliency(blur(), 0 * image, MEAN, STD) is None


def test_gradients_are_differences(image):
    model = blur()
    found = gradient_saliency(model, image, MEAN, STD)
    assert found.inputs.shape == found.outputs.shape == (1, SIDE, SIDE)

    def mean_at(ink, point):
        x = (ink - MEAN) / STD
        return float(
            model.predict_on_batch(x[None, ..., None].astype("float32"))[0, ..., 0][point].mean()
        )

    for place in ((9, 9), (10, 6), (4, 5), (0, 0)):
        moved = image.copy()
        moved[place] += 0.5
        for point, saliency in zip(found.points, found.saliency, strict=True):
            difference = (mean_at(moved, point) - mean_at(image, point)) / 0.5
            assert saliency[place] == pytest.approx(abs(difference), abs=1e-5)
    assert found.saliency[0].sum() == pytest.approx(1, abs=1e-5)  # a blur's weights


def test_gradients_on_jax():
    code = """
import keras, numpy as np
from keras_mg.visualization import gradient_saliency
image = np.pad(np.ones((4, 4), "float32"), 4)
x = keras.Input((12, 12, 1))
model = keras.Model(x, keras.layers.Activation("tanh")(x))
print(gradient_saliency(model, image, std=0.5).saliency[0].sum())
"""
    # 2 / cosh(2)**2 at each of the nine pixels of the centre, of whose outputs it is the mean.
    assert float(run_on_jax(code)) == pytest.approx(2 / np.cosh(2) ** 2, rel=1e-4)


def test_the_file(image, tmp_path):
    found = occlusion_saliency(blur(), image, MEAN, STD)
    gradient = gradient_saliency(blur(), image, MEAN, STD)
    path = write_saliency(tmp_path / "a.h5", {3: found, 12345: found}, {3: gradient})
    with h5py.File(path) as file:
        assert sorted(file) == ["id00003", "id12345"]
        group = file["id00003"]
        assert sorted(group) == ["gradient", "input", "output", "points", "saliency"]
        assert group["input"].shape == group["output"].shape == (50, SIDE, SIDE)
        np.testing.assert_array_equal(group["points"][()], found.points)
        np.testing.assert_array_equal(group["saliency"][()], found.saliency)
        np.testing.assert_array_equal(group["input"][()], found.inputs)
        np.testing.assert_array_equal(group["output"][()], found.outputs)
        np.testing.assert_array_equal(group["gradient"][()], gradient.saliency)
        assert "gradient" not in file["id12345"]
    with pytest.raises(FileNotFoundError):
        write_saliency(tmp_path / "none" / "a.h5", {3: found})


def test_colours_of_a_map():
    image = np.array([[0.49, 0.5, 0.0, 0.0]])
    saliency = np.array([[0.0, 2.0, 2.0, 4.0]])
    coloured = colour_saliency(saliency, image, hue=1 / 3)
    assert coloured.tolist() == [[[1, 1, 1], [0, 0, 0], [0.5, 1, 0.5], [0, 1, 0]]]
    # A hundred values, of which a tenth has each saturation: the largest of that tenth.
    ramp = np.arange(1, 101, dtype=float).reshape(10, 10)
    red = colour_saliency(ramp, np.zeros((10, 10)), hue=0.0)
    np.testing.assert_allclose(1 - red[..., 1], np.repeat(np.arange(1, 11)[:, None] / 10, 10, 1))
    white = colour_saliency(np.zeros((2, 2)), np.zeros((2, 2)), hue=0.0)
    assert (white == 1).all()


def test_hues_are_those_of_the_paper():
    names = {
        "green": (0, 1, 0), "red": (1, 0, 0), "yellow": (1, 1, 0), "blue": (0, 0, 1),
        "cyan": (0, 1, 1), "magenta": (1, 0, 1), "orange": (1, 0.5, 0),
    }  # fmt: skip
    for hue, colour in zip(HUES, names.values(), strict=True):
        full = colour_saliency(np.ones((1, 1)), np.zeros((1, 1)), hue)[0, 0]
        np.testing.assert_allclose(full, colour, atol=1e-12)
    points = np.zeros((7, 3, 9), bool)
    points[:, 1, :7] = np.eye(7, dtype=bool)
    picture = colour_points(np.full((3, 9), 0.25), points)
    np.testing.assert_allclose(picture[1, :7], list(names.values()), atol=1e-12)
    np.testing.assert_allclose(picture[0], 0.75)


def test_the_picture(image, tmp_path):
    found = occlusion_saliency(blur(), image, MEAN, STD)
    gradient = gradient_saliency(blur(), image, MEAN, STD)
    path = plot_saliency(tmp_path / "a.png", {"blur": found, "gradient": gradient}, "Title")
    with Image.open(path) as picture:
        colours = {c for _, c in picture.convert("RGB").getcolors(10**6)}
    # The points, each in full colour.
    assert {(0, 255, 0), (255, 0, 0), (255, 255, 0), (0, 0, 255), (0, 255, 255)} <= colours
    again = plot_saliency(tmp_path / "b.png", {"blur": found, "gradient": gradient}, "Title")
    assert again.read_bytes() == path.read_bytes()
    with pytest.raises(ValueError, match="no saliency to draw"):
        plot_saliency(tmp_path / "c.png", {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((SIDE, SIDE, 1))}, r"\(height, width\).*Received: \(20, 20, 1\)"),
        ({"image": np.full((SIDE, SIDE), 2.0)}, r"from 0 to 1. Received: .*2.0 to 2.0"),
        ({"image": np.zeros((0, SIDE))}, r"Received: \(0, 20\)"),
        ({"output_map": 1}, "one of the network's 1 maps. Received: 1"),
        ({"patch": 21}, r"patch=21 must fit the image. .*\(20, 20\)"),
        ({"stride": 0}, "stride must be a positive integer"),
        ({"threshold": -1}, "threshold must be a number of at least 0"),
    ],
)
def test_bad_arguments(image, change, message):
    arguments = {"model": blur(), "image": image, **change}
    with pytest.raises(ValueError, match=message):
        occlusion_saliency(**arguments)


def test_networks_of_another_kind(image):
    x, colours = keras.Input((SIDE, SIDE, 1)), keras.Input((SIDE, SIDE, 3))
    classifier = keras.Model(x, keras.layers.Flatten()(x))
    two = keras.Model(x, [keras.layers.Identity()(x)] * 2)
    coloured = keras.Model(colours, keras.layers.Identity()(colours))
    for model in (classifier, two, coloured):
        for function in (occlusion_saliency, gradient_saliency):
            with pytest.raises(ValueError, match=r"maps of grey images. Received: functional.*20"):
                function(model, image)
    with pytest.raises(ValueError, match=r"of 3 or more. Received shape: \(2, 5\)"):
        find_points(np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"of one shape. Received: \(2, 5\), \(2, 4\)"):
        colour_saliency(np.zeros((2, 5)), np.zeros((2, 4)), 0)


def test_missing_matplotlib_names_the_extra(image, tmp_path, no_matplotlib):
    found = Saliency(find_points(image), image[None].repeat(7, 0), image[None], image[None])
    with pytest.raises(ImportError, match=r"matplotlib.*extra `data`: pip install \"keras-mg\["):
        plot_saliency(tmp_path / "a.png", {"a": found})
