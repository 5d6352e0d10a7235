"""What is drawn is what the network does: boxes are compared with maps that it computed."""

import keras
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from keras_mg.applications import MgNet, ResNet20, SegPMG
from keras_mg.visualization import plot_pyramid
from keras_mg.visualization.pyramid import COLOURS, _Box, _Drawing, _figure, _read

LAST = {"data_format": "channels_last"}


def small(**settings):
    return SegPMG(filters=(4, 3, 2), input_shape=(16, 8, 1), **LAST, **settings)


def drawn(model, input_shape=None):
    """The boxes as (layer, height, width, channels)."""
    return [(b.layer, *b.sides, b.channels) for b in _read(model, input_shape).boxes]


def computed(model, shape=None):
    """What the layers give that have maps, called one after the other on an image."""
    found = []
    for layer in model.layers:
        call = layer.call

        def noted(*args, _layer=layer, _call=call, **kwargs):
            outputs = _call(*args, **kwargs)
            maps = [x for x in keras.tree.flatten(outputs) if len(x.shape) == 4]
            found.extend((_layer.name, *map(int, x.shape[1:])) for x in maps)
            return outputs

        layer.call = noted
    model(np.zeros((1, *(shape or model.input_shape[1:])), "float32"))
    return found


def test_a_multigrid_network_has_the_maps_that_it_computes():
    model = small()
    boxes = drawn(model)
    # The input is no layer that computes; the last activation keeps its map.
    assert boxes[0] == ("image", 16, 8, 1)
    assert sorted(boxes[1:]) == sorted(each for each in computed(model) if each[0] != "maps")


def test_boxes_and_lines_by_hand():
    x = keras.Input((8, 8, 3), name="x")
    a = keras.layers.Conv2D(4, 3, padding="same", name="a", **LAST)(x)
    a = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(a))
    b = keras.layers.MaxPooling2D(2, name="b", **LAST)(a)
    c = keras.layers.Conv2D(4, 3, padding="same", name="c", **LAST)(b)
    c = keras.layers.Add(name="sum")([b, c])
    d = keras.layers.UpSampling2D(2, name="d", **LAST)(c)
    e = keras.layers.Concatenate(name="e")([a, d])
    f = keras.layers.Dense(2, name="f")(keras.layers.GlobalAveragePooling2D(name="g", **LAST)(e))
    assert _read(keras.Model(x, f), None) == _Drawing(
        [
            _Box("x", 0, (8, 8), 3),
            _Box("a", 1, (8, 8), 4),
            _Box("b", 2, (4, 4), 4),
            _Box("c", 3, (4, 4), 4),
            _Box("d", 4, (8, 8), 4),
            _Box("e", 5, (8, 8), 8),
        ],
        [(0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (4, 5)],
    )


def test_lines_lead_to_neighbouring_grids():
    drawing = _read(small(), None)
    rows = drawing.rows
    assert rows == [(16, 8), (8, 4), (4, 2)]
    by_layer = {}
    for a, b in drawing.lines:
        there = drawing.boxes[b]
        jump = rows.index(drawing.boxes[a].sides) - rows.index(there.sides)
        by_layer.setdefault(there.layer, set()).add(jump)
    assert by_layer["stem"] == {0, -1, -2}  # all of them are made of the image
    assert by_layer["block1_layer1"] == {0, 1, -1}
    # Grids that join later are read where they were left.
    stem = {i for i, box in enumerate(drawing.boxes) if box.layer == "stem"}
    late = {drawing.boxes[b].layer for a, b in drawing.lines if a in stem}
    assert late == {"start1_layer1", "start2_layer1", "start3_layer1"}


def test_a_network_of_one_grid_has_a_row_per_resolution():
    drawing = _read(ResNet20(**LAST), None)
    assert drawing.rows == [(32, 32), (16, 16), (8, 8)]
    assert {box.column: 0 for box in drawing.boxes} == dict.fromkeys(range(len(drawing.boxes)), 0)


def test_two_maps_of_a_layer_share_its_place():
    model = MgNet((1, 2), filters=4, input_shape=(8, 8, 3), **LAST)
    drawing = _read(model, None)
    places = [(box.column, box.sides) for box in drawing.boxes]
    shared = {place for place in places if places.count(place) == 2}
    assert shared
    patches = _figure(drawing, None).axes[0].patches
    areas = [patch.get_bbox() for patch in patches]
    assert len(areas) == len(places)
    assert not any(a.overlaps(b) for i, a in enumerate(areas) for b in areas[:i])


def test_keras_s_own_networks():
    model = keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3))
    drawing = _read(model, None)
    # Paddings by one pixel make no rows of their own.
    assert [sides[0] for sides in drawing.rows] == [64, 32, 16, 8, 4, 2]
    sequential = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3, **LAST), keras.layers.Flatten()]
    )
    assert [box[1:] for box in drawn(sequential)] == [(8, 8, 1), (6, 6, 3)]


def test_data_formats_are_drawn_alike():
    last = _read(small(), None)
    first = SegPMG(filters=(4, 3, 2), input_shape=(1, 16, 8), data_format="channels_first")
    assert _read(first, None) == last


def test_unknown_sides_need_an_image():
    model = SegPMG(filters=(4, 3, 2), include_top=False, **LAST)
    with pytest.raises(ValueError, match=r"sides .* not known. Pass the shape .* 'seg_pmg'"):
        _read(model, None)
    assert drawn(model, (16, 8, 1)) == [box for box in drawn(small()) if box[0] != "predictions"]
    for bad in [(16, 8), (16, 8, 0), (16, None, 1), "abc"]:
        with pytest.raises(ValueError, match="three sizes of an image"):
            _read(model, bad)


def test_the_picture(tmp_path):
    path = plot_pyramid(small(), tmp_path / "a.png", title="a title")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    found = {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.unique(pixels, axis=0)}
    assert set(COLOURS[:3]) <= found
    assert COLOURS[3] not in found
    axes = _figure(_read(small(), None), "a title").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["16×8", "8×4", "4×2"]  # noqa: RUF001
    # Channels are written where they change: the image's, then 4 on the finest grid, ...
    assert [text.get_text() for text in axes.texts] == ["1", "4", "3", "2", "10"]
    widths = {patch.get_width() for patch in axes.patches}
    assert len(widths) == 5  # one per number of channels
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


class Own(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "model.keras", "a functional or sequential Keras model.* Received: str"),
        (lambda: keras.layers.Conv2D(3, 3), "Received: Conv2D"),
        (Own, "Received: Own"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), "Received: Sequential that is not"),
        (
            lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="flat"),
            r"nothing to draw.* 'flat' with inputs of shapes \[\(None, 4\)\]",
        ),
    ],
)
def test_what_has_no_grids_is_refused(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        plot_pyramid(make(), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_one_shape_for_two_inputs_is_refused():
    a, b = keras.Input((4, 4, 1)), keras.Input((4, 4, 1))
    model = keras.Model([a, b], keras.layers.Concatenate()([a, b]))
    assert len(drawn(model)) == 3
    with pytest.raises(ValueError, match="model of one input. Received: a model of 2 inputs"):
        _read(model, (4, 4, 1))


def test_matplotlib_is_asked_for(tmp_path, no_matplotlib):
    with pytest.raises(ImportError, match=r'pip install "keras-mg\[data\]"'):
        plot_pyramid(small(), tmp_path / "a.png")
