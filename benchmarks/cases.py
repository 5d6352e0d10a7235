"""The benchmarks by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks import costs, formulations, steps
from benchmarks.against import against
from benchmarks.networks import FLAGSHIPS, TIMED, make_twin, parameters
from benchmarks.report import Figures
from benchmarks.settings import Settings
from benchmarks.timing import Timing

Result = Timing | Figures
# Results that one measurement gives stand together in a tuple.
Case = Callable[[Settings], Iterator[Result | tuple[Result, ...]]]

# What `all` leaves out: it needs a second checkout.
ON_DEMAND = frozenset({"against"})


def _pair(network, settings):
    """Our network and the twin, which must be the same network."""
    ours = settings.make(network)
    twin = make_twin(network, settings.device)
    if parameters(ours) != parameters(twin):
        raise RuntimeError(f"{network.name} and its twin differ in their parameters")
    return ours, twin


# An expert takes what is faster on the machine at hand.
_SIDES = {
    "PyTorch": ("PyTorch compiled", "PyTorch"),
    "keras_mg": ("keras_mg compiled", "keras_mg"),
}


def _with_parts(result: Timing, eager: tuple[str, ...]) -> tuple[Timing, Timing, Timing]:
    """What was measured, its eager variants, and the faster variant of each side."""
    return (
        result,
        result.part(f"{result.name}, eager", eager),
        result.best_of(f"{result.name}, best", _SIDES),
    )


def fit(settings: Settings):
    """The step that `fit` runs on a batch, compiled and eager, and the twin's (see `epoch`)."""
    for network in settings.chosen(TIMED):
        ours, twin = _pair(network, settings)
        second = make_twin(network, settings.device)
        batch, autocast = settings.batch_of(network), settings.autocast
        variants = {
            "PyTorch compiled": steps.twin_train(network, twin, batch, True, autocast),
            "keras_mg compiled": steps.keras_train(network, ours, batch, jit_compile=True),
            "PyTorch": steps.twin_train(network, second, batch, False, autocast),
            "keras_mg": steps.keras_train(network, settings.make(network), batch),
        }
        result = settings.time(f"{network.name}, batch {len(batch.images)}", variants)
        yield _with_parts(result, ("PyTorch", "keras_mg"))


def epoch(settings: Settings):
    """Training on many batches: `fit` itself, and the twin's loop over a `DataLoader`."""
    for network in settings.chosen(("MgNet", "tiny")):
        ours, twin = _pair(network, settings)
        count = 64 if network.name == "tiny" else 8
        batch = settings.batch_of(network)
        variants = {
            "PyTorch compiled": steps.twin_epoch(network, twin, batch, count, settings.autocast),
            "keras_mg compiled": steps.keras_epoch(network, ours, batch, count),
        }
        name = f"{network.name}, {count} batches of {len(batch.images)}"
        yield settings.time(name, variants)


def predict(settings: Settings):
    """A batch of `predict`, compiled, eager and in deployment form, and the twin."""
    import keras_mg

    for network in settings.chosen(TIMED):
        ours, twin = _pair(network, settings)
        second = make_twin(network, settings.device)
        batch, autocast = settings.batch_of(network), settings.autocast
        deployed = keras_mg.deploy(ours)
        variants = {
            "PyTorch compiled": steps.twin_predict(twin, batch, True, autocast),
            "keras_mg compiled": steps.keras_predict(network, ours, batch, jit_compile=True),
            "deployed, compiled": steps.keras_predict(network, deployed, batch, jit_compile=True),
            "PyTorch": steps.twin_predict(second, batch, False, autocast),
            "keras_mg": steps.keras_predict(network, settings.make(network), batch),
            "deployed": steps.keras_predict(network, keras_mg.deploy(ours), batch),
        }
        result = settings.time(f"{network.name}, batch {len(batch.images)}", variants)
        yield _with_parts(result, ("PyTorch", "keras_mg", "deployed"))


def remat(settings: Settings):
    """A training step with and without `remat`, eager and compiled."""
    for network in settings.chosen(FLAGSHIPS):
        batch = settings.batch_of(network)
        for compiled, how in ((False, "eager"), (True, "compiled")):
            variants = {
                name: steps.keras_train(
                    network, settings.make(network), batch, jit_compile=compiled, remat=recomputes
                )
                for name, recomputes in (("keras_mg", False), ("keras_mg, remat", True))
            }
            name = f"{network.name}, batch {len(batch.images)}, {how}"
            yield settings.time(name, variants)


CASES: dict[str, Case] = {
    "fit": fit,
    "epoch": epoch,
    "predict": predict,
    "memory": costs.memory,
    "remat": remat,
    "compilation": costs.compilation,
    "startup": costs.startup,
    "limits": costs.limits,
    "groups": formulations.groups,
    "against": against,
}
