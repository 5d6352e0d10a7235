"""What is not time per step: memory, compilation, import, and the machine's own limits."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from benchmarks import steps
from benchmarks.networks import FLAGSHIPS, NETWORKS, make_batch, make_twin
from benchmarks.report import Figures
from benchmarks.settings import Settings

STEPS = 3  # training steps after which the peak of memory has been reached


def _in_new_process(function: str, *arguments, cache: str | None = None) -> float:
    """The number that a function of this module gives in a process of its own.

    Its last argument are the settings, as a dictionary.
    """
    values = ", ".join(map(repr, arguments))
    device = arguments[-1]["device"]
    code = (
        "import keras; from benchmarks import costs\n"
        f"with keras.device({device!r}): print(costs.{function}({values}))"
    )
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


# The variants of training whose memory is compared.
TRAINING = {
    "PyTorch": {"ours": False},
    "keras_mg": {"ours": True},
    "keras_mg, remat": {"ours": True, "remat": True},
}


def _step(name: str, compiled: bool, settings: dict, ours: bool, remat: bool = False):
    chosen = Settings(**settings)
    chosen.prepare()
    network = NETWORKS[name]
    batch = chosen.batch_of(network)
    if ours:
        return steps.keras_train(
            network, chosen.make(network), batch, jit_compile=compiled, remat=remat
        )
    return steps.twin_train(
        network, make_twin(network, chosen.device), batch, compiled, chosen.autocast
    )


def _resident() -> float:
    """The most MiB of memory that this process has held so far.

    From Linux's file, as `getrusage` counts what the parent process held, too.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**10


def _peak_of_tensors(work: Callable[[], None]) -> float:
    """The most MiB that the tensors made by `work` held together, on the CPU."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda e: e.start_ns())
    return max(itertools.accumulate(e.nbytes() for e in events)) / 2**20


def peak_of_training(kind: str, variant: str, *arguments) -> float:
    """MiB that building and training a network takes.

    Args:
        kind: "tensors" for what its tensors hold at most, "process" for what the process grows by,
            libraries' work space and what the allocator keeps included.
        variant: a row of `TRAINING`.
        *arguments: of `_step`.
    """

    def work() -> None:
        step = _step(*arguments, **TRAINING[variant])
        for _ in range(STEPS):
            step()

    if kind == "process":
        # What libraries load at their first use is no memory of the network.
        _step("tiny", *arguments[1:], **TRAINING[variant])()
        before = _resident()
        work()
        return _resident() - before
    if arguments[-1]["device"] == "cuda":
        work()
        return torch.cuda.max_memory_allocated() / 2**20
    return _peak_of_tensors(work)


def memory(settings: Settings):
    """Peak memory of training, each variant in a process of its own."""
    kinds = [("tensors", False), ("tensors", True)]
    if settings.device == "cpu":
        # Eagerly alone: compilers and what they need would be in the process, too.
        kinds.append(("process", False))
    for network in settings.chosen(FLAGSHIPS):
        for kind, compiled in kinds:
            values = {
                variant: _in_new_process(
                    "peak_of_training", kind, variant, network.name, compiled, asdict(settings)
                )
                for variant in TRAINING
            }
            name = f"{network.name}, {kind}, {'compiled' if compiled else 'eager'}"
            yield Figures(name, "MiB", values)


def seconds_to_first_step(name: str, ours: bool, settings: dict) -> float:
    """Seconds from building a network to the end of its first compiled training step."""
    begin = time.perf_counter()
    _step(name, True, settings, ours)()
    return time.perf_counter() - begin


def compilation(settings: Settings):
    """Seconds to the end of the first compiled training step, with an empty and a filled cache."""
    for network in settings.chosen(FLAGSHIPS):
        seconds: dict[str, dict[str, float]] = {"empty": {}, "filled": {}}
        for variant in ("PyTorch", "keras_mg"):
            with tempfile.TemporaryDirectory() as cache:
                for state in seconds:
                    seconds[state][variant] = _in_new_process(
                        "seconds_to_first_step",
                        network.name,
                        variant != "PyTorch",
                        asdict(settings),
                        cache=cache,
                    )
        for state, values in seconds.items():
            yield Figures(f"{network.name}, first step, {state} cache", "s", values)


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
    yield Figures("import keras_mg after keras", "s", values, compared=False)


def _work(network, dtype: torch.dtype) -> tuple[float, float]:
    """Multiply-accumulates of an image's forward pass, and bytes that the layers read and write.

    The former are counted on our network. The latter are the twin's, as if each of its layers read
    its input and its parameters once and wrote its output once.
    """
    from keras_mg import ops

    twin = make_twin(network, "cpu").eval()
    moved = 0

    def count(module, inputs, output):
        nonlocal moved
        tensors = [*inputs, output, *module.parameters(recurse=False)]
        moved += sum(t.numel() * dtype.itemsize for t in tensors if isinstance(t, torch.Tensor))

    for module in twin.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with torch.no_grad():
        twin(make_batch(network, 1, "cpu").nchw)
    return ops.multiply_accumulates(network.ours)[1], moved


def limits(settings: Settings):
    """How far inference is from what the machine can multiply and move."""
    import keras_mg

    side = 4096 if settings.device == "cpu" else 8192
    dtype = settings.autocast or torch.float32
    a = torch.randn(side, side, device=settings.device, dtype=dtype)
    # The same product by the library of convolutions, which on some CPUs is the faster one.
    image = a.reshape(1, side // 64, 64, side).permute(0, 3, 1, 2)
    products = {
        "by matmul": lambda: a @ a,
        "by a 1x1 convolution": lambda: F.conv2d(image, a[:, :, None, None]),
    }
    large = torch.randn(2**26, device=settings.device)
    target = torch.empty_like(large)
    product = settings.time("matrix product", products)
    copy = settings.time("copy", {"copy": lambda: target.copy_(large)})
    most_multiplied = side**3 / min(map(product.best, products)) / 1e9
    most_moved = 2 * large.nbytes / copy.best("copy") / 1e9
    for network in settings.chosen(FLAGSHIPS):
        batch, ours = settings.batch_of(network), settings.make(network)
        variants = {
            "keras_mg": steps.keras_predict(network, settings.make(network), batch),
            "keras_mg compiled": steps.keras_predict(network, ours, batch, jit_compile=True),
            "deployed, compiled": steps.keras_predict(
                network, keras_mg.deploy(ours), batch, jit_compile=True
            ),
        }
        timing = settings.time(network.name, variants)
        multiplied, moved = (x * len(batch.images) / 1e9 for x in _work(network, dtype))
        for what, unit, most, work in (
            ("multiply-accumulates per second", "G/s", most_multiplied, multiplied),
            ("bytes per second through the layers", "GB/s", most_moved, moved),
        ):
            base = "large matrix product" if unit == "G/s" else "copy of 256 MiB"
            values = {base: most} | {v: work / timing.best(v) for v in variants}
            yield Figures(f"{network.name}, {what}", unit, values, more_is_better=True)
