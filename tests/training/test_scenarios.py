"""Training that is compiled leaves what eager training leaves: scenarios and optimizers."""

import keras
import numpy as np
import pytest

import keras_mg
from tests.support import compiled as support
from tests.support.compiled import assert_same, graphs, unique_graphs
from tests.support.small_model import (
    CLASSES,
    SAMPLES,
    assert_moves,
    crossentropy,
    data,
    fit,
    plain,
    quick,
    regularized,
    sgd,
    trunk,
    with_head,
)

pytestmark = support.MARKS


def half_frozen():
    model = plain()
    model.layers[1].trainable = False
    return model


def in_bfloat16():
    images, x = trunk(dtype="mixed_bfloat16")
    return keras_mg.Model(images, keras.layers.Dense(CLASSES)(x), name="small")


def two_outputs():
    images, x = trunk()
    outputs = {"a": keras.layers.Dense(CLASSES)(x), "b": keras.layers.Dense(CLASSES)(x)}
    return keras_mg.Model(images, outputs, name="small")


def fine_tuned():
    images, x = trunk()
    inner = keras_mg.Model(images, x)
    image = keras.Input((8, 8, 3))
    return keras_mg.Model(image, keras.layers.Dense(CLASSES)(inner(image)), name="small")


def schedule(epoch, rate):
    return rate / (1 + epoch)


SCENARIOS = {
    "plain": {},
    "half frozen": {"build": half_frozen},
    "bfloat16": {"build": in_bfloat16},
    "regularized": {"build": regularized},
    "two outputs": {
        "build": two_outputs,
        "loss": {"a": crossentropy(), "b": crossentropy()},
        "metrics": {"a": ["accuracy"], "b": []},
        "loss_weights": {"a": 1.0, "b": 0.5},
    },
    "fine-tuning": {"build": fine_tuned},
    "dropout": {"build": with_head(lambda: keras.layers.Dropout(0.5))},
    "batch norm": {"build": with_head(keras.layers.BatchNormalization)},
    "schedule": {
        "optimizer": lambda: keras.optimizers.SGD(
            keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
        )
    },
    "cosine": {
        "optimizer": lambda: keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(0.0, 8, warmup_target=0.1, warmup_steps=3)
        )
    },
    "callback": {"fit_options": {"callbacks": [keras.callbacks.LearningRateScheduler(schedule)]}},
    "sample weights": {
        "fit_options": {"sample_weight": np.linspace(0, 1, SAMPLES)},
        "weighted_metrics": ["accuracy"],
    },
    "class weights": {"fit_options": {"class_weight": {0: 1.0, 1: 0.5, 2: 2.0}}},
    "validation": {"fit_options": {"validation_data": data()}},
    "clipping": {"optimizer": lambda: sgd(clipnorm=0.1, use_ema=True)},
    "global clipping": {"optimizer": lambda: sgd(global_clipnorm=0.1)},
    "value clipping": {"optimizer": lambda: sgd(clipvalue=0.01)},
    "EMA": {"optimizer": lambda: sgd(use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)},
    "accumulation": {"optimizer": lambda: sgd(gradient_accumulation_steps=2)},
    "loss scale": {"optimizer": lambda: keras.optimizers.LossScaleOptimizer(sgd())},
    "fixed loss scale": {"optimizer": lambda: sgd(loss_scale_factor=128.0)},
}


EVALUATED = ("plain", "bfloat16", "two outputs", "dropout", "batch norm")


# Their update runs eagerly, as a condition in it is decided on the host:
UPDATED_EAGERLY = {
    "accumulation",  # whether this step updates the weights or only adds up gradients
    "loss scale",  # whether the gradients are finite
    "EMA",  # whether the average overwrites the weights in this step
    "cosine",  # whether the warm-up is over
}


def expected_graphs(name):
    """Each step that runs is one graph, captured once; a training step's update is another."""
    training, update = 1, name not in UPDATED_EAGERLY
    test, prediction = name in EVALUATED or name == "validation", name in EVALUATED
    return training + update + test + prediction


# Tracing takes seconds, whatever the size of the model: the others are run with `-m slow`.
QUICK = (
    "plain",
    "half frozen",
    "bfloat16",
    "batch norm",
    "dropout",
    "cosine",
    "sample weights",
    "EMA",
    "accumulation",
)


@pytest.mark.parametrize("name", quick(SCENARIOS, QUICK))
def test_compiled_is_bit_identical_to_eager(name):
    scenario = {"build": plain, "optimizer": sgd, "evaluate": name in EVALUATED, **SCENARIOS[name]}
    eager, model = fit(jit_compile=False, **scenario)
    assert not graphs(model)
    before = unique_graphs()
    compiled, model = fit(jit_compile=True, **scenario)
    assert len(graphs(model)) == 1
    assert unique_graphs() - before == expected_graphs(name)
    assert_moves(compiled, model, scenario["build"])
    assert_same(eager, compiled)


@pytest.mark.parametrize("name", quick(SCENARIOS, ("plain",)))
def test_the_code_that_inductor_makes_trains_as_eager_does(name):
    from torch._inductor import config

    scenario = {"build": plain, "optimizer": sgd, "evaluate": name in EVALUATED, **SCENARIOS[name]}
    eager, _ = fit(jit_compile=False, **scenario)
    # Else inductor draws random numbers of its own.
    with config.patch(fallback_random=True):
        compiled, model = fit(jit_compile=True, backend="inductor", **scenario)
    assert len(graphs(model)) == 1
    assert_moves(compiled, model, scenario["build"])
    # bfloat16 has 8 bits, and inductor leaves out roundings between the operations it fuses.
    assert_same(eager, compiled, tolerance=0.02 if name == "bfloat16" else 1e-5)


OPTIMIZERS = [
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "Muon",
    "Nadam",
    "RMSprop",
    "ScheduleFreeAdamW",
]
# Wrappers of other optimizers.
WRAPPERS = {"LossScaleOptimizer", "MultiOptimizer", "OptimizerMap", "Optimizer"}


def test_every_optimizer_is_tried():
    known = {n for n in dir(keras.optimizers) if isinstance(getattr(keras.optimizers, n), type)}
    assert known <= {*OPTIMIZERS, *WRAPPERS, "SGD"}


@pytest.mark.parametrize("name", quick(OPTIMIZERS, ("AdamW",)))
def test_every_optimizer(name):
    def optimizer():
        return getattr(keras.optimizers, name)(0.01)

    if not hasattr(keras.optimizers, name):
        pytest.skip(f"this Keras has no {name}")
    eager, _ = fit(plain, optimizer, False)
    before = unique_graphs()
    compiled, model = fit(plain, optimizer, True)
    assert len(graphs(model)) == 1
    assert unique_graphs() - before == 2  # training and update
    assert_moves(compiled, model, plain)
    # Its weights of the average are numbers on the host in the one and tensors in the other.
    tolerance = 1e-6 if name == "ScheduleFreeAdamW" else 0.0
    assert_same(eager, compiled, tolerance)
