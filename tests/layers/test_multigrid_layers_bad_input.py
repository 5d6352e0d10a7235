"""What the layers on pyramids refuse, and with which words."""

import keras
import numpy as np
import pytest

from keras_mg.layers import (
    MultigridConv,
    MultigridInput,
    MultigridPool,
    MultigridResidual,
    MultigridTransposedConv,
)

ON_PYRAMIDS = (MultigridConv, MultigridResidual, MultigridTransposedConv)


def grids(*sides, channels=2):
    return [np.zeros((1, s, s, channels), "float32") for s in sides]


@pytest.mark.parametrize("layer", [*ON_PYRAMIDS, MultigridInput])
@pytest.mark.parametrize("filters", [0, (4, -1), (4, 2.5), "64", ()])
def test_filters(layer, filters):
    with pytest.raises(ValueError, match="filters must (be a positive integer|have one entry)"):
        layer(filters)


@pytest.mark.parametrize("layer", [MultigridConv, MultigridResidual])
def test_filters_and_kernel_size_disagree(layer):
    with pytest.raises(
        ValueError, match=r"kernel_size must be one integer or one per grid of `filters` \(3 grids"
    ) as caught:
        layer((8, 4, 2), kernel_size=(3, 1))
    assert "(3, 1)" in str(caught.value)


@pytest.mark.parametrize("layer", [MultigridConv, MultigridResidual])
def test_even_kernels(layer):
    with pytest.raises(ValueError, match="kernel_size must be odd. Received: kernel_size=2"):
        layer((8, 4), kernel_size=(3, 2))


@pytest.mark.parametrize("layer", ON_PYRAMIDS)
@pytest.mark.parametrize("sides", [(8, 4), (8, 4, 2, 1), (8,)])
def test_wrong_number_of_grids(layer, sides):
    words = rf"needs a pyramid of 3 grids. Received {len(sides)}: .*\(1, 8, 8, 2\)"
    with pytest.raises(ValueError, match=words):
        layer((4, 4, 4))(grids(*sides))
    with pytest.raises(ValueError, match=words):
        layer((4, 4, 4))([keras.Input(g.shape[1:], batch_size=1) for g in grids(*sides)])


@pytest.mark.parametrize("layer", [MultigridConv, MultigridResidual])
def test_a_dropped_grid_counts(layer):
    with pytest.raises(ValueError, match="needs a pyramid of 3 grids. Received 2"):
        layer((4, 4), drop_coarsest=True)(grids(8, 4))


@pytest.mark.parametrize("layer", [*ON_PYRAMIDS, MultigridPool])
@pytest.mark.parametrize("sides", [(8, 8), (8, 2), (7, 3), (4, 8)])
def test_sides_that_do_not_halve(layer, sides):
    made = layer() if layer is MultigridPool else layer((4, 4))
    with pytest.raises(ValueError, match="half the side of the one before it, rounded up") as error:
        made(grids(*sides))
    assert f"(1, {sides[1]}, {sides[1]}, 2)" in str(error.value)


@pytest.mark.parametrize("layer", ON_PYRAMIDS)
def test_sides_unknown_at_build_time_are_checked_in_the_call(layer):
    inputs = [keras.Input((None, None, 2)) for _ in range(2)]
    model = keras.Model(inputs, layer((4, 4))(inputs))
    model(grids(8, 4))
    with pytest.raises(ValueError, match="half the side of the one before it"):
        model(grids(8, 5))


def test_merging_needs_two_grids():
    for setting in ({"merge": True}, {"drop_coarsest": True}):
        with pytest.raises(ValueError, match="merge and drop_coarsest need at least two grids"):
            MultigridPool(**setting)(grids(8))
    with pytest.raises(ValueError, match="exclude each other.*merge=True, drop_coarsest=True"):
        MultigridPool(merge=True, drop_coarsest=True)


@pytest.mark.parametrize(
    ("kind", "side", "rule"),
    [
        ("cifar", 2, "is too small for 3 grids: its sides must be multiples of 4"),
        ("cifar", 6, "does not divide evenly for 3 grids: its sides must be multiples of 4"),
        ("imagenet", 8, "is too small for 3 grids: its sides must be multiples of 16"),
        ("imagenet", 40, "does not divide evenly for 3 grids: .* multiples of 16"),
    ],
)
def test_images_that_do_not_suit_the_grids(kind, side, rule):
    image = np.zeros((1, side, 32, 3), "float32")
    with pytest.raises(ValueError, match=rule) as caught:
        MultigridInput((8, 4, 2), kind=kind)(image)
    assert str(image.shape) in str(caught.value)
    flexible = keras.Input((None, None, 3))
    model = keras.Model(flexible, MultigridInput((8, 4, 2), kind=kind)(flexible))
    with pytest.raises(ValueError, match=rule):
        model(image)


def test_names_that_are_none_of_the_choices():
    with pytest.raises(ValueError, match=r"kind must be one of \('cifar', 'imagenet'\).*'mnist'"):
        MultigridInput((8, 4), kind="mnist")
    with pytest.raises(ValueError, match=r"shortcut must be one of \('A', 'B', 'C'\).*'D'"):
        MultigridResidual((8, 4), shortcut="D")


@pytest.mark.parametrize("layer", [MultigridConv, MultigridResidual])
def test_dropout_rates(layer):
    with pytest.raises(ValueError, match=r"dropout must be a number in \[0, 1\).*dropout=1.0"):
        layer((8, 4), dropout=1.0)


def test_an_image_without_channels_or_rank():
    with pytest.raises(ValueError, match="must be a 4D tensor"):
        MultigridInput((8, 4))(np.zeros((1, 8, 8), "float32"))
    with pytest.raises(ValueError, match="channel axis of a channels_last input must be defined"):
        MultigridInput((8, 4))(keras.Input((8, 8, None)))


def test_a_refused_call_leaves_the_layer_usable():
    layer = MultigridConv((4, 4))
    layer(grids(8, 4))
    before = [keras.ops.convert_to_numpy(v) for v in layer.weights]
    with pytest.raises(ValueError, match="pyramid of 2 grids"):
        layer(grids(8, 4, 2), training=True)
    for old, variable in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), old)
    assert len(layer(grids(8, 4))) == 2
