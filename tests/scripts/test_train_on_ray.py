"""The example for Ray, on a cluster of this machine with two workers."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from tests.support import processes

pytest.importorskip("ray")
pytest.importorskip("sklearn")
pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch"),
    pytest.mark.slow,
]

SCRIPT = str(Path(__file__).parents[2] / "examples" / "train_on_ray.py")


def test_two_workers_train_one_model(tmp_path):
    more = {"RAY_USAGE_STATS_ENABLED": "0", "HOME": str(tmp_path)}
    more["PYTHONPATH"] = os.pathsep.join([str(processes.ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, SCRIPT, "--epochs", "1", "--storage", str(tmp_path / "results")],
        env=processes.environment() | more,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done: " in done.stdout
    assert len(list((tmp_path / "results" / "checkpoints").iterdir())) == 1
