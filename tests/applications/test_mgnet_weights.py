"""The table leaves no array of the authors' checkpoints unused and no variable unset."""

import pytest

from keras_mg import applications
from keras_mg.applications._mgnet_weights import mgnet_names
from keras_mg.weights._array_names import foreign_pair
from tests.weights.torch_mgnet import TorchMgNet

MGNETS = [
    ((1,), (4,), True),
    ((2, 2, 2, 2), (6, 6, 6, 6), True),
    ((2, 2, 2, 2), (6, 6, 6, 6), False),
    ((3, 1, 2), (4, 6, 8), True),
    ((3, 4, 6, 3), (4, 6, 8, 10), False),
]


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
