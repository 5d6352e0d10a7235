"""Updates without a read are Keras's updates, to the bit."""

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("of torch", allow_module_level=True)

from keras_mg.training._torch_optimizers import keep_rate_on_device, reads_rate  # noqa: E402
from tests.support.host_reads import HostReads  # noqa: E402

optimizers = keras.optimizers
CASES = {
    "SGD": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "Nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "schedule": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
    "clipped": lambda: optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.5),
    "scaled": lambda: optimizers.LossScaleOptimizer(optimizers.SGD(0.1, momentum=0.9)),
    "Adadelta": lambda: optimizers.Adadelta(0.1),
}


def trained(optimizer, dtype="float32", device="cpu"):
    generator = np.random.default_rng(0)
    with keras.device(device):
        shapes = (64, 33), (17,), (3, 3, 8, 8)
        variables = [keras.Variable(generator.normal(size=s), dtype=dtype) for s in shapes]
        optimizer.build(variables)
        gradients = [
            [keras.ops.convert_to_tensor(generator.normal(size=s), dtype) for s in shapes]
            for _ in range(8)
        ]
        with HostReads() as counter:
            for step in gradients:
                optimizer.apply(step, variables)
        return counter.here, [keras.ops.convert_to_numpy(v) for v in variables]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_the_weights_are_those_of_keras(case, dtype):
    theirs, ours = CASES[case](), CASES[case]()
    keep_rate_on_device(ours)
    reads_before, expected = trained(theirs, dtype)
    reads, found = trained(ours, dtype)
    for a, b in zip(found, expected, strict=True):
        a, b = a.astype("float64"), b.astype("float64")
        # Of 8 bits, the last may be rounded otherwise in each step.
        tolerance = 2.0**-6 if dtype == "bfloat16" else 0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    reads_each_step = reads_before - reads >= 8
    assert reads_each_step == reads_rate(type(getattr(theirs, "inner_optimizer", theirs)))
    assert case == "scaled" or reads == 0


@pytest.mark.parametrize(
    "make", [optimizers.AdamW, optimizers.Lion, type("Own", (optimizers.SGD,), {})]
)
def test_others_are_left_as_they_are(make):
    optimizer = make()
    before = dict(vars(optimizer))
    keep_rate_on_device(optimizer)
    assert vars(optimizer) == before
    keep_rate_on_device(None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_changed_rate_counts():
    optimizer = optimizers.SGD(0.5)
    keep_rate_on_device(optimizer)
    variable = keras.Variable([1.0])
    optimizer.apply([keras.ops.ones((1,))], [variable])
    optimizer.learning_rate = 0.125
    optimizer.apply([keras.ops.ones((1,))], [variable])
    assert keras.ops.convert_to_numpy(variable).tolist() == [0.375]


@pytest.mark.gpu
@pytest.mark.parametrize("case", ["momentum", "Nesterov", "schedule", "Adadelta"])
def test_on_cuda(case):
    with keras.device("cpu"):
        optimizer = CASES[case]()
    _, expected = trained(optimizer)
    with keras.device("cuda"):
        optimizer = CASES[case]()
    keep_rate_on_device(optimizer)
    reads, found = trained(optimizer, device="cuda")
    assert reads == 0
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
