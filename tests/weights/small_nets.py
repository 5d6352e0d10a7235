"""Small networks for the tests of weights files, and how to compare them."""

import keras
import numpy as np
from keras import layers


@keras.saving.register_keras_serializable(package="keras_mg_tests")
class Unit(layers.Layer):
    """A layer with layers in a list and in attributes, as the composite layers are."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.convolutions = [layers.Conv2D(filters, 3, padding="same"), layers.Conv2D(filters, 1)]
        self.norm = layers.BatchNormalization()

    def build(self, shape):
        inner = (*shape[:3], self.filters)
        self.convolutions[0].build(shape)
        self.convolutions[1].build(inner)
        self.norm.build(inner)

    def call(self, x, training=None):
        for convolution in self.convolutions:
            x = convolution(x)
        return self.norm(x, training=training)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def small_net(include_top=True, classes=5, filters=4, units=2, dropout=0.1, head="predictions"):
    image = keras.Input((8, 8, 3))
    x = Unit(filters, name="unit0")(image)
    for i in range(1, units):
        x = layers.Dropout(dropout, name=f"dropout{i}")(x)
        x = layers.Add(name=f"add{i}")([x, Unit(filters, name=f"unit{i}")(x)])
    if include_top:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dense(classes, name=head)(x)
    return keras.Model(image, x, name="small")


def randomize(model, seed=0):
    random = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def values(model):
    return [keras.ops.convert_to_numpy(v) for v in model.weights]


def assert_equal(model, arrays):
    got = values(model)
    assert len(got) == len(arrays)
    for a, b in zip(got, arrays, strict=True):
        np.testing.assert_array_equal(a, b)
