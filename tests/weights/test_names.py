"""The tables leave no array unused and no variable unset."""

import numpy as np
import pytest

from keras_mg import applications
from keras_mg.weights.names import (
    foreign_pair,
    hwio_to_oihw,
    mgnet_names,
    mxnet_names,
    oihw_to_hwio,
)
from tests.weights.mxnet_writer import fixture
from tests.weights.torch_mgnet import TorchMgNet

MGNETS = [
    ((1,), (4,), True),
    ((2, 2, 2, 2), (6, 6, 6, 6), True),
    ((2, 2, 2, 2), (6, 6, 6, 6), False),
    ((3, 1, 2), (4, 6, 8), True),
    ((3, 4, 6, 3), (4, 6, 8, 10), False),
]


def test_the_orders_of_axes_are_inverse():
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert oihw_to_hwio(kernel).shape == (4, 5, 3, 2)
    assert oihw_to_hwio(kernel)[1, 2, 0, 1] == kernel[1, 0, 1, 2]
    np.testing.assert_array_equal(hwio_to_oihw(oihw_to_hwio(kernel)), kernel)


NETWORKS = {
    "IGC-L100M2_ImageNet": applications.IGC_L100M2,
    "ResNet18-w64_ImageNet": applications.IGCResNet18_C64,
    "plain_igc_d38L24M2": lambda: applications.IGCPlain(38, 24, 2),
    "plain_igc_d8L8M2": lambda: applications.IGCPlain(8, 8, 2),
}


def names_of(model, shapes):
    """The array of each variable, after a look that the one fits the other."""
    used = []
    for variable in model.weights:
        present = [name for name in mxnet_names(variable.path) if name in shapes]
        assert len(present) == 1, variable.path
        pair = foreign_pair(present[0], variable)
        assert pair.convert_shape(tuple(shapes[present[0]])) == tuple(variable.shape)
        used += present
    return used


@pytest.mark.parametrize("network", NETWORKS)
def test_mxnet_both_ways(network):
    facts = fixture(network)
    shapes = {**facts["arg_shapes"], **facts["aux_shapes"]}
    assert sorted(names_of(NETWORKS[network](), shapes)) == sorted(shapes)


def imagenet_shapes(widths, primary):
    """The arrays of the authors' IGC networks without a fixture, from the description."""
    shapes = {"g0_conv_weight": (widths[0], 3, 7, 7)}
    units = {"g0_bn": widths[0]}
    before = widths[0]
    for s, width in enumerate(widths, 1):
        for b in (1, 2):
            place = f"g{s}_b{b}"
            if width != before:
                shapes[f"{place}_proj_conv_weight"] = (width, before // primary, 1, 1)
                units[f"{place}_proj_bn"] = width
            for c in (1, 2):
                shapes[f"{place}_conv{c}_conv1_weight"] = (width, before // primary, 3, 3)
                shapes[f"{place}_conv{c}_conv2_weight"] = (width, primary, 1, 1)
                units[f"{place}_conv{c}_bn"] = width
                before = width
    for unit, width in units.items():
        shapes |= {f"{unit}_{n}": (width,) for n in ("gamma", "beta", "moving_mean", "moving_var")}
    return {**shapes, "fc_score_weight": (1000, before), "fc_score_bias": (1000,)}


@pytest.mark.parametrize(
    ("construct", "primary", "widths"),
    [
        (applications.IGC_L16M16, 16, (256, 512, 1024, 2048)),
        (applications.IGC_L4M32, 4, (128, 256, 512, 1024)),
    ],
)
def test_the_networks_without_a_fixture(construct, primary, widths):
    shapes = imagenet_shapes(widths, primary)
    assert sorted(names_of(construct(), shapes)) == sorted(shapes)


@pytest.mark.parametrize(
    "construct",
    [
        lambda: applications.IGCResNet(20, 8, 2),
        lambda: applications.IGCResNetBaseline(20, 8),
        lambda: applications.IGCPlainBaseline(8, 8),
        applications.IGCResNet18_C69,
    ],
)
def test_every_variable_has_a_name_of_its_own(construct):
    names = [set(mxnet_names(variable.path)) for variable in construct().weights]
    assert all(names)
    assert len(set.union(*names)) == sum(map(len, names))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("stage2_block1/shortcut/kernel", "g2_b1_p0_line_conv_weight"),
        ("stage2_block1/shortcut/gamma", "g2_b1_p0_line_bn_gamma"),
        ("stage1_block3/igc1/primary/kernel", "g1_b3_p2_two1_conv1_weight"),
        ("stage1_block3/igc2/secondary/kernel", "g1_b3_p2_two2_conv2_weight"),
        ("stage1_block3/igc2/norm/moving_variance", "g1_b3_p2_two2_bn_moving_var"),
        ("stage3_block1/conv2/kernel", "g3_b1_p2_two2_conv_weight"),
        ("stage1_block1/kernel", "g1_b1_conv_weight"),
        ("predictions/kernel", "fc_weight"),
        ("predictions/bias", "fc_bias"),
    ],
)
def test_names_of_the_cifar_networks(path, name):
    """As the authors' symbols name them; no fixture holds these."""
    assert name in mxnet_names(path)


@pytest.mark.parametrize(
    "path",
    [
        "other/kernel",
        "stem/other/kernel",
        "stem/other",
        "predictions/gamma",
        "grid1_smoother/kernel",
    ],
)
def test_other_families_have_no_mxnet_names(path):
    assert mxnet_names(path) == []


@pytest.mark.parametrize(("iterations", "widths", "share"), MGNETS)
@pytest.mark.parametrize("include_top", [True, False])
def test_mgnet_both_ways(iterations, widths, share, include_top):
    net = TorchMgNet(iterations, widths, share, 10)
    shapes = {n: tuple(v.shape) for n, v in net.state_dict().items()}
    wanted = {n for n in shapes if not n.endswith("num_batches_tracked")}
    if not include_top:
        wanted = {n for n in wanted if not n.startswith("fc.")}
    model = applications.MgNet(iterations, widths, share, classes=10, include_top=include_top)
    names = mgnet_names(model)
    assert set(names) == {v.path for v in model.weights}
    every = [name for variable in model.weights for name in names[variable.path]]
    assert len(every) == len(set(every)), "an array has two variables"
    assert set(every) == wanted
    for variable in model.weights:
        for name in names[variable.path]:
            assert foreign_pair(name, variable).convert_shape(shapes[name]) == variable.shape


def test_what_is_shared_in_mgnet():
    names = mgnet_names(applications.MgNet((2, 1), 4))
    assert names["grid1_smoother/operator/kernel"] == [
        "layer0.0.A.weight",
        "layer0.1.A.weight",
        "layer1.0.A_old.weight",
    ]
    assert names["grid2_smoother/operator/kernel"] == [
        "layer1.1.A.weight",
        "layer1.0.A_conv.weight",
    ]
    assert names["grid1_smoother/smoother_0/kernel"] == ["layer0.0.B.weight", "layer0.1.B.weight"]
    assert names["grid2_restriction/residual/gamma"] == ["layer1.0.bn2.weight"]


def test_other_networks_are_no_mgnet():
    assert mgnet_names(applications.IGC_L100M2(include_top=False)) == {}
