"""Every family trains compiled as it does eagerly: tiny networks, 12 steps."""

import keras
import numpy as np
import pytest

import keras_mg
from tests.support import compiled as support
from tests.support import tiny
from tests.support.arrays import numpy
from tests.support.compiled import without_trace_log as without_trace_log

pytestmark = [
    *support.MARKS,
    pytest.mark.filterwarnings("ignore:Gradients do not exist"),  # of grids that are then dropped
]

BATCHES, EPOCHS = 4, 3
# Tracing takes seconds: the others are run with `-m slow`.
QUICK = ("multigrid_residual", "seg_unet", "igc_imagenet_m", "mgnet_shared", "resnet_bn_after_add")


def fit(name, jit_compile, backend="aot_eager"):
    """What training, evaluation and prediction leave, the model, and its first weights."""
    keras.utils.set_random_seed(1)
    model = tiny.fill(tiny.NETWORKS[name]())
    assert isinstance(model, keras_mg.Model)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2 * BATCHES, *model.input_shape[1:])).astype("float32")
    if len(model.output_shape) == 4:
        y = generator.integers(2, size=(len(x), *model.output_shape[1:])).astype("float32")
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        metric = keras.metrics.BinaryAccuracy()
    else:
        y = generator.integers(model.output_shape[-1], size=len(x))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        metric = "accuracy"
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer, loss, metrics=[metric], jit_compile=jit_compile)
    model.torch_backend = backend
    start = model.get_weights()
    options = {"batch_size": 2, "verbose": 0}
    history = model.fit(x, y, epochs=EPOCHS, shuffle=False, **options)
    result = support.left_behind(model, history)
    result["scores"] = model.evaluate(x, y, **options)
    result["predictions"] = model.predict(x, **options)
    return result, model, start


def assert_trained(result, model, start):
    moved = [
        not np.array_equal(a, numpy(weight))
        for a, weight in zip(start, model.weights, strict=True)
        if weight.name != "bias"  # a batch norm after it makes most of them count for nothing
    ]
    assert np.mean(moved) > 0.9  # not what feeds only grids that are dropped
    losses = result["history"]["loss"]
    assert np.isfinite(losses).all()
    assert len(set(losses)) == EPOCHS


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in tiny.NETWORKS]
)
@pytest.mark.filterwarnings("error:jit_compile")
def test_compiled_is_bit_identical_to_eager(name):
    eager, *_ = fit(name, False)
    before = support.unique_graphs()
    compiled, model, start = fit(name, True)
    assert len(support.graphs(model)) == 1
    # Training, its update, evaluation and prediction.
    assert support.unique_graphs() - before == 4
    assert_trained(compiled, model, start)
    support.assert_same(eager, compiled)


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.NETWORKS)
@pytest.mark.filterwarnings("error:jit_compile")
def test_the_code_that_inductor_makes_trains_as_eager_does(name):
    from torch._inductor import config

    eager, *_ = fit(name, False)
    # Else inductor draws random numbers of its own.
    with config.patch(fallback_random=True):
        compiled, model, start = fit(name, True, "inductor")
    assert len(support.graphs(model)) == 1
    assert_trained(compiled, model, start)
    support.assert_same(eager, compiled, tolerance=1e-5)
