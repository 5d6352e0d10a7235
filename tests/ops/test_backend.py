"""The primitives of both implementations, against definitions and by hand."""

import keras
import numpy as np
import pytest

from keras_mg.ops import _keras_ops as keras_ops
from keras_mg.ops import _torch_ops as torch_ops
from tests.support import reference
from tests.support.arrays import (
    assert_close,
    channels_last_to,
    numpy,
    relative_difference,
    to_channels_last,
)

torch = pytest.importorskip("torch")

FORMATS = ("channels_last", "channels_first")
IMPLEMENTATIONS = {"torch": torch_ops, "keras": keras_ops}


class Runner:
    """Calls a primitive on channels-last arrays, in one implementation and data format."""

    def __init__(self, implementation, data_format):
        self.ops = IMPLEMENTATIONS[implementation]
        self.data_format = data_format

    def native(self, array):
        array = np.ascontiguousarray(channels_last_to(self.data_format, array))
        return self.ops.to_native(keras.ops.convert_to_tensor(array), self.data_format)

    def __call__(self, primitive, first, *args, **settings):
        """The primitive's output; `first` is an array or a list of them."""
        x = [self.native(a) for a in first] if isinstance(first, list) else self.native(first)
        native_format = self.ops.native_format(self.data_format)
        y = getattr(self.ops, primitive)(x, *args, **settings, data_format=native_format)
        return to_channels_last(numpy(self.ops.from_native(y, self.data_format)), self.data_format)


@pytest.fixture(params=[(i, f) for i in IMPLEMENTATIONS for f in FORMATS], ids="-".join)
def run(request):
    return Runner(*request.param)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def nchw(x):
    return torch.tensor(np.moveaxis(x, 3, 1), dtype=torch.float64)


def nhwc(x):
    return x.permute(0, 2, 3, 1).numpy()


def grey(rows):
    """One image of one channel."""
    return np.array(rows, "float32")[None, :, :, None]


def test_both_implementations_have_the_same_functions():
    def public(module):
        return {
            n: f
            for n, f in vars(module).items()
            if callable(f) and f.__module__ == module.__name__ and not n.startswith("_")
        }

    of_torch, of_keras = public(torch_ops), public(keras_ops)
    assert of_torch.keys() == of_keras.keys()
    for name, function in of_torch.items():
        theirs = of_keras[name]
        assert (
            function.__code__.co_varnames[: function.__code__.co_argcount]
            == (theirs.__code__.co_varnames[: theirs.__code__.co_argcount])
        ), name


# --- convolution


@pytest.mark.parametrize(
    ("size", "strides", "groups", "bias", "filters"),
    [(3, 1, 1, True, 5), (3, 2, 2, False, 6), (1, 2, 1, False, 3), (7, 2, 1, True, 2),
     (5, 3, 4, True, 4), (3, 1, 1, True, 1)],
)  # fmt: skip
@pytest.mark.parametrize("side", [(7, 6), (2, 3), (1, 1)])
def test_convolution(run, size, strides, groups, bias, filters, side):
    x = random(2, *side, 4)
    kernel = keras.Variable(random(size, size, 4 // groups, filters, seed=1))
    bias = keras.Variable(random(filters, seed=2)) if bias else None
    got = run(
        "conv2d", x, kernel=kernel, bias=bias, strides=strides, padding=size // 2, groups=groups
    )
    expected = reference.conv2d(
        nchw(x),
        torch.tensor(numpy(kernel), dtype=torch.float64),
        None if bias is None else torch.tensor(numpy(bias), dtype=torch.float64),
        strides,
        groups,
    )
    assert relative_difference(got, nhwc(expected)) < 2e-6
    assert got.shape[1:3] == tuple(-(-s // strides) for s in side)


def test_convolution_by_hand(run):
    x = grey([[1, 2], [3, 4]])
    kernel = keras.Variable(np.arange(9.0, dtype="float32").reshape(3, 3, 1, 1))
    got = run("conv2d", x, kernel=kernel, bias=None, strides=1, padding=1, groups=1)
    # The image's pixel (r, c) meets kernel entry (1 + r - row, 1 + c - column).
    assert got[0, :, :, 0].tolist() == [
        [4 * 1 + 5 * 2 + 7 * 3 + 8 * 4, 3 * 1 + 4 * 2 + 6 * 3 + 7 * 4],
        [1 * 1 + 2 * 2 + 4 * 3 + 5 * 4, 0 * 1 + 1 * 2 + 3 * 3 + 4 * 4],
    ]


def test_strided_padding_is_symmetric_and_not_that_of_keras(run):
    """On an even side, "same" of Keras starts its windows one pixel later."""
    x = grey(np.arange(1.0, 17.0).reshape(4, 4))
    corner = np.zeros((3, 3, 1, 1), "float32")
    corner[1, 1] = 1.0  # picks the window's centre
    kernel = keras.Variable(corner)
    got = run("conv2d", x, kernel=kernel, bias=None, strides=2, padding=1, groups=1)
    assert got[0, :, :, 0].tolist() == [[1, 3], [9, 11]]
    same = numpy(keras.ops.conv(x, corner, 2, "same", data_format="channels_last"))
    assert same[0, :, :, 0].tolist() == [[6, 8], [14, 16]]


def test_transposed_convolution(run):
    x = random(2, 3, 4, 5)
    kernel, bias = keras.Variable(random(2, 2, 3, 5, seed=1)), keras.Variable(random(3, seed=2))
    got = run("conv2d_transpose", x, kernel=kernel, bias=bias, strides=2)
    expected = reference.conv2d_transpose(
        nchw(x), *(torch.tensor(numpy(v), dtype=torch.float64) for v in (kernel, bias))
    )
    assert got.shape == (2, 6, 8, 3)
    assert relative_difference(got, nhwc(expected)) < 2e-6


def test_transposed_convolution_by_hand(run):
    kernel = keras.Variable(np.array([[1, 2], [3, 4]], "float32")[:, :, None, None])
    got = run("conv2d_transpose", grey([[1, 10]]), kernel=kernel, bias=None, strides=2)
    assert got[0, :, :, 0].tolist() == [[1, 2, 10, 20], [3, 4, 30, 40]]


# --- batch norm


def norm_variables(channels):
    values = random(4, channels, seed=3)
    values[[0, 3]] = np.abs(values[[0, 3]]) + 0.5
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    return {n: keras.Variable(v, trainable=False) for n, v in zip(names, values, strict=True)}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (1, 1, 1, 3), (2, 1, 1, 3)])
def test_batch_norm(run, training, shape):
    x = random(*shape)
    variables = norm_variables(shape[3])
    tape = reference.Tape(
        [(n, torch.tensor(numpy(v), dtype=torch.float64)) for n, v in variables.items()],
        training,
        momentum=0.7,
    )
    expected = nhwc(tape.norm(nchw(x), 1e-3))
    got = run("batch_norm", x, **variables, training=training, momentum=0.7, epsilon=1e-3)
    assert_close([got], [expected], 2e-5)
    moved = [numpy(variables[n]) for n in ("moving_mean", "moving_variance")]
    if training:
        assert_close(moved, [s.numpy() for s in tape.statistics], 2e-6)
    else:
        for value, name in zip(moved, ("moving_mean", "moving_variance"), strict=True):
            np.testing.assert_array_equal(value, numpy(norm_variables(shape[3])[name]))


def test_batch_norm_by_hand(run):
    """1, 3 have mean 2, variance 1, and unbiased variance 2."""
    x = grey([[1, 3]])
    values = {"gamma": [2.0], "beta": [5.0], "moving_mean": [0.0], "moving_variance": [1.0]}
    variables = {n: keras.Variable(v, trainable=False) for n, v in values.items()}
    got = run("batch_norm", x, **variables, training=True, momentum=0.9, epsilon=0.0)
    assert got.ravel().tolist() == pytest.approx([3.0, 7.0])
    assert numpy(variables["moving_mean"]).item() == pytest.approx(0.1 * 2)
    assert numpy(variables["moving_variance"]).item() == pytest.approx(0.9 + 0.1 * 2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batch_norm_of_half_precision_keeps_its_statistics_in_float32(dtype):
    """A mean of 1000 plus some thousandths, which bfloat16 cannot hold."""
    x = keras.ops.cast(1000.0 + random(4, 5, 5, 2), dtype)
    exact = numpy(keras.ops.cast(x, "float32"))
    variables = norm_variables(2)
    variables["moving_mean"].assign(np.zeros(2))
    for implementation in IMPLEMENTATIONS.values():
        native = implementation.to_native(x, "channels_last")
        y = implementation.batch_norm(
            native,
            **variables,
            training=True,
            momentum=0.0,
            epsilon=1e-5,
            data_format=implementation.native_format("channels_last"),
        )
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        mean = numpy(variables["moving_mean"])
        assert mean.dtype == np.float32
        np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6)


# --- element-wise and channels


def test_relu_by_hand():
    for implementation in IMPLEMENTATIONS.values():
        x = keras.ops.convert_to_tensor([-1.0, 0.0, 2.0])
        assert numpy(implementation.relu(x)).tolist() == [0.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("given", "expected"), [([10, 20], [11, 22, 3]), ([10, 20, 30, 40], [11, 22, 33])]
)
def test_shortcuts_are_padded_or_cut_at_the_end(run, given, expected):
    x = np.array([1, 2, 3], "float32").reshape(1, 1, 1, 3)
    shortcut = np.array(given, "float32").reshape(1, 1, 1, -1)
    assert run("add_channels", x, run.native(shortcut)).ravel().tolist() == expected


def test_concatenate_by_hand(run):
    a, b = np.full((1, 1, 2, 1), 1.0), np.full((1, 1, 2, 2), 2.0)
    assert run("concatenate", [a, b]).tolist() == [[[[1, 2, 2], [1, 2, 2]]]]
    assert run("concatenate", [a]).tolist() == a.tolist()


@pytest.mark.parametrize(("channels", "groups"), [(6, 2), (6, 3), (12, 4), (5, 5), (5, 1)])
def test_interleave(run, channels, groups):
    x = random(2, 3, 4, channels)
    expected = nhwc(reference.interleave(nchw(x), groups))
    assert relative_difference(run("interleave", x, groups=groups), expected) < 1e-7
    back = run("interleave", expected.astype("float32"), groups=channels // groups)
    np.testing.assert_array_equal(back, x)


def test_interleave_by_hand(run):
    x = np.arange(6.0).reshape(1, 1, 1, 6)
    assert run("interleave", x, groups=2).ravel().tolist() == [0, 3, 1, 4, 2, 5]


# --- between resolutions


def test_ceil_mode_by_hand(run):
    """What is outside is minus infinity: a zero would win over the negative pixels."""
    x = -grey([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    got = run("max_pool", x, pool_size=2, strides=2, padding=0, ceil_mode=True)
    assert got[0, :, :, 0].tolist() == [[-1, -3], [-7, -9]]
    got = run("max_pool", x, pool_size=2, strides=2, padding=0, ceil_mode=False)
    assert got[0, :, :, 0].tolist() == [[-1]]


def test_padded_max_pooling_by_hand(run):
    x = -grey(np.arange(1.0, 17.0).reshape(4, 4))
    got = run("max_pool", x, pool_size=3, strides=2, padding=1, ceil_mode=False)
    assert got[0, :, :, 0].tolist() == [[-1, -2], [-5, -6]]


@pytest.mark.parametrize("side", [(1, 1), (2, 3), (5, 4), (7, 9)])
@pytest.mark.parametrize(("size", "strides", "padding"), [(2, 2, 0), (3, 2, 1)])
def test_max_pooling(run, side, size, strides, padding):
    x = random(2, *side, 3) - 10
    ceil_mode = padding == 0
    expected = reference.max_pool(nchw(x), size, strides, padding, ceil_mode)
    settings = {"pool_size": size, "strides": strides, "padding": padding, "ceil_mode": ceil_mode}
    assert relative_difference(run("max_pool", x, **settings), nhwc(expected)) < 1e-7


def test_average_pooling_drops_what_is_left_over(run):
    x = grey(np.arange(1.0, 26.0).reshape(5, 5))
    got = run("average_pool", x, pool_size=2)
    assert got[0, :, :, 0].tolist() == [[4, 6], [14, 16]]
    np.testing.assert_array_equal(run("average_pool", x, pool_size=1), x)


def test_upsampling_is_cut_to_the_finer_grid(run):
    got = run("upsample", grey([[1, 2], [3, 4]]), height=3, width=4)
    assert got[0, :, :, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]


def test_subsample_by_hand(run):
    x = grey(np.arange(1.0, 16.0).reshape(3, 5))
    assert run("subsample", x, strides=2)[0, :, :, 0].tolist() == [[1, 3, 5], [11, 13, 15]]
    np.testing.assert_array_equal(run("subsample", x, strides=1), x)


# --- derivatives


def test_jacobian_by_hand():
    x = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")

    def outputs(x):
        return keras.ops.stack([keras.ops.sum(x * x), x[0, 1] * x[1, 0]])

    with torch.no_grad():  # wherever it is called
        got = numpy(torch_ops.jacobian(outputs, x))
    np.testing.assert_array_equal(got, [[[2, 4], [6, 8]], [[0, 3], [2, 0]]])
    if keras.backend.backend() != "jax":
        with pytest.raises(NotImplementedError, match="by torch and jax. Received: torch"):
            keras_ops.jacobian(outputs, x)
