import keras
import numpy as np
import pytest

from keras_mg import layers
from keras_mg.layers import arguments


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, True, (3,)])
def test_positive_int_refuses(value):
    with pytest.raises(ValueError, match="width must be a positive integer. Received: width="):
        arguments.positive_int("width", value)


def test_positive_int_takes_numpy_integers():
    value = arguments.positive_int("width", np.int64(3))
    assert (value, type(value)) == (3, int)


def test_positive_ints():
    assert arguments.positive_ints("filters", 3) == (3,)
    assert arguments.positive_ints("filters", [3, 4]) == (3, 4)
    for value in ([], ()):
        with pytest.raises(ValueError, match="filters must have one entry per grid"):
            arguments.positive_ints("filters", value)
    for value in ("64", [3, 0], [3, 2.5], [[3]], None):
        with pytest.raises(ValueError, match="filters must be a positive integer. Received: "):
            arguments.positive_ints("filters", value)


def test_odd_int():
    assert arguments.odd_int("kernel_size", 7) == 7
    with pytest.raises(ValueError, match="kernel_size must be odd. Received: kernel_size=4"):
        arguments.odd_int("kernel_size", 4)


def test_per_grid():
    assert arguments.per_grid("kernel_size", 3, 2) == (3, 3)
    assert arguments.per_grid("kernel_size", [3, 1], 2) == (3, 1)
    for value in ([3], [3, 3, 1]):
        with pytest.raises(ValueError, match=r"kernel_size .* grid of `filters` \(2 grids\)"):
            arguments.per_grid("kernel_size", value, 2)


@pytest.mark.parametrize("value", [1, 1.5, -0.1, "0.5", None, True, float("nan")])
def test_rate_refuses(value):
    with pytest.raises(ValueError, match=r"dropout must be a number in \[0, 1\). Received"):
        arguments.rate("dropout", value)


def test_activations_are_elementwise():
    assert arguments.elementwise_activation("relu") is keras.activations.relu
    assert arguments.elementwise_activation(None) is keras.activations.linear
    for name in ("softmax", "log_softmax"):
        with pytest.raises(ValueError, match=f"activation must be element-wise.*{name}"):
            arguments.elementwise_activation(name)


def test_initializers_are_not_shared():
    """An unseeded initializer gives the same numbers again, so each weight needs its own."""
    given = keras.initializers.RandomNormal()
    a, b = (arguments.initializer(given)((4,)) for _ in range(2))
    assert not np.allclose(*map(keras.ops.convert_to_numpy, (a, b)))


def test_shapes_of_one_tensor_and_of_lists():
    assert arguments.as_shapes((None, 4, 4, 3)) == [(None, 4, 4, 3)]
    assert arguments.as_shapes([[None, 4, 4, 3], [None, 2, 2, 3]]) == [
        (None, 4, 4, 3),
        (None, 2, 2, 3),
    ]


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(1, 8, 8, 2), (1, 4, 4, 2)], "needs a pyramid of 3 grids. Received 2"),
        ([(1, 8, 8, 2), (1, 4, 4, 2), (1, 4, 4, 2)], "half the side of the one before it"),
        ([(1, 7, 8, 2), (1, 3, 4, 2), (1, 2, 2, 2)], "rounded up. Received shapes: .*1, 3, 4, 2"),
        ([(1, 8, 8, 2), (1, 4, 5, 2), (1, 2, 2, 2)], "half the side"),
        ([(1, 8, 8, 2), (1, 4, 4), (1, 2, 2, 2)], "must be a 4D tensor.*1, 4, 4"),
        ([(1, 8, 8, 2), (1, 4, 4, None), (1, 2, 2, 2)], "channel axis .* must be defined"),
    ],
)
def test_what_is_no_pyramid_is_named(shapes, words):
    with pytest.raises(ValueError, match=f"some_layer.*{words}"):
        arguments.check_pyramid(shapes, "channels_last", "some_layer", 3)


def test_unknown_sides_are_passed_over():
    arguments.check_pyramid([(1, None, 8, 2), (1, 3, None, 2)], "channels_last", "some_layer", 2)


def test_numpy_arrays_are_sequences():
    assert arguments.positive_ints("filters", np.array([8, 4])) == (8, 4)
    assert arguments.per_grid("kernel_size", np.array([3, 1]), 2) == (3, 1)
    assert arguments.per_grid("kernel_size", np.int64(3), 2) == (3, 3)


@pytest.mark.parametrize("value", [-0.1, 1.1, "x", None, True, float("nan")])
def test_a_momentum_is_a_fraction(value):
    with pytest.raises(ValueError, match="momentum must be a number in \\[0, 1\\]. Received: mome"):
        layers.NormActivation(momentum=value)


@pytest.mark.parametrize("value", [-1e-5, "x", None, True, float("nan")])
def test_an_epsilon_is_not_negative(value):
    with pytest.raises(ValueError, match="epsilon must be a number of at least 0. Received: eps"):
        layers.ConvNormActivation(4, epsilon=value)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sparsemax", "glu"])
def test_activations_across_channels_are_refused(name):
    with pytest.raises(ValueError, match="activation must be element-wise.*Received"):
        arguments.elementwise_activation(name)


def test_a_built_layer_refuses_other_channels():
    """Also symbolically, where no convolution would complain."""
    layer = layers.ConvNormActivation(8, data_format="channels_last")
    layer(keras.Input((8, 8, 3)))
    for shape in ((8, 8, 5), (8, 3)):
        with pytest.raises(ValueError, match="incompatible with the layer"):
            layer(keras.Input(shape))
    pyramid = layers.MultigridConv((8, 4), data_format="channels_last")
    pyramid([keras.Input((8, 8, 3)), keras.Input((4, 4, 2))])
    with pytest.raises(ValueError, match="was built for grids of \\[3, 2\\] channels"):
        pyramid([keras.Input((8, 8, 2)), keras.Input((4, 4, 3))])


def test_a_transposed_pyramid_of_odd_sides_is_a_pyramid():
    layer = layers.MultigridTransposedConv((4, 2, 2), data_format="channels_last")
    grids = layer([np.ones((1, s, s, 2), "float32") for s in (7, 4, 2)])
    assert [tuple(g.shape) for g in grids] == [(1, 14, 14, 4), (1, 7, 7, 2), (1, 4, 4, 2)]
    assert layer.compute_output_shape([(1, s, s, 2) for s in (7, 4, 2)]) == [
        tuple(g.shape) for g in grids
    ]
    layers.MultigridConv((4, 2, 2), data_format="channels_last")(grids)
