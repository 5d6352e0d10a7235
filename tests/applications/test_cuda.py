"""The networks on CUDA: the numbers of the CPU, and training in mixed precision."""

import keras
import numpy as np
import pytest

from tests.support import zoo
from tests.support.arrays import numpy, randomize, relative_difference
from tests.support.device import exact_float32

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.gpu

FLAGSHIPS = [
    row for row in zoo.ROWS if row.quick and row.name in ("RMG18", "IGC_L100M2", "MgNet", "SegPMG")
]
each = pytest.mark.parametrize("row", FLAGSHIPS, ids=lambda row: row.id)


@each
def test_cuda_gives_the_numbers_of_the_cpu(row):
    images = zoo.image(row)
    with keras.device("cpu"):
        model = zoo.randomized(row, data_format="channels_last")
        expected = zoo.outputs(model, images)
    with keras.device("cuda"), exact_float32():
        for data_format in ("channels_last", "channels_first"):
            on_cuda = zoo.randomized(row, data_format=data_format)
            on_cuda.set_weights(model.get_weights())
            assert relative_difference(zoo.outputs(on_cuda, images, data_format), expected) <= 2e-5


@each
@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # of grids that are then dropped
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_step_of_training(row, policy):
    with keras.device("cuda"):
        model = randomize(row.make(input_shape=row.small, dtype=policy))
        loss = "binary_crossentropy" if row.dense else "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.SGD(0.01), loss)
        y = np.zeros((2, *model.output_shape[1:])) if row.dense else np.array([0, 1])
        before = [numpy(v) for v in model.weights]
        history = model.fit(zoo.image(row), y, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    after = [numpy(v) for v in model.weights]
    assert all(np.isfinite(a).all() for a in after)
    moved = sum(not np.array_equal(a, b) for a, b in zip(after, before, strict=True))
    assert moved > 0.9 * len(before)
    assert {v.value.device.type for v in model.weights} == {"cuda"}
