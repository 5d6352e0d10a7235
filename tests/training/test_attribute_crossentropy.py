"""The weighted loss against the sum of torch's own, weighted twice as the original does."""

import keras
import numpy as np
import pytest

from keras_mg.training import AttributeCrossentropy

torch = pytest.importorskip("torch")

POSITIVES, NEGATIVES = [10, 1, 40, 0], [40, 49, 10, 50]


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_equals_the_criteria_of_the_original(power):
    rng = np.random.default_rng(0)
    bits = (rng.random((6, 3)) < 0.5).astype("float32")
    answers = rng.uniform(0.05, 0.95, (6, 3)).astype("float32")
    expected = 0.0
    for i, (p, n) in enumerate(zip(POSITIVES[:3], NEGATIVES[:3], strict=True)):
        p, n = p**power, n**power
        # Each a criterion whose terms are weighted, in a sum of weighted criteria.
        weight = torch.full((6,), n / p)
        each = torch.nn.functional.binary_cross_entropy(
            torch.tensor(answers[:, i]), torch.tensor(bits[:, i]), weight
        )
        expected += float(each) * p / (p + n)
    loss = AttributeCrossentropy(POSITIVES[:3], NEGATIVES[:3], power)
    assert float(loss(bits, answers)) == pytest.approx(expected, rel=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(bits, answers)) == pytest.approx(expected, rel=1e-5)


def test_an_attribute_that_nothing_has_counts_whole():
    loss = AttributeCrossentropy(POSITIVES, NEGATIVES)
    assert loss.weights[3] == 1
    assert np.isfinite(float(loss([[1.0, 0.0, 0.0, 0.0]], [[0.5] * 4])))


def test_bad_counts():
    with pytest.raises(ValueError, match=r"a number per attribute. Received: \(2,\), \(1,\)"):
        AttributeCrossentropy([1, 2], [1])
    with pytest.raises(ValueError, match=r"not both 0. Received: positives=\[0.0\]"):
        AttributeCrossentropy([0], [0])
    with pytest.raises(ValueError, match="power must be a number of at least 0"):
        AttributeCrossentropy([1], [1], power=-1)
