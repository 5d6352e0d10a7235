"""Where tests run: float32 is held to tolerances that are the CPU's, so a test is on it unless
it is marked `gpu`."""

import contextlib

import keras
import pytest


@pytest.fixture(autouse=True)
def on_cpu(request):
    """Run a test on the CPU, unless it is marked `gpu`: that one says itself what runs where."""
    if "gpu" in request.keywords:
        yield
        return
    with keras.device("cpu"):
        yield


@contextlib.contextmanager
def exact_float32():
    """Turn off TF32, which rounds the factors of products to 10 bits."""
    import torch

    settings = (torch.backends.cudnn, "allow_tf32"), (torch.backends.cuda.matmul, "allow_tf32")
    before = [getattr(*s) for s in settings]
    for owner, name in settings:
        setattr(owner, name, False)
    try:
        yield
    finally:
        for (owner, name), value in zip(settings, before, strict=True):
            setattr(owner, name, value)
