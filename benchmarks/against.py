"""The same steps by two checkouts of the project, each in a process of its own, in turn."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from benchmarks.networks import TIMED
from benchmarks.settings import Settings
from benchmarks.timing import Timing, measure

HERE = Path(__file__).resolve().parents[1]
VARIANTS = ("fit", "fit compiled", "predict", "predict compiled", "deployed, compiled")

# What both checkouts must have: `benchmarks.networks`, `benchmarks.steps`, `benchmarks.settings`.
_CHILD = """
import sys
import keras_mg
from benchmarks.networks import NETWORKS
from benchmarks.settings import CLOCKS, Settings
from benchmarks.steps import keras_predict, keras_train
name, device, threads, batch, dtype, clock = sys.argv[1:]
clock = CLOCKS[clock]
settings = Settings(device, int(threads), batch=int(batch) or None, dtype=dtype)
settings.prepare()
network = NETWORKS[name]
data = settings.batch_of(network)
functions = {}
def make(variant):
    model = settings.make(network)
    compiled = "compiled" in variant
    if "fit" in variant:
        return keras_train(network, model, data, jit_compile=compiled)
    model = keras_mg.deploy(model) if "deployed" in variant else model
    return keras_predict(network, model, data, jit_compile=compiled)
for line in sys.stdin:
    count, variant = line.rstrip().split(" ", 1)
    if variant not in functions:
        functions[variant] = make(variant)
    begin = clock()
    for _ in range(int(count)):
        functions[variant]()
    settings.synchronize()
    print("seconds", clock() - begin, flush=True)
"""


@contextmanager
def _process(checkout: Path, arguments: list[str]) -> Iterator[Callable[[str, int], float]]:
    """A process that runs steps of `checkout`: takes a variant and a number, gives seconds."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        # While one process works the other waits: its threads must not spin.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD, *arguments],
        cwd=checkout,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    pipe, answers = child.stdin, child.stdout

    def run(variant: str, count: int) -> float:
        with suppress(BrokenPipeError):  # said below
            pipe.write(f"{count} {variant}\n")
            pipe.flush()
        for line in answers:  # what libraries print comes in between
            word, _, seconds = line.partition(" ")
            if word == "seconds":
                return float(seconds)
        raise RuntimeError(f"The process of {checkout} ended at {variant!r} ({child.wait()}).")

    try:
        yield run
    finally:
        child.kill()
        with suppress(BrokenPipeError):
            child.communicate()


def against(settings: Settings):
    """Each step of `fit` and `predict` by the checkout in --other, and by this one."""
    if settings.other is None:
        raise SystemExit("python -m benchmarks against: --other must name a checkout to compare")
    for network in settings.chosen(TIMED):
        batch = settings.batch or 0
        arguments = [network.name, settings.device, str(settings.threads), str(batch)]
        arguments += [settings.dtype, settings.clock]
        with ExitStack() as stack:
            sides = {
                name: stack.enter_context(_process(checkout, arguments))
                for name, checkout in (("other", settings.other), ("this", HERE))
            }
            for variant in VARIANTS:
                yield _compare(f"{network.name}, {variant}", sides, variant, settings)


def _compare(name: str, sides: dict[str, Callable], variant: str, settings: Settings) -> Timing:
    counts = {}
    for side, run in sides.items():
        run(variant, 1)
        counts[side] = max(1, round(0.2 / run(variant, 1)))
    count = max(counts.values())
    seconds: dict[str, list[float]] = {side: [] for side in sides}

    def turn(side: str) -> Callable[[], object]:
        return lambda: seconds[side].append(sides[side](variant, count) / count)

    # Of its clock only the order of the turns is used: the processes measure themselves.
    measure(name, {side: turn(side) for side in sides}, settings.rounds)
    return Timing(name, {side: values[-settings.rounds :] for side, values in seconds.items()})
