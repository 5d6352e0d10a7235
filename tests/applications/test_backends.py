"""The jax backend gives the numbers of torch: flagships, and one of each layer in both formats."""

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Both backends' results: a Keras process has but one, so jax gets one of its own."""
    pytest.importorskip("jax")
    folder = tmp_path_factory.mktemp("backends")
    with keras.device("cpu"):
        keras.utils.set_random_seed(0)
        jax_twin.write(folder)
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
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
def test_jax_gives_the_numbers_of_torch(folder, name):
    with np.load(folder / f"{name}.npz") as a, np.load(folder / f"{name}.answer.npz") as b:
        compared = [key for key in a.files if not key.startswith("weight")]
        assert sorted(b.files) == sorted(compared)
        gaps = {key: relative_difference(b[key], a[key]) for key in compared}
    assert compared
    for key, gap in gaps.items():
        assert gap <= 2e-5, f"{key}: {gap:.1e}"
