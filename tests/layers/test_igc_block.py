import numpy as np
import pytest

from keras_mg.layers import IGCBlock, IGCResidual
from tests.support.arrays import numpy


def test_the_second_reordering_undoes_the_first():
    """With identities for convolutions, four channels in two by two groups come out in order."""
    layer = IGCBlock(4, 2, 2, activation=None, epsilon=0.0)
    x = np.arange(1.0, 5.0, dtype="float32").reshape(1, 1, 1, 4)
    layer.build(x.shape)
    primary, secondary = np.zeros((3, 3, 2, 4)), np.zeros((1, 1, 2, 4))
    for group in (0, 1):
        for i in (0, 1):
            primary[1, 1, i, 2 * group + i] = 1.0
            secondary[0, 0, i, 2 * group + i] = 1.0
    layer.primary.kernel.assign(primary)
    layer.secondary.kernel.assign(secondary)
    assert numpy(layer(x)).ravel().tolist() == [1, 2, 3, 4]


def test_each_secondary_group_sees_every_primary_group():
    """The same with a secondary convolution that sums its group: 1 + 3 and 2 + 4."""
    layer = IGCBlock(4, 2, 2, activation=None, epsilon=0.0)
    x = np.arange(1.0, 5.0, dtype="float32").reshape(1, 1, 1, 4)
    layer.build(x.shape)
    primary = np.zeros((3, 3, 2, 4))
    for group in (0, 1):
        for i in (0, 1):
            primary[1, 1, i, 2 * group + i] = 1.0
    layer.primary.kernel.assign(primary)
    layer.secondary.kernel.assign(np.ones((1, 1, 2, 4)))
    assert numpy(layer(x)).ravel().tolist() == [4, 6, 4, 6]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((10, 3, 2), "filters must be a multiple of primary_partitions.*10, primary_partitions=3"),
        ((12, 3, 5), "filters must be a multiple of secondary_partitions.*secondary_partitions=5"),
        ((12, 0, 2), "primary_partitions must be a positive integer"),
        ((12, 3, 2.0), "secondary_partitions must be a positive integer"),
        ((12, 3, 2, 0), "strides must be a positive integer"),
    ],
)
def test_block_refuses_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        IGCBlock(*arguments)


@pytest.mark.parametrize("layer", [IGCBlock, IGCResidual])
def test_input_channels_divide_by_the_partitions(layer):
    with pytest.raises(
        ValueError, match="multiple of (primary_partitions|groups).*: 7 channels, .*=3"
    ):
        layer(12, 3, 2)(np.zeros((1, 4, 4, 7), "float32"))


def test_residual_refuses():
    with pytest.raises(ValueError, match="filters must be a multiple of secondary_partitions"):
        IGCResidual(12, 3, (2, 5))(np.zeros((1, 4, 4, 12), "float32"))
    with pytest.raises(ValueError, match="must be an integer or a pair.*1, 2, 3"):
        IGCResidual(12, 3, (1, 2, 3))
    for strides, channels in ((2, 12), (1, 6)):
        with pytest.raises(ValueError, match="project=False needs an input of `filters` channels"):
            IGCResidual(12, 3, 2, strides=strides, project=False)(
                np.zeros((1, 4, 4, channels), "float32")
            )
