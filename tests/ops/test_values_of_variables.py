"""The primitives take a variable's value as `Variable.value` says, whatever scopes there are."""

import keras
import numpy as np
import pytest

from keras_mg import ops
from keras_mg.layers import ConvNormActivation

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch's primitives")

X = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")


def unit(**options):
    layer = ConvNormActivation(4, use_bias=True, data_format="channels_last", **options)
    layer.build((None, 4, 4, 3))
    return layer


def test_under_a_stateless_scope_the_values_are_those_of_the_scope():
    layer = unit()
    others = [keras.ops.ones_like(weight) * 2 for weight in layer.weights]
    with keras.StatelessScope(list(zip(layer.weights, others, strict=True))):
        within = layer(X)
    assert not np.allclose(keras.ops.convert_to_numpy(within), layer(X).detach().numpy())
    layer.set_weights([keras.ops.convert_to_numpy(each) for each in others])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(within), layer(X).detach().numpy())


def test_in_mixed_precision_kernels_are_cast_and_statistics_are_not(monkeypatch):
    layer = unit(dtype="mixed_bfloat16")
    seen = []
    own = torch.batch_norm

    def batch_norm(*args):
        seen.append([each.dtype for each in args[:5]])
        return own(*args)

    monkeypatch.setattr(torch, "batch_norm", batch_norm)
    assert layer(X).dtype == torch.bfloat16
    assert seen == [[torch.bfloat16] + [torch.float32] * 4]


def test_on_the_meta_device_nothing_is_computed():
    layer = unit()
    with keras.device("meta"):
        x = keras.ops.zeros((2, 3, 4, 4))
        y = ops.conv2d(x, layer.kernel, layer.bias, 1, 1, 1, "channels_first")
    assert y.is_meta
    assert tuple(y.shape) == (2, 4, 4, 4)


def test_an_assigned_value_is_taken_at_once():
    layer = unit()
    layer.beta.assign(keras.ops.ones((4,)) * 7)
    layer.gamma.assign(keras.ops.zeros((4,)))
    np.testing.assert_array_equal(layer(X).detach().numpy(), np.full((2, 4, 4, 4), 7, "float32"))
