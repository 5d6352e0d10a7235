"""Counts of single layers, worked out by hand."""

import math

import keras
import pytest

from keras_mg import layers, ops
from tests.support.jax_process import run_on_jax


def model_of(shape, *stack):
    inputs = outputs = keras.Input(shape)
    for layer in stack:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def cases():
    """Makers of a model, and its multiply-accumulates and trainable parameters."""
    last = {"data_format": "channels_last"}
    first = {"data_format": "channels_first"}
    conv, up = layers.Convolution, layers.TransposedConvNormActivation
    return {
        # 8 x 8 pixels of 16 channels, each of 3 x 3 x 4 products.
        "convolution": (
            lambda: model_of((8, 8, 4), conv(16, use_bias=True, **last)),
            64 * 16 * 36,
            36 * 16 + 16,
        ),
        "channels_first": (lambda: model_of((4, 8, 8), conv(16, **first)), 64 * 16 * 36, 36 * 16),
        "strides": (lambda: model_of((9, 7, 4), conv(16, strides=2, **last)), 20 * 16 * 36, 576),
        "groups": (lambda: model_of((8, 8, 4), conv(16, groups=2, **last)), 64 * 16 * 18, 18 * 16),
        "pointwise": (lambda: model_of((8, 8, 4), conv(16, 1, **last)), 64 * 16 * 4, 64),
        # Each of the 4 x 6 pixels of 8 channels spreads to 2 x 2 pixels of 5; batch norm is free.
        "transposed": (lambda: model_of((4, 6, 8), up(5, **last)), 24 * 8 * 20, 160 + 5 + 10),
        "dense": (lambda: model_of((7,), keras.layers.Dense(11)), 77, 88),
        "dense_on_maps": (lambda: model_of((3, 3, 7), keras.layers.Dense(11)), 9 * 77, 88),
        "nothing": (lambda: model_of((8, 8, 4), layers.MaxPool(2, **last)), 0, 0),
        "two": (
            lambda: model_of(
                (8, 8, 4), conv(4, **last), layers.MaxPool(2, **last), conv(2, **last)
            ),
            64 * 4 * 36 + 16 * 2 * 36,
            36 * 4 + 36 * 2,
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", cases())
def test_count_by_hand(name):
    check(name)


def check(name):
    make, macs, parameters = cases()[name]
    model, count = ops.multiply_accumulates(make)
    assert count == macs
    sizes = [math.prod(v.shape) for v in model.trainable_variables]
    assert sum(sizes) == parameters


def test_jax_counts_the_same():
    run_on_jax(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.ops import test_counting\n"
        "for name in test_counting.cases(): test_counting.check(name)\n",
        __file__.rsplit("/tests/", 1)[0],
    )


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the meta device is torch's")
def test_no_memory_is_taken():
    model, _ = ops.multiply_accumulates(
        lambda: model_of((8, 8, 10_000), layers.Convolution(1_000_000, data_format="channels_last"))
    )
    assert {v.value.device.type for v in model.weights} == {"meta"}


def test_other_backends_are_an_error(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(NotImplementedError, match="torch and jax. Received: backend='tensorflow'"):
        ops.multiply_accumulates(lambda: None)
