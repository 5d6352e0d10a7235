"""Every family trains compiled as it does eagerly: tiny networks."""

from functools import partial

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg import applications as zoo
from tests.support import compiled as support
from tests.support import tiny
from tests.support.arrays import numpy
from tests.support.compiled import without_trace_log as without_trace_log

pytestmark = [
    *support.MARKS,
    pytest.mark.filterwarnings("ignore:Gradients do not exist"),  # of grids that are then dropped
]

SAMPLES = 8
# Tracing takes seconds: the others are run with `-m slow`.
QUICK = ("igc_imagenet_m", "mgnet_shared", "resnet_bn_after_add")

trunk = partial(zoo.MgNet, (1, 2), (4, 6), include_top=False, input_shape=(8, 12, 3))
OPTIONS = {
    "pooling": partial(trunk, pooling="max", data_format="channels_last"),
    "pyramid_outputs": partial(trunk, pyramid_outputs=True, data_format="channels_last"),
    # Of 64 pixels, so that no grid is a single one: around those, eager code and a graph may lay
    # out the input of a dropout differently, and masks are drawn in the order of memory.
    "dropout": partial(zoo.PMG9, dropout=True, classes=5, input_shape=(64, 64, 3), **tiny.LOGITS),
}

# One unit in the last place of their weights changes their gradients by 1e-5 to 2.3e-5.
SENSITIVE = {"multigrid_residual", "multigrid_imagenet"}


def targets(model, generator):
    """Targets, loss and metric for the model's kind of output."""
    shape = keras.tree.map_structure(lambda output: tuple(output.shape), model.output)
    if isinstance(shape, dict):
        y = {
            n: generator.normal(size=(SAMPLES, *s[1:])).astype("float32") for n, s in shape.items()
        }
        return y, dict.fromkeys(shape, "mse"), dict.fromkeys(shape, "mae")
    if len(shape) == 4:
        y = generator.integers(2, size=(SAMPLES, *shape[1:])).astype("float32")
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        return y, loss, [keras.metrics.BinaryAccuracy()]
    y = generator.integers(shape[-1], size=SAMPLES)
    return y, keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"]


def fit(make, jit_compile, backend="aot_eager", batch_size=2, epochs=3):
    """What training, evaluation and prediction leave, the model, and its first weights."""
    keras.utils.set_random_seed(1)
    model = tiny.fill(make())
    assert isinstance(model, keras_mg.Model)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(SAMPLES, *model.input_shape[1:])).astype("float32")
    y, loss, metrics = targets(model, generator)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer, loss, metrics=metrics, jit_compile=jit_compile)
    model.torch_backend = backend
    start = model.get_weights()
    options = {"batch_size": batch_size, "verbose": 0}
    history = model.fit(x, y, epochs=epochs, shuffle=False, **options)
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
    assert len(set(losses)) == len(losses)


def check_bit_identical(make):
    eager, *_ = fit(make, False)
    before = support.unique_graphs()
    compiled, model, start = fit(make, True)
    assert len(support.graphs(model)) == 1
    # Training, its update, evaluation and prediction.
    assert support.unique_graphs() - before == 4
    assert_trained(compiled, model, start)
    support.assert_same(eager, compiled)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in tiny.NETWORKS]
)
@pytest.mark.filterwarnings("error:jit_compile")
def test_compiled_is_bit_identical_to_eager(name):
    check_bit_identical(tiny.NETWORKS[name])


# The narrowest network that has dropout takes long.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "dropout" else n for n in OPTIONS]
)
@pytest.mark.filterwarnings("error:jit_compile")
def test_options_of_the_constructors(name):
    check_bit_identical(OPTIONS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.NETWORKS)
@pytest.mark.filterwarnings("error:jit_compile")
def test_the_code_that_inductor_makes_trains_as_eager_does(name):
    from torch._inductor import config

    # Inductor rounds elsewhere than eager code does, and training these networks on two images at
    # a time multiplies that: where a grid is one pixel, a batch norm over two numbers is a sign.
    # There a change of all weights by one unit in the last place changes predictions as much, by up
    # to their own size within 12 steps. One step on all images shows whether the code is right.
    one_step = {"batch_size": SAMPLES, "epochs": 1}
    eager, *_ = fit(tiny.NETWORKS[name], False, **one_step)
    # Else inductor draws random numbers of its own.
    with config.patch(fallback_random=True):
        compiled, model, start = fit(tiny.NETWORKS[name], True, "inductor", **one_step)
    assert len(support.graphs(model)) == 1
    assert_trained(compiled, model, start)
    # The gradient of what a batch norm cancels, a bias before it, is rounding error alone.
    floor = 1e-3
    gradients = [{"optimizer": result.pop("optimizer")} for result in (eager, compiled)]
    support.assert_same_in_scale(eager, compiled, 1e-5, floor)
    support.assert_same_in_scale(*gradients, 3e-5 if name in SENSITIVE else 1e-5, floor)
