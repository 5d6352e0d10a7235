"""What is not time per step: memory, compilation, import, and the machine's own limits."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from statistics import median

import torch

from benchmarks import steps
from benchmarks.networks import FLAGSHIPS, NETWORKS, make_batch, make_twin
from benchmarks.report import Figures
from benchmarks.settings import Settings

STEPS = 3  # training steps after which the peak of memory has been reached


def _in_new_process(function: str, *arguments, cache: str | None = None) -> float:
    """The number that a function of this module prints in a process of its own."""
    values = ", ".join(map(repr, arguments))
    code = f"from benchmarks import costs; print(costs.{function}({values}))"
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    if cache is not None:
        environment["TORCHINDUCTOR_CACHE_DIR"] = cache
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout.splitlines()[-1])


def _step(name: str, ours: bool, compiled: bool, settings: dict):
    chosen = Settings(**settings)
    torch.set_num_threads(chosen.threads)
    network = NETWORKS[name]
    batch = chosen.batch_of(network)
    if ours:
        return steps.keras_train(network, network.ours(), batch, jit_compile=compiled)
    return steps.twin_train(network, make_twin(network, chosen.device), batch, compiled=compiled)


def _peak() -> float:
    """The most MiB that this process, or its part of the GPU, has held so far."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def peak_of_training(name: str, ours: bool, compiled: bool, settings: dict) -> float:
    """MiB that building and training a network adds to a process that has imported everything."""
    before = _peak()
    step = _step(name, ours, compiled, settings)
    for _ in range(STEPS):
        step()
    return _peak() - before


def memory(settings: Settings):
    """Peak memory of training, ours and the twin, eager, each in a process of its own."""
    results = []
    for network in settings.chosen(FLAGSHIPS):
        values = {
            variant: _in_new_process(
                "peak_of_training", network.name, variant != "PyTorch", False, asdict(settings)
            )
            for variant in ("PyTorch", "keras_mg")
        }
        results.append(Figures(f"{network.name}, peak memory of training", "MiB", values))
    return results


def seconds_to_first_step(name: str, ours: bool, settings: dict) -> float:
    """Seconds from building a network to the end of its first compiled training step."""
    begin = time.perf_counter()
    _step(name, ours, True, settings)()
    return time.perf_counter() - begin


def compilation(settings: Settings):
    """Seconds to the end of the first compiled training step, with an empty and a filled cache."""
    results = []
    for network in settings.chosen(FLAGSHIPS):
        for state in ("empty", "filled"):
            values = {}
            for variant in ("PyTorch", "keras_mg"):
                with tempfile.TemporaryDirectory() as cache:
                    runs = 1 if state == "empty" else 2
                    for _ in range(runs):
                        seconds = _in_new_process(
                            "seconds_to_first_step",
                            network.name,
                            variant != "PyTorch",
                            asdict(settings),
                            cache=cache,
                        )
                values[variant] = seconds
            results.append(Figures(f"{network.name}, first step, {state} cache", "s", values))
    return results


def seconds_of_import(module: str) -> float:
    """Seconds that importing `module` takes after Keras; this module must not be used for it."""
    code = (
        "import time, keras, torch; begin = time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - begin)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout)


def startup(settings: Settings):
    """Seconds that `import keras_mg` takes beyond Keras."""
    seconds = [seconds_of_import("keras_mg") for _ in range(settings.rounds)]
    values = {"median": median(seconds), "best": min(seconds)}
    return [Figures("import keras_mg after keras", "s", values, compared=False)]


def _multiplications(network, images: int) -> float:
    """Multiply-accumulates of a forward pass, counted on the twin."""
    from torch.utils.flop_counter import FlopCounterMode

    twin = make_twin(network, "cpu")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        twin(make_batch(network, 1, "cpu").nchw)
    return counter.get_total_flops() / 2 * images


def limits(settings: Settings):
    """Multiply-accumulates per second of inference, and the machine's own on a large matrix."""
    side = 2048 if settings.device == "cpu" else 8192
    a = torch.randn(side, side, device=settings.device)
    large = torch.randn(2**26, device=settings.device)
    target = torch.empty_like(large)
    product = settings.time("matrix product", {"product": lambda: a @ a})
    copy = settings.time("copy", {"copy": lambda: target.copy_(large)})
    ceiling = side**3 / product.best("product")
    values = {"read and written": 2 * large.nbytes / copy.best("copy") / 1e9}
    results = [Figures("copy of 256 MiB", "GB/s", values, compared=False)]
    for network in settings.chosen(FLAGSHIPS):
        batch = settings.batch_of(network)
        step = steps.keras_predict(network, network.ours(), batch)
        seconds = settings.time(network.name, {"keras_mg": step}).best("keras_mg")
        own = _multiplications(network, len(batch.images)) / seconds
        values = {"large matrix product": ceiling / 1e9, "keras_mg inference": own / 1e9}
        results.append(Figures(f"{network.name}, multiply-accumulates", "G/s", values))
    return results
