"""Making a batch of small images against the compiled training step that it feeds.

    python -m benchmarks.batches [RECIPE ...] --data-dir DIR [--rounds 7] [--clock cpu]

A recipe's batch is drawn, cropped, mirrored and normalised or whitened, on the host and on the
device, and the step of its network trains on it, in the same rounds. Below 1, the images are never
what training waits for, even where nothing is made ahead.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time

os.environ.setdefault("KERAS_BACKEND", "torch")

import torch

from benchmarks.timing import Timing, measure
from keras_mg.recipes import Recipe, get_recipe

RECIPES = ("igc-resnet-cifar10", "igc-plain-cifar10", "resnet20-cifar10", "mg6-cifar10")
STEP = "compiled step"


def compare(recipe: Recipe, data_dir: str | None, rounds: int, clock, compiled=True) -> Timing:
    """The seconds of a step of a recipe, and of making its batch in either place."""
    splits = {place: recipe.data.open(recipe.batch_size, 0, data_dir, 0.0, place)
              for place in ("host", "device")}  # fmt: skip
    train = splits["host"].train
    model = recipe.network()
    model.compile(
        recipe.optimizer(recipe.schedule.rate(len(train), recipe.epochs)),
        recipe.loss(),
        metrics=[metric() for metric in recipe.metrics],
        jit_compile=compiled,
    )
    x, y = train[0]
    variants = {STEP: lambda: model.train_on_batch(x, y)}
    for place, split in splits.items():
        # All batches but the last, which may be smaller.
        numbers = itertools.cycle(range(max(1, len(split.train) - 1)))
        variants[f"batch on the {place}"] = lambda data=split.train, at=numbers: data[next(at)]
    return measure(recipe.name, variants, rounds, warm_up=3, clock=clock, synchronize=_wait)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main(arguments: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("recipes", nargs="*", default=list(RECIPES))
    p.add_argument("--data-dir", help="folder of prepared tensorflow-datasets")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=1, help="of torch")
    p.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu on a machine that others use"
    )
    options = p.parse_args(arguments)
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    for name in options.recipes:
        timing = compare(get_recipe(name), options.data_dir, options.rounds, clock)
        for variant in timing.seconds:
            print(
                f"{name:24} {variant:20} {1000 * timing.median(variant):9.2f} ms, "
                f"{timing.ratio(variant):.3f} of the step"
            )


if __name__ == "__main__":
    main()
