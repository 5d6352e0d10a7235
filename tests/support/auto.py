"""What tests of `jit_compile="auto"` share: a clock that they set, and training that it times."""

import math

import keras
import numpy as np
import pytest

from keras_mg.training import _choices, measured_steps
from keras_mg.training._choice import FIRST_STEPS, TRIAL
from keras_mg.training._step_model import StepModel
from tests.support import compiled as support
from tests.support import small_model as small

ROWS = 8
BATCHES = 4
SETTLES_AFTER = FIRST_STEPS + len(TRIAL)
# 15 steps: all of a trial, and some after it.
EPOCHS = math.ceil((SETTLES_AFTER + 3) / BATCHES)
FORMS = [False] * FIRST_STEPS + list(TRIAL)


class Clock:
    """Stands in for the clock: each step takes what the test says.

    Args:
        eager: seconds of an eager step.
        compiled: of a compiled one.
        compiling: of what compiles, beside the step.
    """

    def __init__(self, eager, compiled, compiling=30.0):
        self.eager, self.compiled, self.compiling = eager, compiled, compiling
        self.captured = 0

    def __call__(self, steps, step, args):
        before = self.captured
        result = step(steps, args)
        compiling = self.compiling if self.captured > before else 0.0
        return result, compiling + (self.eager if steps is None else self.compiled)

    def capture(self, function, arguments, *args, **kwargs):
        """In place of `torch_graph.capture`, which takes seconds: a graph that is the function."""
        result = function(*arguments)
        self.captured += 1
        return function, result


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """The file that remembers, where nothing is in it yet."""
    monkeypatch.setenv(measured_steps.VARIABLE, "")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return measured_steps.path()


@pytest.fixture
def clock(monkeypatch, kept):
    """Sets what steps take; the default is worth measuring, and compiled steps are faster."""

    from keras_mg.training import _torch_graph

    real = _torch_graph.capture

    def set_clock(eager=100.0, compiled=50.0, compiling=30.0, captures=False):
        measured = Clock(eager, compiled, compiling)
        monkeypatch.setattr(_choices.Choices, "_timed", lambda self, *a: measured(*a))
        monkeypatch.setattr(_torch_graph, "capture", real if captures else measured.capture)

    set_clock()
    return set_clock


@pytest.fixture
def forms(monkeypatch):
    """How training steps have run, True where the compiled ones were there."""
    noted = []
    original = StepModel._train

    def train(self, steps, args):
        noted.append(steps is not None)
        return original(self, steps, args)

    monkeypatch.setattr(StepModel, "_train", train)
    return noted


def data(rows=ROWS * BATCHES):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 8, 8, 3)).astype("float32")
    return x, generator.integers(small.CLASSES, size=rows)


def make(build=small.plain, optimizer=None, **options):
    keras.utils.set_random_seed(1)
    model = build()
    model.torch_backend = "aot_eager"
    options = {"metrics": ["accuracy"], **options}
    model.compile(optimizer or small.sgd(), small.crossentropy(), **options)
    return model


def fit(model, epochs=EPOCHS, verbose=0, given=None, **options):
    given = given or data()
    if len(given) == 2:
        options["batch_size"] = ROWS
    history = model.fit(*given, epochs=epochs, verbose=verbose, **options)
    return support.left_behind(model, history)


def choice_of(model, kind="train"):
    (found,) = (c for (k, _), c in model._choices.choices.items() if k == kind)
    return found
