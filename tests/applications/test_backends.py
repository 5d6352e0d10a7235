"""Other backends give the numbers of torch: flagships, and one of each layer in both formats."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.support import jax_twin
from tests.support.arrays import relative_difference

ROOT = Path(__file__).resolve().parents[2]
NAMES = [name for name, _ in jax_twin.items()]


@pytest.fixture(scope="module", params=["jax", "tensorflow"])
def folder(request, tmp_path_factory):
    """Two backends' results: a Keras process has but one, so the other gets one of its own."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"needs {request.param}")
    folder = tmp_path_factory.mktemp("backends")
    with keras.device("cpu"):
        keras.utils.set_random_seed(0)
        jax_twin.write(folder)
    environment = {
        **os.environ,
        "KERAS_BACKEND": request.param,
        "JAX_PLATFORMS": "cpu",
        # Compiling takes longer than running these.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.jax_twin", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_torch(folder, name):
    with np.load(folder / f"{name}.npz") as a, np.load(folder / f"{name}.answer.npz") as b:
        compared = [key for key in a.files if not key.startswith("weight")]
        assert sorted(b.files) == sorted(compared)
        gaps = {key: relative_difference(b[key], a[key]) for key in compared}
    assert compared
    for key, gap in gaps.items():
        assert gap <= 2e-5, f"{key}: {gap:.1e}"


ON_TENSORFLOW = """
import keras_mg, keras, numpy as np, sys
model = keras_mg.applications.IGCPlain(8, 3, 2, input_shape=(8, 12, 3), classes=5)
model.compile("sgd", "sparse_categorical_crossentropy")
x = np.random.default_rng(0).normal(size=(6, 8, 12, 3)).astype("float32")
model.fit(x, np.arange(6) % 5, batch_size=4, verbose=0)
expected = model.predict(x, verbose=0)
model.export(sys.argv[1], verbose=False)
made = keras.layers.TFSMLayer(sys.argv[1], call_endpoint="serve")(x)
print(abs(np.asarray(made) - expected).max())
"""


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs tensorflow")
def test_fit_and_export_on_tensorflow(tmp_path):
    """IGC's reordering of channels is traced with a batch of unknown size there."""
    done = subprocess.run(
        [sys.executable, "-c", ON_TENSORFLOW, str(tmp_path / "saved")],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout.split()[-1]) <= 1e-5
