import keras
import pytest

from keras_mg.applications import IGC_L100M2
from keras_mg.layers import IGCResidual


@pytest.fixture(scope="module")
def model():
    with keras.device("meta"):
        return IGC_L100M2(data_format="channels_last")


def test_stages(model):
    blocks = [x for x in model.layers if isinstance(x, IGCResidual)]
    assert [(b.filters, b.primary_partitions, b.strides) for b in blocks] == [
        (200, 100, 1), (200, 100, 1), (400, 200, 2), (400, 200, 1),
        (800, 400, 2), (800, 400, 1), (1600, 800, 2), (1600, 800, 1),
    ]  # fmt: skip
    assert {b.secondary_partitions for b in blocks} == {(2, 2)}


def test_parameters(model):
    trained = sum(v.value.numel() for v in model.trainable_variables)
    assert trained == 8_637_900
    gammas = sum(v.value.numel() for v in model.weights if v.name in ("gamma", "beta"))
    # The published 8.61 M leave batch norm out.
    assert round((trained - gammas) / 1e6, 2) == 8.61


def test_no_convolution_has_a_bias(model):
    assert [v.path for v in model.weights if v.name == "bias"] == ["predictions/bias"]


def test_batch_norm_constants(model):
    layers = [x for x in model._flatten_layers() if hasattr(x, "epsilon")]
    assert {(x.epsilon, x.momentum) for x in layers} == {(2e-5, 0.9)}
