import keras
import numpy as np
import pytest

from keras_mg import ops
from tests.support import reference
from tests.support.arrays import assert_close, channels_last_to, numpy, to_channels_last

torch = pytest.importorskip("torch")

FORMATS = ("channels_last", "channels_first")


def run(function, grids, data_format, *arguments):
    tensors = [
        ops.to_native(
            keras.ops.convert_to_tensor(np.ascontiguousarray(channels_last_to(data_format, g))),
            data_format,
        )
        for g in grids
    ]
    outputs = function(tensors, *arguments, ops.native_format(data_format))
    return [to_channels_last(numpy(ops.from_native(y, data_format)), data_format) for y in outputs]


def pyramid(*channels, side=(7, 5)):
    generator = np.random.default_rng(0)
    grids = []
    for c in channels:
        grids.append(generator.normal(size=(2, *side, c)).astype("float32") - 3)
        side = tuple(-(-s // 2) for s in side)
    return grids


def expected(function, grids, *arguments):
    outputs = function([torch.tensor(np.moveaxis(g, 3, 1)) for g in grids], *arguments)
    return [y.permute(0, 2, 3, 1).numpy() for y in outputs]


@pytest.mark.parametrize(("size", "half"), [(1, 1), (2, 1), (3, 2), (7, 4), (8, 4), (None, None)])
def test_halved(size, half):
    assert ops.halved(size) == half


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("side", [(7, 5), (8, 4), (5, 8), (1, 1), (1, 6)])
@pytest.mark.parametrize("channels", [(2,), (2, 3), (2, 3, 1), (1, 2, 3, 4)])
def test_resample_concat(data_format, side, channels):
    grids = pyramid(*channels, side=side)
    got = run(ops.resample_concat, grids, data_format)
    assert_close(got, expected(reference.resample_concat, grids), 0)


def one_channel(rows):
    return np.array(rows, "float32")[None, :, :, None]


@pytest.mark.parametrize("data_format", FORMATS)
def test_resample_concat_by_hand(data_format):
    """Three grids of sides 5, 3, 2; the finer neighbour comes first, the coarser one last."""
    fine = -np.arange(1.0, 26.0).reshape(5, 5)
    middle = np.arange(1.0, 10.0).reshape(3, 3)
    coarse = [[10, 20], [30, 40]]
    a, b, c = run(ops.resample_concat, map(one_channel, (fine, middle, coarse)), data_format)
    assert a[0, :, :, 0].tolist() == fine.tolist()
    assert a[0, :, :, 1].tolist() == [
        [1, 1, 2, 2, 3],
        [1, 1, 2, 2, 3],
        [4, 4, 5, 5, 6],
        [4, 4, 5, 5, 6],
        [7, 7, 8, 8, 9],
    ]
    assert b[0, :, :, 0].tolist() == [[-1, -3, -5], [-11, -13, -15], [-21, -23, -25]]
    assert b[0, :, :, 1].tolist() == middle.tolist()
    assert b[0, :, :, 2].tolist() == [[10, 10, 20], [10, 10, 20], [30, 30, 40]]
    assert c[0, :, :, 0].tolist() == [[5, 6], [8, 9]]
    assert c[0, :, :, 1].tolist() == coarse
    assert [y.shape[3] for y in (a, b, c)] == [2, 3, 2]


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(("merge", "drop"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("channels", [(2, 3), (2, 3, 1)])
def test_pool_grids(data_format, merge, drop, channels):
    grids = pyramid(*channels)
    got = run(ops.pool_grids, grids, data_format, merge, drop)
    assert_close(got, expected(reference.pool_grids, grids, merge, drop), 0)


@pytest.mark.parametrize("data_format", FORMATS)
def test_pool_grids_by_hand(data_format):
    grids = [one_channel(g) for g in (-np.arange(1.0, 10.0).reshape(3, 3), [[1, 2], [3, 4]], [[9]])]
    plain = run(ops.pool_grids, grids, data_format, False, False)
    assert [y[0, :, :, 0].tolist() for y in plain] == [[[-1, -3], [-7, -9]], [[4]], [[9]]]
    a, b = run(ops.pool_grids, grids, data_format, True, False)
    assert a[0, :, :, 0].tolist() == [[-1, -3], [-7, -9]]
    assert b[0, 0, 0].tolist() == [4, 9]
    assert len(run(ops.pool_grids, grids, data_format, False, True)) == 2
