"""Keras's own tests of its trainer, `trainer_test.py`, on `keras_mg.Model`: eager and compiled.

The classes that Keras tests with mix its trainer into a layer. Here they are made anew with
`keras_mg.Model` in the trainer's place.
"""

import importlib.util
import re
import unittest
from types import SimpleNamespace
from unittest import mock

import keras
import pytest

import keras_mg

if keras.backend.backend() != "torch":
    pytest.skip("what differs from Keras is torch's", allow_module_level=True)
if importlib.util.find_spec("keras.src.trainers.trainer_test") is None:
    pytest.skip("this Keras comes without its tests", allow_module_level=True)
pytest.importorskip("jax")  # Keras's file imports it

from keras.src.backend.torch import trainer as keras_trainer

TorchTrainer = keras_trainer.TorchTrainer

# What is not to hold, and why.
LEFT_OUT = {
    ("test_compile_eager_vs_jit_torch", "compiled"): "it asks what compiles nothing by default",
}
# What is run every time; the rest of the file takes minutes to trace.
QUICK = (
    "test_adds_loss_scaling_optimizer",
    "test_constraints_are_applied",
    "test_evaluate_flow_jit",
    "test_fit_flow_jit",
    "test_internal_only_loss",
    "test_partial_loss_partial_label",
    "test_predict_flow_struct_jit",
    "test_training_arg",
)
# Packages that some of the tests bring their data with.
MISSING = re.compile(r"No module named '(tensorflow|grain)'|requires the (tensorflow) module")


class _Trainer(keras_mg.Model):
    """`keras_mg.Model` as what Keras's tests mix into a layer."""

    torch_backend = "eager"  # the graph as it was captured
    compiles: bool | str = "auto"

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # The layer comes after `keras.Model`, which has these, too.
        bases = [c for c in cls.__bases__ if not issubclass(c, keras.Model)]
        for name in ("call", "build", "get_config", "compute_output_shape"):
            own = next((getattr(c, name) for c in bases if name not in vars(cls)), None)
            if own is not None:
                setattr(cls, name, own)

    def __init__(self):
        TorchTrainer.__init__(self)

    def compile(self, *args, jit_compile="auto", **kwargs):
        if jit_compile == "auto" and not kwargs.get("run_eagerly"):
            jit_compile = self.compiles
        super().compile(*args, jit_compile=jit_compile, **kwargs)


class _Marks:
    """`pytest.mark` as the file of Keras uses it: its marks are not ours."""

    skipif = staticmethod(lambda condition, reason: unittest.skipIf(condition, reason))

    def __getattr__(self, name):
        return lambda function: function


def _load(compiles):
    """Keras's test class, of models that `compile` compiles or not where the test does not say."""
    file = importlib.util.find_spec("keras.src.trainers.trainer_test")
    spec = importlib.util.spec_from_file_location(f"keras_trainer_test_{compiles}", file.origin)
    module = importlib.util.module_from_spec(spec)
    trainer = type("Trainer", (_Trainer,), {"compiles": compiles})
    with (
        mock.patch.object(keras_trainer, "TorchTrainer", trainer),
        mock.patch.object(pytest, "mark", _Marks()),
    ):
        spec.loader.exec_module(module)

    module.models = SimpleNamespace(Model=keras_mg.Model, Sequential=keras.Sequential)
    return module.TestTrainer


CASES = {"eager": _load("auto"), "compiled": _load(True)}
NAMES = unittest.TestLoader().getTestCaseNames(CASES["eager"])


def test_the_quick_ones_are_there():
    assert set(QUICK) <= set(NAMES)
    assert {name for name, _ in LEFT_OUT} <= set(NAMES)
    assert len(NAMES) > 150


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", CASES)
@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_keras_says(name, how):
    if (name, how) in LEFT_OUT:
        pytest.skip(LEFT_OUT[name, how])
    result = unittest.TestResult()
    CASES[how](name).run(result)
    for _, text in [*result.failures, *result.errors]:
        missing = MISSING.search(text)
        if missing:
            pytest.skip(f"needs {missing[1] or missing[2]}")
        pytest.fail(text)
    if result.skipped:
        pytest.skip(result.skipped[0][1])
