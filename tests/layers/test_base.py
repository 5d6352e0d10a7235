"""The base layer: what a subclass of somebody else's gets from it."""

import keras
import pytest

from keras_mg import layers
from keras_mg.layers.protocols import stated


class Kept(layers.ConvNormActivation):
    """A user's layer with an argument more, kept under its name."""

    def __init__(self, *args, gain=1.0, dtype=None, **kwargs):
        super().__init__(*args, dtype=dtype, **kwargs)
        self.gain = gain


class Renamed(layers.MultigridPool):
    """One that keeps its argument under another name, and so writes it itself."""

    def __init__(self, size=2, **kwargs):
        super().__init__(**kwargs)
        self.window = size

    def get_config(self):
        return {**super().get_config(), "size": self.window}


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (
            Kept(4, strides=2, activation=None, gain=3.0, dtype="mixed_bfloat16"),
            {"filters": 4, "strides": 2, "activation": "linear", "gain": 3.0},
        ),
        (Renamed(5, merge=True), {"size": 5, "merge": True}),
    ],
)
def test_a_subclass_with_an_argument_more_has_it_in_its_config(layer, wanted):
    config = layer.get_config()
    assert {name: config[name] for name in wanted} == wanted
    again = type(layer).from_config(config)
    assert again.get_config() == config
    assert again.dtype_policy.name == layer.dtype_policy.name


def test_a_subclass_that_builds_something_is_not_built_yet():
    class Weighted(layers.MaxPool):
        def build(self, input_shape):
            self.gain = self.add_weight(shape=())

    assert layers.MaxPool(2).built
    layer = Weighted(2, data_format="channels_last")
    layer(keras.Input((8, 8, 3)))
    assert len(layer.weights) == 1


def test_a_statement_is_of_the_class_that_makes_it():
    assert stated(layers.ConvNormActivation(4), "remat") == "whole"
    assert stated(layers.MgNetSmoother(4), "remat") == "parts"
    assert stated(Kept(4), "remat") is None
    assert stated(Kept(4), "fold") is None
    assert stated(keras.layers.Dense(4), "remat") is None
