"""`preprocess_input` of every family: the published statistics, arrays and tensors."""

import keras
import numpy as np
import pytest

from keras_mg.applications import (
    _imagenet,
    igc,
    mgnet,
    multigrid,
    multigrid_baselines,
    multigrid_cifar,
    multigrid_dense,
)
from tests.support.arrays import numpy

torch = pytest.importorskip("torch")

# Mean and deviation per channel of pixels in 0..255.
PUBLISHED = [
    (multigrid, {}, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 255),
    (igc, {}, (123.370, 112.757, 99.406), (68.998, 66.093, 68.292), 1),
    (mgnet, {}, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), 255),
    (mgnet, {"dataset": "cifar10"}, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), 255),
    (mgnet, {"dataset": "mnist"}, (0.1307,), (0.3081,), 255),
]


@pytest.fixture(params=PUBLISHED, ids=lambda row: row[0].__name__.rsplit(".", 1)[1] + str(row[1]))
def row(request):
    return request.param


def pixels(channels, dtype="uint8"):
    return np.random.default_rng(0).integers(0, 256, (2, 5, 4, channels)).astype(dtype)


def test_published_statistics(row):
    family, arguments, mean, std, scale = row
    x = pixels(len(mean))
    expected = (x / scale - np.array(mean)) / np.array(std)
    got = family.preprocess_input(x, data_format="channels_last", **arguments)
    np.testing.assert_allclose(got, expected, atol=2e-5)
    assert got.dtype == np.float32


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_arrays_and_tensors_of_all_kinds(row, dtype, data_format):
    family, arguments, mean, *_ = row
    x = pixels(len(mean), dtype)
    expected = family.preprocess_input(x, data_format="channels_last", **arguments)
    if data_format == "channels_first":
        x, expected = np.moveaxis(x, 3, 1), np.moveaxis(expected, 3, 1)
    before = x.copy()
    tensor = torch.tensor(x.copy())
    for value in (x, tensor):
        got = family.preprocess_input(value, data_format=data_format, **arguments)
        assert isinstance(got, type(value))
        np.testing.assert_allclose(numpy(got), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(numpy(value), before)
        assert tuple(got.shape) == x.shape
        if dtype.startswith("float"):
            assert keras.backend.standardize_dtype(got.dtype) == dtype
    one = family.preprocess_input(x[0], data_format=data_format, **arguments)
    np.testing.assert_allclose(one, expected[0], rtol=1e-5, atol=1e-5)


def test_the_global_data_format_is_the_default():
    x = np.moveaxis(pixels(3), 3, 1)
    keras.config.set_image_data_format("channels_first")
    np.testing.assert_array_equal(
        igc.preprocess_input(x), igc.preprocess_input(x, data_format="channels_first")
    )


def test_symbolic_tensors():
    inputs = keras.Input((5, 4, 3), dtype="uint8")
    model = keras.Model(inputs, igc.preprocess_input(inputs, data_format="channels_last"))
    x = pixels(3)
    np.testing.assert_allclose(
        numpy(model(x)), igc.preprocess_input(x, data_format="channels_last"), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5, 3), r"takes 3D or 4D images. Received shape: \(5, 3\)"),
        ((2, 5, 4, 1), "need 3 channels on axis -1.*2, 5, 4, 1"),
        ((2, 3, 5, 4), "need 3 channels on axis -1 .data_format='channels_last'.*2, 3, 5, 4"),
    ],
)
def test_refused_images(shape, words):
    with pytest.raises(ValueError, match=words):
        multigrid.preprocess_input(np.zeros(shape), data_format="channels_last")


def test_refused_settings():
    with pytest.raises(ValueError, match="data_format must be one of.*'NHWC'"):
        multigrid.preprocess_input(pixels(3), data_format="NHWC")
    with pytest.raises(ValueError, match="dataset must be one of .*'svhn'"):
        mgnet.preprocess_input(pixels(3), dataset="svhn")


def test_dense_networks_normalise_grey_images():
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), "uint8")
    got = multigrid_dense.preprocess_input(x, "channels_last")
    np.testing.assert_allclose(got, (x / 255 - 0.1141) / 0.2746, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="images need 1 channels"):
        multigrid_dense.preprocess_input(np.ones((2, 8, 8, 3)), "channels_last")


def test_imagenet_families_decode_predictions():
    for family in (multigrid, igc, mgnet):
        assert family.decode_predictions is _imagenet.decode_predictions


def test_multigrid_families_share_their_normalisation():
    for family in (multigrid_cifar, multigrid_baselines):
        assert family.preprocess_input is multigrid.preprocess_input


def test_what_is_no_array_is_refused():
    for value in ("a.jpg", None, [[1, 2], [3, 4]]):
        with pytest.raises(ValueError, match="takes 3D or 4D images, as an array or a tensor"):
            multigrid.preprocess_input(value)
    for value in ([pixels(3)[0]] * 2, (pixels(3)[0],)):
        with pytest.raises(ValueError, match=f"`np.stack` makes one .* of {len(value)}$"):
            multigrid.preprocess_input(value)


@pytest.mark.parametrize("dtype", ["U5", "S5", "O"])
def test_what_is_no_number_is_refused(dtype):
    with pytest.raises(ValueError, match="takes images of numbers in 0 to 255. Received: dtype"):
        multigrid.preprocess_input(np.full((2, 4, 4, 3), "a.jpg", dtype))
