"""Runs code under jax, which needs a process of its own: Keras chooses its backend once."""

import os
import subprocess
import sys

import pytest


def run_on_jax(code, *arguments):
    """Run Python code with the jax backend on the CPU and return what it prints."""
    pytest.importorskip("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    made = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()
