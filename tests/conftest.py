"""What every test gets: a backend, a fixed seed, and a Keras put back as it was."""

import os

# Keras reads it once, at its import.
os.environ.setdefault("KERAS_BACKEND", "torch")
# What steps run does not depend on the clock, nor on what other tests have measured.
os.environ.setdefault("KERAS_MG_MEASURED_STEPS", "off")
# No test may open a window.
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest

from keras_mg.weights import _array_names, _published

SEED = 20170721


def pytest_collection_modifyitems(items):
    if _cuda_is_available():
        return
    skip = pytest.mark.skip(reason="needs CUDA")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


def _cuda_is_available():
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def fixed_seed():
    """Seed Python, NumPy and the backend, so that a failure repeats."""
    keras.utils.set_random_seed(SEED)


@pytest.fixture(autouse=True)
def clean_keras():
    """Undo what a test changes in Keras's global settings, and start layer names from one."""
    policy = keras.config.dtype_policy()
    floatx = keras.config.floatx()
    data_format = keras.config.image_data_format()
    keras.utils.clear_session(free_memory=False)
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx(floatx)
    keras.config.set_image_data_format(data_format)


@pytest.fixture(autouse=True)
def nothing_registered():
    """Forget what a test, or an example of the documentation, registers for weights files."""
    registries = (_array_names.TABLES, _published.PUBLISHED)
    before = [dict(registry) for registry in registries]
    yield
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)
