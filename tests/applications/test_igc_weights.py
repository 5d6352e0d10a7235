"""The table leaves no array of the authors' files unused and no variable unset."""

import pytest

from keras_mg import applications
from keras_mg.applications._igc_weights import array_names, igc_names
from keras_mg.weights._array_names import foreign_pair
from tests.weights.mxnet_writer import fixture

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
        present = [name for name in array_names(variable.path) if name in shapes]
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
    names = [set(array_names(variable.path)) for variable in construct().weights]
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
    assert name in array_names(path)


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
def test_other_families_have_no_array_names(path):
    assert array_names(path) == []


def test_other_networks_are_none_of_the_igc_authors():
    assert igc_names(applications.MgNet((1,), 4)) == {}
    assert igc_names(applications.ResNet20()) == {}
