"""Keras's own layers in a compiled model: which are captured, and what is said of the others."""

import warnings

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.layers import ConvNormActivation
from tests.support import compiled as support
from tests.support.arrays import numpy

pytestmark = support.MARKS
layers = keras.layers

CAPTURED = {
    "Rescaling": lambda: layers.Rescaling(1 / 255),
    "Rescaling of each channel": lambda: layers.Rescaling([0.5, 1.0, 2.0], [1.0, 2.0, 3.0]),
    "Normalization": lambda: layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 2.0, 3.0]),
    "CenterCrop": lambda: layers.CenterCrop(6, 6),
    "BatchNormalization": layers.BatchNormalization,
    "LayerNormalization": layers.LayerNormalization,
    "GroupNormalization": lambda: layers.GroupNormalization(3),
    "Dropout": lambda: layers.Dropout(0.5),
    "Conv2D": lambda: layers.Conv2D(3, 3, activation="gelu"),
    "SeparableConv2D": lambda: layers.SeparableConv2D(3, 3),
    "DepthwiseConv2D": lambda: layers.DepthwiseConv2D(3),
    "Conv2DTranspose": lambda: layers.Conv2DTranspose(3, 3),
    "MaxPooling2D": layers.MaxPooling2D,
    "AveragePooling2D": lambda: layers.AveragePooling2D(2),
    "UpSampling2D": layers.UpSampling2D,
    "PReLU": layers.PReLU,
    "GlobalMaxPooling2D": lambda: layers.GlobalMaxPooling2D(keepdims=True),
}
NOT_CAPTURED = {
    "Dropout": lambda: layers.Dropout(0.5, seed=1),
    "SpatialDropout2D": lambda: layers.SpatialDropout2D(0.5),
    "GaussianNoise": lambda: layers.GaussianNoise(0.5),
    "RandomFlip": layers.RandomFlip,
    "SpectralNormalization": lambda: layers.SpectralNormalization(layers.Conv2D(3, 3)),
}


def make(make_layer):
    keras.utils.set_random_seed(1)
    images = keras.Input((8, 8, 3))
    x = ConvNormActivation(4, data_format="channels_last")(make_layer()(images))
    outputs = layers.Dense(2)(layers.GlobalMaxPooling2D()(x))
    model = keras_mg.Model(images, outputs, name="small")
    model.torch_backend = "aot_eager"
    return model


def trained(model, jit_compile):
    """The weights after training, and what was said of compiling."""
    model.compile("sgd", "mse", jit_compile=jit_compile)
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype("float32")
    y = np.ones((4, *model.output_shape[1:]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0)
    messages = [str(w.message) for w in caught]
    return [numpy(w) for w in model.weights], [m for m in messages if "jit_compile" in m]


@pytest.mark.parametrize("name", CAPTURED)
def test_captured(name):
    compiled, messages = trained(make(CAPTURED[name]), True)
    assert not messages
    eager, _ = trained(make(CAPTURED[name]), False)
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NOT_CAPTURED)
def test_named(name):
    compiled, (message,) = trained(make(NOT_CAPTURED[name]), True)
    assert f"({name}) of model 'small' cannot be captured" in message
    eager, _ = trained(make(NOT_CAPTURED[name]), False)
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_layer_of_several_inputs_is_named():
    class Looking(layers.Layer):
        def call(self, x, other):
            return x + other if x.sum() > 0 else x - other

    x = keras.Input((8, 3))
    looked = Looking(name="looking")(x, other=x)
    model = keras_mg.Model(x, layers.Dense(1)(layers.Add()([x, looked])))
    model.torch_backend = "aot_eager"
    _, (message,) = trained(model, True)
    assert "layer 'looking' (Looking)" in message


def test_a_layer_is_saved_as_it_was_after_it_was_captured():
    make_layer = CAPTURED["Rescaling of each channel"]
    model = make(make_layer)
    before = model.get_layer(index=1).get_config()
    trained(model, True)
    assert model.get_layer(index=1).get_config() == before


def test_keras_is_left_as_it_was():
    from keras_mg._private import torch_compiler
    from keras_mg._private.keras import DynamicBackend

    def replaced():
        functions = torch_compiler.functions_before_3_16()
        return getattr(functions, "max", None), vars(DynamicBackend)["__getattr__"]

    before = replaced()
    trained(make(CAPTURED["Rescaling"]), True)
    assert before == replaced()
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    for axis, initial in ((None, None), (1, None), (0, 9.0)):
        options = {} if initial is None else {"initial": initial}
        expected = np.max(x, axis=axis, **options)
        np.testing.assert_array_equal(numpy(keras.ops.max(x, axis=axis, **options)), expected)


def test_freezing_a_layer_without_weights_of_its_own_counts():
    results = []
    for jit_compile in (True, False):
        model = make(lambda: layers.BatchNormalization(center=False, scale=False))
        trained(model, jit_compile)
        norm = model.get_layer(index=1)
        norm.trainable = False
        frozen = numpy(norm.moving_mean)
        data = np.full((2, 8, 8, 3), 5.0, "float32"), np.ones((2, 2))
        model.fit(*data, verbose=0)
        np.testing.assert_array_equal(numpy(norm.moving_mean), frozen)
        norm.trainable = True
        model.fit(*data, verbose=0)
        assert not np.array_equal(numpy(norm.moving_mean), frozen)
        results.append([numpy(w) for w in model.weights])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("request_", ["yes", 2, "True"])
def test_other_requests_are_refused(request_):
    with pytest.raises(ValueError, match=f'True, False or "auto".*jit_compile={request_!r}'):
        make(layers.ReLU).compile("sgd", "mse", jit_compile=request_)
