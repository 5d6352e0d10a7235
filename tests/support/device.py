"""Where tests run: on one thread of the CPU, unless marked `gpu`."""

import contextlib

import keras
import pytest


@pytest.fixture(autouse=True)
def on_cpu(request):
    """Run a test on the CPU, unless it is marked `gpu`: that one says itself what runs where.

    Tolerances in float32 are the CPU's. On tensors this small a second thread gains nothing, and
    on a busy machine waiting for it costs a hundred times the work.
    """
    if "gpu" in request.keywords:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with keras.device("cpu"):
        yield
    torch.set_num_threads(threads)


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
