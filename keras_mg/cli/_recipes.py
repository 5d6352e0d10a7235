"""`keras-mg recipes` and `keras-mg train`: the published recipes, and a run by one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from keras_mg.cli import _huge_pages, _processes
from keras_mg.cli._shared import Failure, Stopped, parse_settings, say

app = typer.Typer()
MAX_SCALE = 1000.0
"""Times a recipe's epochs; more is a slip."""


class Place(StrEnum):
    host = "host"
    device = "device"


class Layer(StrEnum):
    rand_augment = "rand_augment"
    aug_mix = "aug_mix"
    cut_mix = "cut_mix"
    mix_up = "mix_up"
    cv_rand_augment = "cv_rand_augment"
    cv_aug_mix = "cv_aug_mix"
    cv_cut_mix = "cv_cut_mix"
    cv_mix_up = "cv_mix_up"


@app.command("recipes")
def list_recipes(
    pattern: Annotated[
        str, typer.Argument(help="Shell pattern, such as 'mgnet-*', or a part of the name.")
    ] = "*",
    details: Annotated[
        bool,
        typer.Option(
            "--details", help="Network and cost, data, training, published figure and source, too."
        ),
    ] = False,
) -> None:
    """The names of the training recipes."""
    from keras_mg import recipes

    for name in recipes.list_recipes(pattern):
        say(recipes.describe(recipes.get_recipe(name)) if details else name)


class BatchNorm(StrEnum):
    synchronized = "synchronized"
    local = "local"


@app.command()
def train(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name from `keras-mg recipes`.")],
    output_dir: Annotated[
        str | None, typer.Option(help="Folder of the results.  [default: outputs/NAME]")
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(
            help="Folder of prepared tensorflow-datasets; nothing is downloaded.  "
            "[default: TFDS_DATA_DIR or ~/tensorflow_datasets]"
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Instead of the recipe's; the learning rate drops after the same fractions.",
        ),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Likewise, as a fraction of the recipe's epochs.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            max=2**32 - 1,
            help="Of initial weights, order and augmentation; validation and test stay the same.",
        ),
    ] = 0,
    validation_fraction: Annotated[
        float | None,
        typer.Option(
            help="Of the training images, kept from training and measured after each epoch; 0 "
            "trains on all, as the papers do.  [default: 0.1]"
        ),
    ] = None,
    augment_on: Annotated[
        Place | None,
        typer.Option(help="Where batches are made.  [default: the device if it is a GPU]"),
    ] = None,
    jit_compile: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the steps.  [default: on a GPU, and where it is measured to be faster]",
        ),
    ] = None,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Part of the recipe, such as network.depth=38 or schedule.learning_rate=0.05.",
        ),
    ] = [],  # noqa: B006 (typer copies it)
    layers: Annotated[
        list[Layer],
        typer.Option(
            help="Of Keras (cv_*: of keras-cv), that change and mix training images; may be given "
            "several times. Loss and accuracy become those of mixed labels."
        ),
    ] = [],  # noqa: B006 (typer copies it)
    huge_pages: Annotated[
        bool,
        typer.Option(
            "--huge-pages/--no-huge-pages",
            help="On a Linux CPU, keep memory in huge pages, and keep what was freed: large steps "
            "can be faster, and the process holds up to 8 GiB more than it uses.",
        ),
    ] = True,
    save_every_steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Save the run after every so many steps of an epoch, too.  [default: after each "
            "epoch]",
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write logs to OUTPUT_DIR/tensorboard, too.")
    ] = False,
    verbose: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2,
            help="1 is a progress bar, 2 a line per epoch.  [default: 1 in a terminal, else 2]",
        ),
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Train in so many processes of this machine, each with a GPU of its own where "
            "there are GPUs; under torchrun, it says how many.  [default: 1]",
        ),
    ] = None,
    max_restarts: Annotated[
        int,
        typer.Option(
            min=0, help="With --devices: go on by itself so often after a process was killed."
        ),
    ] = 0,
    batch_norm: Annotated[
        BatchNorm,
        typer.Option(
            help="In several processes: by the whole batch, as in one process, or by each "
            "process's own rows, which is faster and another training."
        ),
    ] = BatchNorm.synchronized,
    timeout: Annotated[
        float,
        typer.Option(
            min=1, help="Seconds that a process waits for another before all of them end."
        ),
    ] = 600,
) -> None:
    """Train by a recipe, measure once, save; given again, an interrupted run goes on.

    Ctrl-C saves after the step that goes on. A finished run is not trained again.
    """
    if huge_pages:
        _huge_pages.use()
    if devices is not None or max_restarts:
        _processes.launch(context.obj, devices, max_restarts)
    _processes.meet(batch_norm.value, timeout)
    from keras_mg import recipes

    recipe = recipes.with_layers(recipes.get_recipe(name), [layer.value for layer in layers])
    recipe = recipe.changed(parse_settings(settings))
    if scale is not None:
        if epochs is not None:
            raise Failure("--epochs and --scale exclude each other")
        if not 0 < scale <= MAX_SCALE:
            raise Failure(f"--scale must be above 0 and at most {MAX_SCALE:g}. Received: {scale}")
        epochs = max(1, round(scale * recipe.epochs))
    if epochs is not None:
        recipe = recipe.shortened(epochs)
    if batch_size is not None:
        recipe = recipe.changed({"batch_size": batch_size})
    try:
        recipes.train(
            recipe,
            f"outputs/{name}" if output_dir is None else output_dir,
            seed=seed,
            data_dir=data_dir,
            validation_fraction=validation_fraction,
            augment_on=None if augment_on is None else augment_on.value,
            jit_compile="auto" if jit_compile is None else jit_compile,
            verbose="auto" if verbose is None else verbose,
            save_every_steps=save_every_steps,
            tensorboard=tensorboard,
            report=say,
        )
    except (FloatingPointError, RuntimeError) as error:
        raise Failure(str(error)) from error
    except recipes.RunStopped as error:
        text = str(error) if _processes.is_first() else ""
        raise Stopped(text, code=128 + error.number) from None
