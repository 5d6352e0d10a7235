"""What is not time per step: memory, compilation, import, and the machine's own limits."""

from __future__ import annotations

import itertools
import math
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
from torch.utils.flop_counter import FlopCounterMode

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
    """Useful multiply-accumulates of an image's forward pass, and bytes through the layers.

    The former are the network's published count, however it is computed; see `_executed`.

    The latter are those of the twin's layers, as if each (activations included) read its input and
    its parameters once and wrote its output once. That is what eager execution without any cache
    would move. Fused layers move less, so the rate may exceed that of a copy; it says how much
    of the traffic is saved, not how busy the memory is.
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


def _group_convolution_flops(x, weight, *arguments, out_shape, **options) -> int:
    """What torch's counter asks for, of shapes, about an operation that is not torch's."""
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


def _executed(model, images: torch.Tensor) -> float:
    """Multiply-accumulates that torch's convolutions and products of one eager run execute.

    Fewer than the useful ones where equal numbers come from less work, as in the convolution of an
    upsampled grid, and more where zeros are multiplied, as in merged groups.
    """
    with torch.no_grad():
        model(images, training=False)  # a formulation that is chosen by timing runs several at once
        own = {torch.ops.keras_mg.group_convolution: _group_convolution_flops}
        with FlopCounterMode(display=False, custom_mapping=own) as counter:
            model(images, training=False)
    # It counts a multiplication and an addition as two.
    return counter.get_total_flops() / 2


# What is timed to find the most that the machine multiplies: images, channels and side of 3x3
# convolutions, and sides of matrix products.
CONVOLUTIONS = {
    "cpu": ((4, 128, 56), (8, 256, 32), (8, 512, 14)),
    "cuda": ((128, 128, 56), (256, 256, 32), (256, 512, 14)),
}
PRODUCTS = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
COPIED = 2**26  # numbers


def _convolution(images: int, channels: int, side: int, kernel_size: int, like: torch.Tensor):
    """A large convolution, channels-last as in the networks, and its multiply-accumulates."""
    x, weight = (
        torch.randn(shape, device=like.device, dtype=like.dtype).to(
            memory_format=torch.channels_last
        )
        for shape in (
            (images, channels, side, side),
            (channels, channels, kernel_size, kernel_size),
        )
    )
    work = images * (side * channels * kernel_size) ** 2
    return lambda: F.conv2d(x, weight, padding=kernel_size // 2), work


def _product(side: int, like: torch.Tensor):
    a = torch.randn(side, side, device=like.device, dtype=like.dtype)
    return lambda: a @ a, side**3


def _most_multiplied(settings: Settings, dtype: torch.dtype) -> float:
    """The most multiply-accumulates per second that a library's call was seen to reach.

    No one kind of call is the fastest everywhere: convolutions and products run in different
    libraries, and which size suits best depends on the caches.
    """
    like = torch.empty(0, device=settings.device, dtype=dtype)
    calls = {f"product of side {s}": _product(s, like) for s in PRODUCTS[settings.device]}
    for images, channels, side in CONVOLUTIONS[settings.device]:
        for size in (1, 3):
            name = f"{size}x{size} convolution of {channels} channels"
            calls[name] = _convolution(images, channels, side, size, like)
    with torch.no_grad():
        timing = settings.time("ceiling", {name: call for name, (call, _) in calls.items()})
    return max(work / timing.best(name) for name, (_, work) in calls.items())


def limits(settings: Settings):
    """How far inference is from what the machine can multiply and move."""
    import keras_mg

    dtype = settings.autocast or torch.float32
    most_multiplied = _most_multiplied(settings, dtype) / 1e9
    large = torch.randn(COPIED, device=settings.device)
    target = torch.empty_like(large)
    copy = settings.time("copy", {"copy": lambda: target.copy_(large)})
    most_moved = 2 * large.nbytes / copy.best("copy") / 1e9
    for network in settings.chosen(FLAGSHIPS):
        batch = settings.batch_of(network)
        eager, ours = settings.make(network), settings.make(network)
        variants = {
            "keras_mg": steps.keras_predict(network, eager, batch),
            "keras_mg compiled": steps.keras_predict(network, ours, batch, jit_compile=True),
            "deployed, compiled": steps.keras_predict(
                network, keras_mg.deploy(ours), batch, jit_compile=True
            ),
        }
        timing = settings.time(network.name, variants)
        useful, moved = (x * len(batch.images) for x in _work(network, dtype))
        executed = _executed(eager, batch.images)
        multiplier = "fastest product or convolution", most_multiplied, "G/s"
        copier = f"copy of {large.nbytes / 2**20:.0f} MiB", most_moved, "GB/s"
        yield tuple(
            Figures(
                f"{network.name}, {what} per second",
                unit,
                {base: most} | {v: work / 1e9 / timing.best(v) for v in variants},
                more_is_better=True,
            )
            for what, work, (base, most, unit) in (
                ("useful multiply-accumulates", useful, multiplier),
                ("executed multiply-accumulates", executed, multiplier),
                ("bytes through the layers", moved, copier),
            )
        )
