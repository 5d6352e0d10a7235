"""An epoch of `recipes.train` against one of a bare `fit` on the same arrays.

    python -m benchmarks.whole_epoch [RECIPE ...] [--epochs 4] [--rounds 3] [--clock cpu]

`train` draws, crops and mirrors each batch, watches the loss, and saves a checkpoint and the
history after each epoch; `fit` is given the images normalised once, and does none of this. Both
are timed from the beginning of an epoch to that of the next, the first epoch left out, in turn.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch

from benchmarks.timing import Timing
from keras_mg.recipes import Recipe, get_recipe, train

RECIPES = ("resnet20-digits", "mgnet-digits")
BARE, WHOLE = "bare fit", "train"


class Stamp(keras.callbacks.Callback):
    """Notes when each epoch begins. It comes first, so all that an epoch ends with lies between."""

    def __init__(self, times: list[float], clock: Callable[[], float]):
        super().__init__()
        self.times, self.clock = times, clock

    def on_epoch_begin(self, epoch, logs=None):
        self.times.append(self.clock())


def compare(
    recipe: Recipe, epochs: int, rounds: int, clock, data_dir: str | None = None, compiled=False
) -> Timing:
    """Seconds of an epoch of either, several per round.

    Args:
        recipe: what is trained by, on all its training images.
        epochs: of each run, at least 3; the first and the last are not timed.
        rounds: how often both are run.
        clock: gives seconds.
        data_dir: folder of prepared data sets.
        compiled: whether the steps are.
    """
    if epochs < 3:
        raise ValueError(f"epochs must be at least 3: two are not timed. Received: {epochs}")
    seconds: dict[str, list[float]] = {BARE: [], WHOLE: []}
    for _ in range(rounds):
        for name, run in ((BARE, _bare), (WHOLE, _whole)):
            times: list[float] = []
            run(recipe.shortened(epochs), Stamp(times, clock), data_dir, compiled)
            seconds[name] += np.diff(times)[1:].tolist()
    return Timing(recipe.name, seconds)


def _bare(recipe: Recipe, stamp: Stamp, data_dir: str | None, compiled: bool) -> None:
    batches = recipe.data.open(recipe.batch_size, 0, data_dir, 0.0).train
    everything = [batches[i] for i in range(len(batches))]
    x, y = (np.concatenate(arrays) for arrays in zip(*everything, strict=True))
    model = recipe.network()
    model.compile(
        recipe.optimizer(recipe.schedule.rate(len(batches), recipe.epochs)),
        recipe.loss(),
        metrics=[metric() for metric in recipe.metrics],
        jit_compile=compiled,
    )
    model.fit(
        x, y, batch_size=recipe.batch_size, epochs=recipe.epochs, verbose=0, callbacks=[stamp]
    )


def _whole(recipe: Recipe, stamp: Stamp, data_dir: str | None, compiled: bool) -> None:
    recipe = dataclasses.replace(recipe, callbacks=(lambda: stamp, *recipe.callbacks))
    with tempfile.TemporaryDirectory() as folder:
        train(
            recipe,
            folder,
            data_dir=data_dir,
            validation_fraction=0.0,
            jit_compile=compiled,
            verbose=0,
        )


def main(arguments: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("recipes", nargs="*", default=list(RECIPES))
    p.add_argument("--data-dir", help="folder of prepared tensorflow-datasets")
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2, help="of torch")
    p.add_argument("--compile", action="store_true", help="compile the steps of both")
    p.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu on a machine that others use"
    )
    options = p.parse_args(arguments)
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    for name in options.recipes:
        timing = compare(
            get_recipe(name),
            options.epochs,
            options.rounds,
            clock,
            options.data_dir,
            options.compile,
        )
        for variant in timing.seconds:
            print(
                f"{name:24} {variant:10} {timing.median(variant):9.3f} s an epoch, "
                f"{timing.median(variant) / timing.median(BARE):.3f} of the bare fit"
            )


if __name__ == "__main__":
    main()
