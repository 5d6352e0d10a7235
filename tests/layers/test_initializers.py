"""How weights start: the deviation of every kernel, bias and batch norm, layer by layer."""

import numpy as np
import pytest

from keras_mg import layers
from keras_mg.layers import initializers
from tests.support.arrays import kind_of, numpy

IMAGE, PYRAMID = (None, 8, 8, 40), [(None, 8, 8, 40), (None, 4, 4, 30)]


def fan_in(shape):
    return np.prod(shape[:3])


def he_fan_out(shape):
    return np.sqrt(2 / (shape[0] * shape[1] * shape[3]))


def he_fan_in(shape):
    return np.sqrt(2 / fan_in(shape))


def torch_uniform(shape):
    """Of U(-b, b) with b = 1 / sqrt(fan_in), which is b / sqrt(3)."""
    return 1 / np.sqrt(3 * fan_in(shape))


@pytest.mark.parametrize(
    ("make", "deviation", "uniform"),
    [
        (initializers.he_fan_out, he_fan_out, False),
        (initializers.he_fan_in, he_fan_in, False),
        (initializers.torch_uniform, torch_uniform, True),
    ],
)
def test_distribution(make, deviation, uniform):
    shape = (3, 3, 40, 80)
    values = numpy(make()(shape)).ravel() / deviation(shape)
    assert values.std() == pytest.approx(1.0, rel=0.02)
    assert values.mean() == pytest.approx(0.0, abs=0.02)
    # The fourth moment tells them apart: 1.8 of a uniform one, 3 of a normal one.
    assert (values**4).mean() == pytest.approx(1.8 if uniform else 3.0, rel=0.06)
    if uniform:
        assert np.abs(values).max() <= np.sqrt(3) * (1 + 1e-5)
    else:
        assert np.abs(values).max() > 3.5  # nothing is cut off


@pytest.mark.parametrize(
    ("layer", "shape", "deviation"),
    [
        (layers.Convolution(60), IMAGE, he_fan_out),
        (layers.ConvNormActivation(60, groups=2, use_bias=True), IMAGE, he_fan_out),
        (layers.MultigridInput((60, 50)), IMAGE, he_fan_out),
        (layers.MultigridInput((20, 20), kind="imagenet"), (None, 8, 8, 3), he_fan_out),
        (layers.MultigridConv((60, 50), kernel_size=(3, 1)), PYRAMID, he_fan_out),
        (layers.MultigridResidual((60, 50), shortcut="C"), PYRAMID, he_fan_out),
        (layers.ResidualBlock(60, strides=2, shortcut="B", use_bias=True), IMAGE, he_fan_out),
        (layers.IGCBlock(160, 2, 4), IMAGE, he_fan_in),
        (layers.IGCResidual(160, 2, 4), IMAGE, he_fan_in),
        (layers.MgNetSmoother(40, 2, share_smoother=False), IMAGE, torch_uniform),
        (layers.MgNetRestriction(60), [IMAGE, IMAGE], torch_uniform),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "build") else "",
)
def test_layers(layer, shape, deviation):
    layer.build(shape)
    start = {"gamma": 1.0, "beta": 0.0, "bias": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    kernels = []
    for variable in layer.weights:
        values = numpy(variable)
        if kind_of(variable) != "kernel":
            assert (values == start[kind_of(variable)]).all(), variable.path
            continue
        kernels.append(values)
        # Five deviations of the estimate, for any number of values.
        room = 5 / np.sqrt(2 * values.size)
        assert values.std() == pytest.approx(deviation(values.shape), rel=room), variable.path
        assert abs(values.mean()) < 5 * deviation(values.shape) / np.sqrt(values.size)
    assert kernels
    for i, a in enumerate(kernels):
        for b in kernels[i + 1 :]:
            assert a.shape != b.shape or not np.allclose(a, b), "two kernels start equal"


def test_transposed_convolutions_start_as_torch_starts_them():
    layer = layers.TransposedConvNormActivation(60)
    layer.build((None, 8, 8, 50))
    bound = 1 / np.sqrt(4 * 50)
    for values in (numpy(layer.kernel), numpy(layer.bias)):
        assert np.abs(values).max() <= bound
    assert numpy(layer.kernel).std() == pytest.approx(bound / np.sqrt(3), rel=0.03)
    assert numpy(layer.bias).std() == pytest.approx(bound / np.sqrt(3), rel=0.3)


def test_a_layer_starts_with_the_initializer_that_it_is_given():
    layer = layers.ResidualBlock(60, kernel_initializer=initializers.he_fan_in())
    layer.build(IMAGE)
    for kernel in (layer.first.kernel, layer.second.kernel):
        assert numpy(kernel).std() == pytest.approx(he_fan_in(kernel.shape), rel=0.05)


UNITS = [
    (layers.NormActivation, {}, (None, 8, 8, 600)),
    (layers.ConvNormActivation, {"filters": 600}, IMAGE),
    (layers.TransposedConvNormActivation, {"filters": 600}, IMAGE),
    (layers.ResidualBlock, {"filters": 600}, IMAGE),
    (layers.MultigridInput, {"filters": (600, 600)}, IMAGE),
    (layers.MultigridConv, {"filters": (600, 600), "kernel_size": 1}, PYRAMID),
    (layers.MultigridTransposedConv, {"filters": (600, 600)}, PYRAMID),
]


@pytest.mark.parametrize(("layer", "settings", "shape"), UNITS)
def test_scales_start_as_torch7_starts_them(layer, settings, shape):
    """Uniform in [0, 1), each batch norm with numbers of its own."""
    made = layer(**settings, gamma_initializer=initializers.unit_uniform())
    again = layer.from_config(made.get_config())
    for unit in (made, again):
        unit.build(shape)
        gammas = [numpy(v) for v in unit.weights if kind_of(v) == "gamma"]
        for values in gammas:
            assert 0 <= values.min() < 0.02
            assert 0.98 < values.max() < 1
            assert values.mean() == pytest.approx(0.5, abs=5 / np.sqrt(12 * values.size))
        for i, a in enumerate(gammas):
            assert not any(np.allclose(a, b) for b in gammas[i + 1 :])


@pytest.mark.parametrize(
    ("layer", "settings"),
    [
        (layers.NormActivation, {}),
        (layers.ConvNormActivation, {"filters": 6}),
        (layers.ResidualBlock, {"filters": 6, "shortcut": "B"}),
        (layers.IGCBlock, {"filters": 6, "primary_partitions": 2, "secondary_partitions": 3}),
        (layers.IGCResidual, {"filters": 6, "primary_partitions": 2, "secondary_partitions": 3}),
    ],
)
def test_moving_variances_start_where_they_are_told_to(layer, settings):
    made = layer(**settings, moving_variance_initializer="zeros")
    again = layer.from_config(made.get_config())
    for unit in (made, again):
        unit.build(IMAGE)
        variances = [numpy(v) for v in unit.weights if kind_of(v) == "moving_variance"]
        assert variances
        assert not np.any(variances)
