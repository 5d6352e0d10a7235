"""Several processes train one model together, or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.support import small_model as small

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="torchrun is torch's")


def _fit():
    model = small.compiled_model(jit_compile=False)
    x, y = small.data()
    model.fit(x, y, batch_size=small.BATCH, epochs=2, verbose=0)


def test_processes_that_have_not_met_do_not_train(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"model 'small': WORLD_SIZE is 2, .* have not met"):
        _fit()


@pytest.mark.parametrize("world", [None, "1", "many"])
def test_one_process_does(world, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if world:
        monkeypatch.setenv("WORLD_SIZE", world)
    _fit()


PROCESS = """
import os, sys, warnings
import numpy as np
import torch.distributed

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
)
import keras
from tests.support import small_model as small

keras.utils.set_random_seed(1)
model = small.compiled_model(jit_compile=True)
x = np.random.default_rng(rank).normal(size=(8, 8, 8, 3)).astype("float32")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model.fit(x, np.arange(8) % 3, batch_size=4, epochs=2, verbose=0)
assert sum("run eagerly" in str(w.message) for w in caught) == 1, caught
np.savez(f"{folder}/{rank}.npz", *(keras.ops.convert_to_numpy(w) for w in model.trainable_weights))
torch.distributed.destroy_process_group()
"""


@pytest.mark.skipif(
    not hasattr(keras.Model, "_initialize_ddp"), reason="this Keras synchronises nothing on torch"
)
def test_what_keras_synchronises_stays_so_where_steps_should_be_captured(tmp_path):
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "KERAS_BACKEND": "torch"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(tmp_path)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    one, other = (np.load(tmp_path / f"{rank}.npz") for rank in range(2))
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])
