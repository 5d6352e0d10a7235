"""Objects with attributes: lines read back, boxes cut out, and digits whose bits can be seen."""

import io

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("PIL")

from PIL import Image

from keras_mg.datasets import AttributeDigits, AttributeLines, PadToSquare, PhotoBatches
from keras_mg.datasets.attribute_digits import ATTRIBUTES


@pytest.fixture
def folder(tmp_path):
    """A photograph whose pixel in row y and column x is (10 y, 10 x, 0), and a smaller one."""
    (tmp_path / "images").mkdir()
    rows, columns = np.mgrid[:20, :24]
    pixels = np.stack([10 * rows, 10 * columns, 0 * rows], -1).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "images" / "ramp.png")
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "images" / "white.png")
    (tmp_path / "train.txt").write_text(
        "ramp.png cat 2 3 10 7 1 0 1\n\nwhite.png dog 0 0 4 4 0 0 1\n"
        "white.png dog 0.0 0 4 4 1 1 0\n"
    )
    return tmp_path


def read(folder):
    return AttributeLines(folder / "train.txt", folder / "images")


def test_lines(folder):
    lines = read(folder)
    assert (len(lines), lines.attributes, lines.names) == (3, 3, None)
    assert lines.classes == ["cat", "dog", "dog"]
    assert lines.labels.tolist() == [[1, 0, 1], [0, 0, 1], [1, 1, 0]]
    assert lines[0].box == (2, 3, 10, 7)
    (folder / "attributes.txt").write_text("has fur\nround\nwhite\n")
    assert read(folder).names == ["has fur", "round", "white"]
    first, second = lines.split(0.34)
    assert (len(first), len(second)) == (2, 1)
    assert sorted(first.files + second.files) == sorted(lines.files)
    assert second[0].label.tolist() in lines.labels.tolist()


def test_a_box_becomes_a_square(folder):
    batches = PhotoBatches(
        read(folder),
        PadToSquare(8),
        2,
        mean=(0, 0, 0),
        std=(255, 255, 255),
        order="sequence",
        data_format="channels_last",
    )
    x, y = batches[0]
    assert (y.dtype, y.tolist()) == ("float32", [[1, 0, 1], [0, 0, 1]])
    # 8 columns from 2 on and 4 rows from 3 on, at their own size: two rows of zeros above, below.
    np.testing.assert_allclose(x[0, 2:6, :, 0], np.repeat([[3], [4], [5], [6]], 8, 1) * 10 / 255)
    np.testing.assert_allclose(x[0, 2:6, :, 1], [np.arange(2, 10) * 10 / 255] * 4)
    assert not x[0, :2].any()
    assert not x[0, 6:].any()
    assert (x[1] == 1).all()  # 4 x 4 enlarged


def test_squares_of_longer_sides():
    square = PadToSquare(8)
    for size, rows, columns in (((16, 4), (3, 5), (0, 8)), ((3, 6), (0, 8), (2, 6))):
        made = square(Image.new("RGB", size, (200, 200, 200)))[..., 0]
        inside = np.zeros((8, 8), bool)
        inside[slice(*rows), slice(*columns)] = True
        np.testing.assert_array_equal(made > 0, inside)
    assert square(Image.new("RGB", (100, 1)))[0].shape == (8, 3)


def test_draws_with_replacement(folder):
    batches = PhotoBatches(read(folder), PadToSquare(8), 3, order="replacement", seed=1)
    orders = [batches._draw_order(epoch).tolist() for epoch in range(50)]
    assert any(len(set(order)) < 3 for order in orders)
    assert len(set(map(tuple, orders))) > 10
    assert {row for order in orders for row in order} == {0, 1, 2}
    assert orders[7] == batches._draw_order(7).tolist()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ramp.png cat 2 3 10 7", "line 4: a line is file, class.*Received: 'ramp.png cat"),
        ("ramp.png cat 2 3 10 7 1 0", "line 4: the lines before have 3 bits, this one 2"),
        ("ramp.png cat 2 3 10 7 1 0 2", "line 4: bits are 0 or 1"),
        ("ramp.png cat 2 3 x 7 1 0 1", "line 4: x1 y1 x2 y2 are numbers"),
        ("ramp.png cat 2 3 nan 7 1 0 1", "line 4: x1 y1 x2 y2 are numbers"),
        ("ramp.png cat 2 3 2 7 1 0 1", "line 4: a box has x1 < x2"),
        ("ramp.png cat -2 3 4 7 1 0 1", "line 4: a box has x1 < x2 and y1 < y2, of at least 0"),
        ("gone.png cat 2 3 10 7 1 0 1", r"line 4: there is no .*gone.png"),
    ],
)
def test_bad_lines_are_named(folder, line, message):
    kept = (folder / "train.txt").read_text().splitlines()[:3]
    (folder / "train.txt").write_text("\n".join([*kept, line]))
    with pytest.raises(ValueError, match=message):
        read(folder)


def test_bad_files(folder):
    (folder / "attributes.txt").write_text("has fur\n")
    with pytest.raises(ValueError, match=r"name the 3 attributes of train.txt. Received: 1 names"):
        read(folder)
    (folder / "train.txt").write_text("\n")
    with pytest.raises(ValueError, match="a line for each object. Received: no line"):
        read(folder)
    with pytest.raises(FileNotFoundError, match=r"no .*test.txt. Attributes need a file of lines"):
        AttributeLines(folder / "test.txt", folder / "images")
    with pytest.raises(ValueError, match="an object. Received: fraction=0.001 of 450 objects"):
        AttributeDigits("test").split(0.001)
    with pytest.raises(ValueError, match="split.*Received: .*'validation'"):
        AttributeDigits("validation")


def inside(photo):
    """The pixels of the box, and the bits by name."""
    picture = np.asarray(Image.open(io.BytesIO(photo.content)).crop(photo.box)).astype(float)
    return picture, dict(zip(ATTRIBUTES, photo.label.tolist(), strict=True))


def test_attributes_can_be_read_off_the_picture():
    digits = AttributeDigits("test")
    labels = digits.digits.labels
    for i in range(len(digits)):
        picture, has = inside(digits[i])
        height, width = picture.shape[:2]
        assert (height > width) == bool(has["tall"])
        edge = picture[2:-2, 2:4].mean((1, 2))  # beside the digit, inside a frame
        assert (edge.mean() > 128) == bool(has["bright ground"])
        assert (edge.std() > 15) == bool(has["stripes"])
        most = picture.reshape(-1, 3)
        spread = most[(most.max(1) - most.min(1)).argsort()[-8:]]
        coloured = [has["red"], has["green"], has["blue"]]
        if any(coloured):
            assert spread.mean(0).argmax() == coloured.index(1)
            assert (spread.max(1) - spread.min(1)).min() > 60
        assert sum(coloured) <= 1
        assert has["even"] == (labels[i] % 2 == 0)
        assert has["less than five"] == (labels[i] < 5)
        border = np.concatenate([picture[:2].reshape(-1, 3), picture[-2:].reshape(-1, 3)])
        other = picture[2:4, 4:-4].reshape(-1, 3)
        assert (np.abs(border.mean(0) - other.mean(0)).max() > 60) == bool(has["frame"]), i


def test_parts_and_seeds():
    train, test = AttributeDigits("train"), AttributeDigits("test")
    assert (len(train), len(test)) == (1347, 450)
    seen = {image.tobytes() for image in train.digits.images}
    assert len({image.tobytes() for image in test.digits.images} & seen) < 5  # equal by chance
    assert train[3].content == AttributeDigits("train")[3].content
    assert train[3].content != AttributeDigits("train", seed=1)[3].content
    shares = train.labels.mean(0)
    expected = [0.25, 0.25, 0.25, 0.5, 0.3, 0.1, 0.4, 0.4, 0.5, 0.5]
    np.testing.assert_allclose(shares, expected, atol=0.04)
    _, second = train.split(0.1)
    assert len(second) == 135
    row = int(second.rows[7])
    assert second[7].content == train[row].content
    assert second.labels[7].tolist() == train.labels[row].tolist()


def test_a_folder_of_digits_is_read_back(tmp_path):
    digits, _ = AttributeDigits("test").split(0.9)
    path = digits.write(tmp_path / "out", "test")
    lines = AttributeLines(path, tmp_path / "out" / "images")
    assert lines.names == list(ATTRIBUTES)
    np.testing.assert_array_equal(lines.labels, digits.labels)
    assert lines.classes == [str(digits.digits.labels[row]) for row in digits.rows]
    assert lines[5].content == digits[5].content
    assert lines[5].box == digits[5].box
