"""A network that is given other inputs than its images says what it takes, and what it got."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.layers import ConvNormActivation

CALLS = {
    "predict": lambda model, x: model.predict(x, verbose=0),
    "fit": lambda model, x: model.fit(x, np.zeros(len(x)), verbose=0),
    "evaluate": lambda model, x: model.evaluate(x, np.zeros(len(x)), verbose=0),
    "call": lambda model, x: model(x),
    "call by name": lambda model, x: model(inputs=x),
    "train_on_batch": lambda model, x: model.train_on_batch(x, np.zeros(len(x))),
    "predict_on_batch": lambda model, x: model.predict_on_batch(x),
}

LAST = r"small takes images of shape \(8, 8, 3\), channels last, as one batch of rank 4"


def network(channels=3, sides=8, data_format="channels_last"):
    shape = (sides, sides, channels)
    image = keras.Input(shape if data_format == "channels_last" else (channels, sides, sides))
    x = ConvNormActivation(4, data_format=data_format)(image)
    x = keras.layers.GlobalAveragePooling2D(data_format=data_format)(x)
    model = keras_mg.Model(image, keras.layers.Dense(2)(x), name="small")
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    return model


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 8, 8, 1), r"shape \(2, 8, 8, 1\). These are grey: `np.repeat\(images, 3, axis=-1\)`"),
        ((2, 8, 8, 4), r"shape \(2, 8, 8, 4\)$"),
        ((2, 3, 8, 8), r"shape \(2, 3, 8, 8\). These are channels first: move the axis$"),
        ((2, 16, 16, 3), r"shape \(2, 16, 16, 3\)$"),
        ((8, 8, 3), r"shape \(8, 8, 3\). This is one image: `image\[None\]` is a batch of it$"),
        ((8, 8, 8), r"shape \(8, 8, 8\)$"),
        ((2, 192), r"shape \(2, 192\)$"),
        ((2, 1, 8, 8, 3), r"shape \(2, 1, 8, 8, 3\)$"),
    ],
)
def test_images_of_another_shape(call, shape, words):
    with pytest.raises(ValueError, match=f"{LAST}. Received: {words}"):
        CALLS[call](network(), np.zeros(shape, "float32"))


def test_channels_first_of_any_side():
    model = network(3, None, "channels_first")
    rule = r"images of shape \(3, height, width\), channels first"
    with pytest.raises(ValueError, match=f"{rule}.*These are channels last: move the axis"):
        model(np.zeros((2, 8, 8, 3), "float32"))
    with pytest.raises(ValueError, match=rf"{rule}.*np.repeat\(images, 3, axis=-3\)"):
        model(np.zeros((2, 1, 8, 8), "float32"))
    assert model.predict(np.zeros((2, 3, 8, 4), "float32"), verbose=0).shape == (2, 2)


def test_other_numbers_of_inputs():
    with pytest.raises(ValueError, match=f"{LAST}. Received: 2 inputs"):
        network()([np.zeros((2, 8, 8, 3), "float32")] * 2)
    with pytest.raises(ValueError, match=f"{LAST}. Received: 0 inputs"):
        network()([])


def test_a_network_inside_another_speaks_for_itself():
    image = keras.Input((8, 8, 1))

    def predict():  # Keras 3.16 looks at symbolic images, too
        outer = keras_mg.Model(image, network()(image), name="outer")
        outer.predict(np.zeros((2, 8, 8, 1)), verbose=0)

    received = r". Received: shape \((None|2), 8, 8, 1\). .* grey"
    with pytest.raises(ValueError, match=LAST + received):
        predict()


def test_what_keras_takes_is_taken():
    grey = network(1)
    for shape in ((2, 8, 8, 1), (2, 8, 8), (2, 8, 8, 1, 1)):
        assert grey.predict(np.zeros(shape), verbose=0).shape == (2, 2)


def test_other_errors_stay_as_they_are():
    class Refuses(keras.layers.Layer):
        refuses = False

        def call(self, x):
            if self.refuses:
                raise ValueError("not today")
            return x

    image = keras.Input((8, 8, 3))
    layer = Refuses()
    model = keras_mg.Model(image, layer(image))
    layer.refuses = True
    with pytest.raises(ValueError, match="not today"):
        model(np.zeros((2, 8, 8, 3), "float32"))
    flat = keras.Input((4,))
    with pytest.raises(ValueError, match="incompatible with the layer"):
        keras_mg.Model(flat, keras.layers.Dense(1)(flat))(np.zeros((2, 5), "float32"))


def test_every_network_says_its_own_name():
    model = keras_mg.applications.MgNet(
        (1, 1), filters=4, input_shape=(16, 16, 3), data_format="channels_last"
    )
    with pytest.raises(ValueError, match=r"mgnet takes images of shape \(16, 16, 3\)"):
        model.predict(np.zeros((2, 16, 16, 1), "float32"), verbose=0)
