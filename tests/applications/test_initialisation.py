"""How the networks start: measured on fresh weights, family by family."""

import math
from functools import partial

import keras
import numpy as np
import pytest

from keras_mg import applications as zoo
from tests.support.arrays import kind_of, numpy


def fan_out(shape):
    height, width, _, outputs = shape
    return math.sqrt(2 / (height * width * outputs))


def fan_in(shape):
    return math.sqrt(2 / math.prod(shape[:-1]))


def torch_bound(shape):
    """Of a uniform distribution, the default of Torch's convolutions and fully connected layers."""
    return 1 / math.sqrt(math.prod(shape[:-1]))


IGC_PLAIN = partial(zoo.IGCPlain, 8, 16, 4)
IGC_RESNET = partial(zoo.IGCResNet, 8, 16, 4)
SMALL_UNET = {"filters": (16, 32, 64, 128)}

NORMAL = [
    pytest.param(make, deviation, id=name)
    for name, make, deviation in (
        ("MG6", zoo.MG6, fan_out),
        ("PMG9", zoo.PMG9, fan_out),
        ("RMG12", zoo.RMG12, fan_out),
        ("PRMGSeg30-B", zoo.PRMGSeg30, fan_out),
        ("CifarVGG6", zoo.CifarVGG6, fan_out),
        ("CifarRES12", zoo.CifarRES12, fan_out),
        ("SegPMG", zoo.SegPMG, fan_out),
        ("SegPRMG", zoo.SegPRMG, fan_out),
        ("SegUNet", partial(zoo.SegUNet, **SMALL_UNET), fan_out),
        ("SegUMG", partial(zoo.SegUMG, **SMALL_UNET), fan_out),
        ("IGC_L100M2", zoo.IGC_L100M2, fan_in),
        ("IGCResNet18_C64", zoo.IGCResNet18_C64, fan_in),
        ("IGCPlain", IGC_PLAIN, fan_in),
        ("IGCResNet", IGC_RESNET, fan_in),
        ("IGCPlainBaseline", partial(zoo.IGCPlainBaseline, 8, 32), fan_in),
        ("IGCResNetBaseline", partial(zoo.IGCResNetBaseline, 8, 32), fan_in),
        ("ResNet20", zoo.ResNet20, fan_in),
    )
]


def convolutions(model):
    """Path and value of each kernel of a convolution that is not transposed."""
    return [
        (v.path, numpy(v))
        for v in model.trainable_variables
        if v.name == "kernel" and v.path != "predictions/kernel" and "_sampling/" not in v.path
    ]


def assert_spread(values, deviation, path):
    """Mean 0 and this standard deviation, to five times their own standard errors."""
    count = values.size
    assert abs(values.mean()) < 5 * deviation / math.sqrt(count), path
    assert abs(values.std() / deviation - 1) < 5 / math.sqrt(2 * count), path


@pytest.mark.parametrize(("make", "deviation"), NORMAL)
def test_normal_kernels(make, deviation):
    kernels = convolutions(make())
    assert len(kernels) >= 5
    scaled = []
    for path, kernel in kernels:
        assert_spread(kernel, deviation(kernel.shape), path)
        scaled.append(kernel.ravel() / deviation(kernel.shape))
    # A normal distribution, and one that is not cut at two deviations.
    scaled = np.abs(np.concatenate(scaled))
    assert (scaled > 2).mean() == pytest.approx(0.0455, abs=0.006)
    assert scaled.max() > 3


@pytest.mark.parametrize(
    "make",
    [
        zoo.RMG12,
        zoo.CifarRES12,
        zoo.SegPMG,
        zoo.IGC_L100M2,
        IGC_PLAIN,
        partial(zoo.MgNet, filters=32),
        zoo.ResNet20,
    ],
)
def test_no_two_kernels_of_one_shape_start_equal(make):
    kernels = [kernel for _, kernel in convolutions(make())]
    pairs = [(a, b) for i, a in enumerate(kernels) for b in kernels[:i] if a.shape == b.shape]
    assert pairs
    assert not any(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("share_smoother", [True, False])
def test_mgnet_starts_as_torch_does(share_smoother):
    model = zoo.MgNet(filters=32, share_smoother=share_smoother)
    kernels = convolutions(model)
    for path, kernel in kernels:
        bound = torch_bound(kernel.shape)
        assert_spread(kernel, bound / math.sqrt(3), path)
        assert 0.98 * bound < np.abs(kernel).max() <= bound * (1 + 1e-6), path
    bias = numpy(model.get_layer("predictions").bias)
    bound = 1 / math.sqrt(32)
    assert_spread(bias, bound / math.sqrt(3), "predictions/bias")
    assert np.abs(bias).max() <= bound


@pytest.mark.parametrize(
    ("make", "features", "zero_bias"),
    [
        (zoo.MG6, 896, False),
        (zoo.PMG9, 896, False),
        (zoo.CifarVGG6, 816, False),
        (zoo.RMG12, 896, True),
        (zoo.PRMG16, 896, True),
        (zoo.CifarRES12, 512, True),
        (partial(zoo.RMG18, classes=100), 512, True),
        (partial(zoo.PRMGSeg30, classes=100), 512, True),
        (partial(zoo.IGC_L100M2, classes=100), 1600, True),
        (partial(zoo.IGCPlain, 5, 16, 4, classes=100), 256, True),
        (partial(zoo.IGCResNet, 8, 16, 4, classes=100), 256, True),
        (partial(zoo.MgNet, filters=32), 32, False),
    ],
)
def test_fully_connected_layers_start_as_torch_does(make, features, zero_bias):
    # The head alone is of interest; the largest networks are made at a small image.
    head = make().get_layer("predictions")
    kernel, bias = numpy(head.kernel), numpy(head.bias)
    assert kernel.shape == (features, 100)
    bound = 1 / math.sqrt(features)
    assert_spread(kernel, bound / math.sqrt(3), "predictions/kernel")
    assert 0.98 * bound < np.abs(kernel).max() <= bound * (1 + 1e-6)
    if zero_bias:
        assert not bias.any()
    else:
        assert_spread(bias, bound / math.sqrt(3), "predictions/bias")
        assert np.abs(bias).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("block", ["bn_before_add", "bn_after_add"])
def test_torch_residual_networks(block):
    model = zoo.ResNet56(block=block)
    gammas = np.concatenate([numpy(v) for v in model.trainable_variables if v.name == "gamma"])
    assert_spread(gammas - 1, 0.002, "gamma")
    head = model.get_layer("predictions")
    others = [v for v in model.trainable_variables if v.name in ("beta", "bias")]
    assert len(others) == 2 * 55 + 1
    assert not any(numpy(v).any() for v in others if v is not head.bias)
    heads = [zoo.ResNet20(block=block).get_layer("predictions") for _ in range(20)]
    bound = 1 / math.sqrt(10)
    for name in ("kernel", "bias"):
        values = np.stack([numpy(getattr(head, name)) for head in heads])
        assert_spread(values, bound / math.sqrt(3), f"predictions/{name}")
        assert 0.98 * bound < np.abs(values).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("make", [zoo.SegUNet, zoo.SegUMG])
def test_transposed_convolutions_start_as_torch_does(make):
    """Torch counts as fan-in what one output reads of an unstrided convolution: k * k * inputs."""
    model = make(filters=(16, 32, 64, 128))
    variables = {v.path: numpy(v) for v in model.trainable_variables if "_sampling/" in v.path}
    kernels = {path: v for path, v in variables.items() if path.endswith("kernel")}
    assert len(kernels) >= 3
    for path, kernel in kernels.items():
        height, width, _, inputs = kernel.shape
        bound = 1 / math.sqrt(height * width * inputs)
        assert_spread(kernel, bound / math.sqrt(3), path)
        assert np.abs(kernel).max() <= bound * (1 + 1e-6)
        bias = variables[path.removesuffix("kernel") + "bias"]
        assert_spread(bias, bound / math.sqrt(3), path)
        assert np.abs(bias).max() <= bound * (1 + 1e-6)
        assert bias.any()


# Plain networks of the multigrid paper, whose scales Torch7 starts at U(0, 1).
PLAIN = [
    zoo.MG6,
    zoo.PMG9,
    zoo.CifarVGG6,
    zoo.SegPMG,
    partial(zoo.SegUNet, **SMALL_UNET),
    partial(zoo.SegUMG, **SMALL_UNET),
]


@pytest.mark.parametrize("make", PLAIN)
def test_scales_of_plain_networks_start_uniformly(make):
    model = make()
    gammas = {v.path: numpy(v) for v in model.trainable_variables if v.name == "gamma"}
    # Of each batch norm on its own: none is left at 1, no two start equal.
    assert all(0 <= g.min() < g.max() < 1 for g in gammas.values())
    same_width = [(a, b) for a in gammas.values() for b in gammas.values() if a.shape == b.shape]
    assert sum(np.array_equal(a, b) for a, b in same_width) == len(gammas)
    values = np.concatenate(list(gammas.values()))
    assert len(values) > 300
    assert_spread(values - 0.5, 1 / math.sqrt(12), "gamma")


CIFAR_IGC = [
    IGC_PLAIN,
    IGC_RESNET,
    partial(zoo.IGCPlainBaseline, 8, 32),
    partial(zoo.IGCResNetBaseline, 8, 32),
]


@pytest.mark.parametrize(
    "make",
    [
        *PLAIN,
        *CIFAR_IGC,
        zoo.RMG12,
        zoo.PRMG16,
        zoo.RMG18,
        zoo.PRMGSeg30,
        zoo.CifarRES12,
        zoo.SegPRMG,
        zoo.IGC_L4M32,
        zoo.IGCResNet18_C64,
        partial(zoo.MgNet, filters=8),
        zoo.ResNet20,
    ],
)
def test_how_batch_norms_and_biases_of_convolutions_start(make):
    """Neutrally, but for the scales of plain networks and the moving variances of CIFAR's IGC."""
    variance = 0.0 if make in CIFAR_IGC else 1.0
    has_own_scales = make in PLAIN or make is zoo.ResNet20
    seen = set()
    for variable in make().weights:
        kind, value = kind_of(variable), numpy(variable)
        seen.add(kind)
        if kind in ("beta", "moving_mean"):
            assert not value.any(), variable.path
        elif kind == "moving_variance":
            assert (value == variance).all(), variable.path
        elif kind == "gamma" and not has_own_scales:
            assert (value == 1).all(), variable.path
        elif kind == "bias" and not variable.path.startswith("predictions/b"):
            assert value.any() == ("_sampling/" in variable.path), variable.path
    assert {"gamma", "beta", "moving_mean", "moving_variance"} <= seen


def test_the_output_bias_of_dense_networks():
    for make, layer in ((zoo.SegPMG, "grid_0"), (zoo.SegPRMG, "conv2_grid_0")):
        model = make(outputs=3, filters=(4, 4, 2, 2), output_bias=-2.5)
        (beta,) = (v for v in model.weights if v.path == f"predictions/{layer}/beta")
        assert numpy(beta).tolist() == [-2.5] * 3
    assert (
        keras.ops.convert_to_numpy(zoo.SegPMG().get_layer("predictions").units[0].beta).any() == 0
    )


@pytest.mark.parametrize("make", [IGC_PLAIN, partial(zoo.MgNet, filters=8)])
def test_a_seed_repeats_the_start(make):
    def start():
        keras.utils.set_random_seed(11)
        return make().get_weights()

    for a, b in zip(start(), start(), strict=True):
        np.testing.assert_array_equal(a, b)
