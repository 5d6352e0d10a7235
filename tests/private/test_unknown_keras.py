"""With a Keras whose private names are others, the rest works, and one sentence says so."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="captured on torch only")

# Names that Keras itself has bound elsewhere already, so that it works on without them.
DELETED = """
from keras.src.backend.common import stateless_scope
from keras.src.random import seed_generator
from keras.src.utils import backend_utils

del stateless_scope.in_stateless_scope, seed_generator.global_seed_generator
del backend_utils.DynamicBackend
"""

# Names that Keras needs itself: they are there, and told missing.
ALL_MISSING = """
from keras_mg._private import features, names

names.Name.is_as_expected = lambda name: False
# What was asked at the import.
from keras_mg.training import model

assert model._RUNS_GRAPHS
model._RUNS_GRAPHS = False
features.missing.cache_clear()
"""

REST = """
import warnings
import numpy as np
import keras_mg

trunk = keras_mg.applications.MgNet(
    (1, 1), filters=8, include_top=False, pooling="avg", input_shape=(8, 8, 3)
)
model = keras_mg.Model(trunk.input, keras.layers.Dense(2)(trunk.output))
x, y = np.ones((4, 8, 8, 3), "float32"), np.ones((4, 2), "float32")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", jit_compile=True)
sentences = [str(w.message) for w in caught if "run eagerly" in str(w.message)]
assert len(sentences) == 1, sentences
assert "global_seed_generator" in sentences[0], sentences
losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
assert losses[-1] < losses[0] and model._compiled_steps is None
model.evaluate(x, y, verbose=0)
model.save("model.keras")
again = keras.saving.load_model("model.keras")
np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
"""

REFUSED = """
for call in (
    lambda: model.compile("sgd", "mse", remat=True),
    lambda: keras_mg.deploy(model),
    lambda: keras_mg.training.prefetch([]),
    lambda: keras_mg.training.CoupledSGD(0.1),
):
    try:
        call()
    except (RuntimeError, ValueError) as error:
        assert "cannot be had with Keras" in str(error), error
    else:
        raise AssertionError(call.__code__.co_names)
"""

# "auto", Keras's default, is to compile on a GPU.
AUTO = """
import warnings
import keras_mg

keras_mg.Model._on_cuda = lambda model: on_cuda
x = keras.Input((2,))
model = keras_mg.Model(x, keras.layers.Dense(2)(x))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model.compile("adam", "mse")
    model.compile("adam", "mse", jit_compile=False)
sentences = [str(w.message) for w in caught if "run eagerly" in str(w.message)]
assert len(sentences) == on_cuda, sentences
assert not model.jit_compile
"""

# What a list of torch's private functions without one of them leaves of the optimizer.
NO_FOREACH = """
import torch

del torch._foreach_mul_
import keras_mg

for weight_decay in (None, 0.1):
    try:
        keras_mg.training.CoupledSGD(0.1, momentum=0.9, weight_decay=weight_decay)
    except ValueError as error:
        assert "CoupledSGD cannot be had with Keras" in str(error), error
        assert "torch._foreach_mul_" in str(error), error
    else:
        raise AssertionError(weight_decay)
"""


@pytest.mark.parametrize(
    "code",
    [
        DELETED + REST,
        ALL_MISSING + REST + REFUSED,
        DELETED + "on_cuda = True" + AUTO,
        DELETED + "on_cuda = False" + AUTO,
        NO_FOREACH,
    ],
    ids=["deleted", "all missing", "auto on a GPU", "auto on a CPU", "no foreach"],
)
def test_what_needs_a_missing_name_is_left_out_or_refused_in_a_sentence(code, tmp_path):
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "KERAS_BACKEND": "torch"}
    result = subprocess.run(
        [sys.executable, "-c", "import keras\n" + code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
