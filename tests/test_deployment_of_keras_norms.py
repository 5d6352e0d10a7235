"""`deploy`: which of Keras's own batch norms are folded, and which are kept."""

import keras
import pytest

import keras_mg
from tests.support.deployed import check_deployed, difference, images, norms_left, shake

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def convolution(filters=6, **kwargs):
    kwargs = {"data_format": "channels_last", "name": "conv", **kwargs}
    return keras.layers.Conv2D(filters, 3, **kwargs)


def batch_norm(**kwargs):
    return keras.layers.BatchNormalization(**{"name": "norm", **kwargs})


def stock(conv=None, norm=None, wire=lambda image, conv, norm: norm(conv(image)), shape=(8, 8, 4)):
    """The model of what `wire` makes of an image, a stock convolution and a batch norm."""
    image = keras.Input(shape)
    return shake(keras.Model(image, wire(image, conv or convolution(), norm or batch_norm())))


def used_by_another_model(image, conv, norm):
    x = conv(image)
    keras.Model(image, keras.layers.ReLU()(x))
    return norm(x)


FOLDED = {
    "plain": lambda: stock(),
    "no bias": lambda: stock(convolution(use_bias=False)),
    "no scale": lambda: stock(norm=batch_norm(scale=False)),
    "no center": lambda: stock(norm=batch_norm(center=False)),
    "strides": lambda: stock(convolution(strides=2, padding="same")),
    "groups": lambda: stock(convolution(8, groups=2)),
    "dilation": lambda: stock(convolution(dilation_rate=2)),
    "positive axis": lambda: stock(norm=batch_norm(axis=3)),
    "channels first": lambda: stock(
        convolution(data_format="channels_first"), batch_norm(axis=1), shape=(4, 8, 8)
    ),
    "renorm": lambda: stock(norm=batch_norm(renorm=True)),
    "before another layer": lambda: stock(wire=lambda i, c, n: keras.layers.ReLU()(n(c(i)))),
    "inference mode": lambda: stock(wire=lambda i, c, n: n(c(i), training=False)),
    "input by keyword": lambda: stock(wire=lambda i, c, n: n(inputs=c(inputs=i))),
    "in another model too": lambda: stock(wire=used_by_another_model),
    "sequential": lambda: shake(
        keras.Sequential([keras.Input((8, 8, 4)), convolution(), batch_norm()])
    ),
}


@pytest.mark.parametrize("case", FOLDED)
def test_a_stock_norm_is_folded(tmp_path, case):
    model = FOLDED[case]()
    deployed = check_deployed(model, tmp_path)
    assert type(deployed.get_layer("norm")) is keras.layers.Identity
    assert sorted(w.name for w in deployed.weights) == ["bias", "kernel"]


class OwnConv2D(keras.layers.Conv2D):
    def call(self, inputs):
        return -super().call(inputs)


class OwnBatchNormalization(keras.layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return -super().call(inputs, training, mask)


DATA_FORMAT = {"data_format": "channels_last"}
KEPT = {
    "activation": lambda: stock(convolution(activation="relu")),
    "other axis": lambda: stock(norm=batch_norm(axis=1)),
    "other axis, channels first": lambda: stock(
        convolution(data_format="channels_first"), shape=(4, 8, 8)
    ),
    "two consumers": lambda: stock(wire=lambda i, c, n: (x := c(i)) + n(x)),
    "convolution is an output": lambda: stock(wire=lambda i, c, n: [(x := c(i)), n(x)]),
    "shared convolution": lambda: stock(convolution(4), wire=lambda i, c, n: n(c(c(i)))),
    "shared convolution, two norms": lambda: stock(
        wire=lambda i, c, n: [n(c(i)), keras.layers.BatchNormalization()(c(-i))]
    ),
    "shared norm": lambda: stock(wire=lambda i, c, n: n(n(c(i)))),
    "operation between": lambda: stock(wire=lambda i, c, n: n(keras.ops.tanh(c(i)))),
    "no convolution": lambda: stock(wire=lambda i, c, n: n(i)),
    "end of an inner model": lambda: stock(
        wire=lambda i, c, n: n(keras.Sequential([keras.Input((8, 8, 4)), c])(i))
    ),
    "depthwise": lambda: stock(keras.layers.DepthwiseConv2D(3, **DATA_FORMAT)),
    "transposed": lambda: stock(keras.layers.Conv2DTranspose(4, 3, **DATA_FORMAT)),
    "own convolution": lambda: stock(OwnConv2D(4, 3, **DATA_FORMAT)),
    "own norm": lambda: stock(norm=OwnBatchNormalization(name="norm")),
    "activity of the convolution": lambda: stock(convolution(activity_regularizer="l2")),
    "activity of the norm": lambda: stock(norm=batch_norm(activity_regularizer="l2")),
    "LoRA": lambda: stock(convolution(lora_rank=1)),
    "other dtype": lambda: stock(norm=batch_norm(dtype="float64")),
}


@pytest.mark.parametrize("case", KEPT)
def test_a_stock_norm_is_kept(tmp_path, case):
    if case == "other dtype" and keras.backend.backend() == "jax":
        pytest.skip("jax has no float64 unless told so")
    custom = {"OwnConv2D": OwnConv2D, "OwnBatchNormalization": OwnBatchNormalization}
    deployed = check_deployed(KEPT[case](), tmp_path, **custom)
    assert "norm" in norms_left(deployed)


def test_a_stock_norm_called_in_training_mode_is_deployed_for_inference():
    # Nothing of a deployed model is trainable, and a frozen batch norm uses its moving statistics.
    for conv in (convolution(), convolution(activation="relu")):
        norm = batch_norm()
        trained = stock(conv, norm, wire=lambda i, c, n: n(c(i), training=True))
        inferred = keras.Model(trained.input, norm(conv(trained.input), training=False))
        x = images(inferred)
        assert difference(inferred(x), keras_mg.deploy(trained)(x)) <= 1e-5


def test_a_stock_norm_in_an_inner_model(tmp_path):
    inner = stock(shape=(8, 8, 4))
    image = keras.Input((8, 8, 4))
    model = keras.Model(image, keras.layers.Add()([inner(image), inner(image * 2)]))
    assert norms_left(check_deployed(model, tmp_path)) == []


def test_a_stock_norm_in_mixed_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = stock()
    deployed = check_deployed(model, tmp_path, tolerance=2e-2)
    assert norms_left(deployed) == []
    assert deployed.output.dtype == "bfloat16"
