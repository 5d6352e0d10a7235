import keras
import numpy as np
import pytest

from keras_mg.layers import (
    ConvNormActivation,
    Convolution,
    MaxPool,
    NormActivation,
    ResidualBlock,
    TransposedConvNormActivation,
)
from tests.support.arrays import numpy

IMAGE = np.zeros((1, 4, 4, 6), "float32")


@pytest.mark.parametrize("layer", [Convolution, ConvNormActivation])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"filters": 0}, "filters must be a positive integer. Received: filters=0"),
        ({"filters": 4, "kernel_size": 2}, "kernel_size must be odd. Received: kernel_size=2"),
        ({"filters": 4, "kernel_size": (3, 3)}, "kernel_size must be a positive integer"),
        ({"filters": 4, "strides": 0}, "strides must be a positive integer"),
        ({"filters": 4, "groups": 3}, "filters must be a multiple of groups.*filters=4, groups=3"),
    ],
)
def test_refused_arguments(layer, arguments, words):
    with pytest.raises(ValueError, match=words):
        layer(**arguments)


@pytest.mark.parametrize("layer", [Convolution, ConvNormActivation])
def test_input_channels_divide_by_groups(layer):
    with pytest.raises(ValueError, match="multiple of groups. Received: 6 channels, groups=4"):
        layer(4, groups=4)(IMAGE)


@pytest.mark.parametrize("shape", [(4, 4, 6), (1, 4, 4, 4, 6)])
def test_rank(shape):
    for layer in (Convolution(4), NormActivation(), ResidualBlock(4), MaxPool(2)):
        with pytest.raises(ValueError, match="must be a 4D tensor"):
            layer.compute_output_shape(shape) if isinstance(layer, MaxPool) else layer(
                np.zeros(shape, "float32")
            )


def test_channels_are_needed():
    for layer in (Convolution(4), TransposedConvNormActivation(4), ResidualBlock(4)):
        with pytest.raises(ValueError, match="channel axis of a channels_last input must be"):
            layer(keras.Input((4, 4, None)))


def test_softmax_is_no_activation_of_a_layer():
    for layer in (ConvNormActivation, TransposedConvNormActivation, ResidualBlock):
        with pytest.raises(ValueError, match="activation must be element-wise"):
            layer(4, activation="softmax")


def test_max_pool_refuses():
    for padding in (-1, 2, 0.5, None):
        with pytest.raises(ValueError, match="padding must be between 0 and half of pool_size"):
            MaxPool(3, padding=padding)
    with pytest.raises(ValueError, match="as large as the window. Received a padded side of 4"):
        MaxPool(5)(keras.Input((4, 8, 3)))


def test_residual_block_refuses():
    with pytest.raises(ValueError, match=r"shortcut must be one of \('A', 'B'\).*'C'"):
        ResidualBlock(4, shortcut="C")


def test_gammas_of_both_norms_start_apart():
    """An initializer object given to a layer is not shared: it would repeat its numbers."""
    layer = ResidualBlock(6, gamma_initializer=keras.initializers.RandomNormal(1.0, 0.5))
    layer.build(IMAGE.shape)
    a, b = numpy(layer.first.gamma), numpy(layer.second.gamma)
    assert not np.allclose(a, b)


def test_values_survive_what_lays_out_kernels():
    """The strides of a kernel are the backend's business, its numbers are not."""
    kernel = np.random.default_rng(0).normal(size=(3, 3, 6, 5)).astype("float32")
    layer = Convolution(5)
    layer.build(IMAGE.shape)
    layer.kernel.assign(kernel)
    np.testing.assert_array_equal(numpy(layer.kernel), kernel)
    assert layer.kernel.shape == kernel.shape


def test_batch_norm_sees_at_once_what_is_assigned():
    layer = NormActivation(activation=None, epsilon=0.0)
    layer.build((None, 1, 1, 1))
    layer.moving_mean.assign([1.0])
    layer.moving_variance.assign([4.0])
    layer.gamma.assign([6.0])
    layer.beta.assign([-1.0])
    assert numpy(layer(np.full((1, 1, 1, 1), 3.0))).item() == pytest.approx(5.0)
