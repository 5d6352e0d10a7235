"""MgNet's layers carry r = f - A(u); the papers carry f. That is algebra, so the numbers agree."""

import keras
import numpy as np
import pytest

from keras_mg.layers import MgNetRestriction, MgNetSmoother
from tests.support.arrays import numpy, randomize, relative_difference
from tests.support.reference import Tape, conv2d

torch = pytest.importorskip("torch")

FILTERS = (4, 6, 3)
ITERATIONS = (2, 3, 1)


def make_layers(share_smoother, dtype):
    """Smoother, restriction, smoother, ... of three grids, with random values."""
    layers = []
    for g, (filters, iterations) in enumerate(zip(FILTERS, ITERATIONS, strict=True)):
        if g > 0:
            layers.append(MgNetRestriction(filters, dtype=dtype))
        last = g == len(FILTERS) - 1
        layers.append(
            MgNetSmoother(
                filters, iterations, share_smoother, return_residual=not last, dtype=dtype
            )
        )
    return layers


def of_the_layers(layers, f):
    state = f
    for layer in layers:
        state = layer(state, training=True)
    return state


def of_the_papers(layers, weights, f):
    """The formulas as the papers print them: f on every grid, A(u) wherever it is written."""
    tapes = [
        Tape(((v.name, w) for v, w in zip(layer.weights, values, strict=True)), training=True)
        for layer, values in zip(layers, weights, strict=True)
    ]
    kernels = [values[0] for values in weights]  # a smoother's first is its A
    f = f.permute(0, 3, 1, 2)
    u = torch.zeros_like(f)
    for i, (layer, tape) in enumerate(zip(layers, tapes, strict=True)):
        if isinstance(layer, MgNetRestriction):
            old, new = kernels[i - 1], kernels[i + 1]
            restricted = tape.norm(tape.convolution(u, 3, layer.filters, strides=2), 1e-5, "relu")
            r = tape.convolution(f - conv2d(u, old), 3, layer.filters, strides=2)
            u = restricted
            f = tape.norm(r, 1e-5, "relu") + conv2d(u, new)
            continue
        operator = tape.take("kernel")
        for k in range(layer.iterations):
            x = tape.norm(f - conv2d(u, operator), 1e-5, "relu")
            if k == 0 or not layer.share_smoother:
                smoother = tape.take("kernel")
            u = u + tape.norm(conv2d(x, smoother), 1e-5, "relu")
        tape.assert_used_up()
    return u.permute(0, 2, 3, 1), [s for tape in tapes for s in tape.statistics]


@pytest.mark.parametrize("share_smoother", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-12)])
def test_carrying_the_residual_is_exact_algebra(share_smoother, dtype, tolerance):
    """Outputs, gradients and statistics of smoothers and restrictions on three grids."""
    layers = make_layers(share_smoother, dtype)
    generator = np.random.default_rng(0)
    image = generator.normal(size=(3, 9, 7, FILTERS[0])).astype(dtype)
    of_the_layers(layers, keras.ops.convert_to_tensor(image))  # builds
    for i, layer in enumerate(layers):
        randomize(layer, i)
    exact = torch.float64
    weights = [
        [torch.tensor(numpy(v), dtype=exact, requires_grad=v.trainable) for v in layer.weights]
        for layer in layers
    ]
    f = torch.tensor(image, requires_grad=True)
    reference_f = torch.tensor(image, dtype=exact, requires_grad=True)
    expected, statistics = of_the_papers(layers, weights, reference_f)
    u = of_the_layers(layers, f)
    cotangent = torch.tensor(generator.normal(size=tuple(u.shape)))
    (u * cotangent.to(u.dtype)).sum().backward()
    (expected * cotangent).sum().backward()

    assert relative_difference(numpy(u), expected.detach().numpy()) <= tolerance
    # Where float32 rounds a value to the other side of a ReLU's zero, a gradient jumps: hence the
    # room, which float64 does not need.
    room = 50 if dtype == "float32" else 1
    assert relative_difference(numpy(f.grad), reference_f.grad.numpy()) <= room * tolerance
    for layer, values in zip(layers, weights, strict=True):
        # The last grid's A has a gradient of zero but for rounding, so a layer shares one scale.
        scale = max(w.grad.abs().max().item() for w in values if w.requires_grad)
        for variable, w in zip(layer.weights, values, strict=True):
            if w.requires_grad:
                gap = np.abs(numpy(variable.value.grad) - w.grad.numpy()).max()
                assert gap <= room * tolerance * scale, variable.path
    moved = [v for layer in layers for v in layer.non_trainable_variables]
    for variable, value in zip(moved, statistics, strict=True):
        assert relative_difference(numpy(variable), value.numpy()) <= tolerance


def test_one_convolution_serves_all_iterations_or_each_has_its_own():
    for share, kernels in ((True, 2), (False, 4)):
        layer = MgNetSmoother(4, iterations=3, share_smoother=share)
        layer.build((None, 8, 8, 4))
        assert sum(v.name == "kernel" for v in layer.weights) == kernels
        assert sum(v.name == "gamma" for v in layer.weights) == 6


def test_one_iteration_by_hand():
    """On one pixel of one channel a convolution is a product with its centre weight."""
    layer = MgNetSmoother(1, iterations=1, epsilon=0.0)
    u, r = np.full((1, 1, 1, 1), 2.0, "float32"), np.full((1, 1, 1, 1), 3.0, "float32")
    layer.build([u.shape, r.shape])
    for part, centre in ((layer.operator, 5.0), (layer.smoother_0, 0.5)):
        kernel = np.zeros((3, 3, 1, 1))
        kernel[1, 1] = centre
        part.kernel.assign(kernel)
    # e = 0.5 * 3 = 1.5; u = 2 + 1.5; r = 3 - 5 * 1.5
    assert [numpy(y).item() for y in layer([u, r])] == [3.5, -4.5]


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(1, 4, 4, 3)], "must have `filters` channels.*filters=4"),
        ([(1, 4, 4, 4), (1, 4, 2, 4)], "u and r must have one shape"),
        ([(1, 4, 4, 4)] * 3, r"one tensor, r, or a list of two, \[u, r\]"),
        ([(1, 4, 4)], "must be a 4D tensor"),
    ],
)
def test_smoother_refuses(shapes, words):
    inputs = [np.zeros(shape, "float32") for shape in shapes]
    with pytest.raises(ValueError, match=words):
        MgNetSmoother(4)(inputs if len(inputs) > 1 else inputs[0])


def test_restriction_refuses():
    x = np.zeros((1, 4, 4, 4), "float32")
    with pytest.raises(ValueError, match=r"needs a list of two tensors, \[u, r\]"):
        MgNetRestriction(4)(x)
    with pytest.raises(ValueError, match="u and r must have one shape"):
        MgNetRestriction(4)([x, x[:, :2]])


@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_counts_are_positive(value):
    for arguments in ({"filters": value}, {"filters": 4, "iterations": value}):
        with pytest.raises(ValueError, match="(filters|iterations) must be a positive integer"):
            MgNetSmoother(**arguments)
