"""Training by a recipe, from its record to a measured and saved model."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np

from keras_mg._files import expand, replacing
from keras_mg.datasets.set_epoch import SetEpoch
from keras_mg.recipes import _runs, _texts, _together
from keras_mg.recipes._callbacks import (
    KeepBest,
    StopOnNaN,
    Unread,
    WriteAttributes,
    WriteHistory,
    goal_of,
)
from keras_mg.recipes._runs import BEST, CURVES, FITTED
from keras_mg.recipes._runs import FolderInUseError as FolderInUseError
from keras_mg.recipes._runs import InterruptedRunError as InterruptedRunError
from keras_mg.recipes._signals import RunStopped as RunStopped
from keras_mg.recipes._signals import Signals, signals
from keras_mg.recipes.data import Splits
from keras_mg.recipes.recipe import Recipe
from keras_mg.training.checkpoint import Checkpoint
from keras_mg.training.restart_velocity import RestartVelocity
from keras_mg.training.scalars_to_tensorboard import ScalarsToTensorBoard
from keras_mg.visualization.history import plot_history

_MAX_DIFFERENCE = 1e-6  # between outputs of the trained and of the loaded model


def train(
    recipe: Recipe,
    output_dir: str | os.PathLike,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
    validation_fraction: float | None = None,
    augment_on: str | None = None,
    jit_compile: bool | str = "auto",
    verbose: str | int = "auto",
    save_every_steps: int | None = None,
    tensorboard: bool = False,
    report: Callable[[str], object] = lambda text: None,
) -> dict:
    """Trains a network by a recipe, measures it once at the end, and saves it.

    The reported figures are those of the weights after the last epoch. The test data are looked at
    once, after training; the validation data are watched and choose `best.keras`, nothing else.

    Under a `keras_mg.distribution.DataParallel`, all processes call it: they train one model, and
    the first one writes. The batch size stays that of the recipe.

    The run can be interrupted, or killed at any moment: called again with the same arguments, it
    goes on after the last epoch that it had finished (or the last `save_every_steps`), and ends
    where it would have ended, on a CPU bit for bit. Ctrl-C and SIGTERM let the step end that goes
    on, and save. A finished run is not trained again: the call returns its result. `output_dir`
    then holds

    ```
    model.keras         the trained model, which has been loaded back and found to do the same; a
                        classifier gives logits, and its path is also good for `weights=` of the
                        constructor
    best.keras          where there are validation data, the model of the epoch in which the
                        recipe's first metric was best on them; no figure is reported of it
    curves.png          what is in history.csv, where matplotlib is installed
    history.csv         what `fit` measured in each epoch (training figures are of augmented images)
    result.json         settings and results
    preprocessing.npz   what normalises or whitens images before the model sees them, where
                        a recipe normalises them: `load_preprocessing` reads them
    attributes.csv      where attributes are named, what each epoch's validation counted of each
    ```

    and the recipe's pictures.

    Args:
        recipe: the `Recipe`.
        output_dir: folder, made if it is not there. Files of these names from a run with other
            settings are replaced, all but the history only after training.
        seed: int, of initial weights, order and augmentation. Defaults to 0.
        data_dir: folder of prepared tensorflow-datasets; see `load_images`.
        validation_fraction: float in [0, 1), of the training images, kept from training and
            measured after each epoch; 0 trains on all, as the papers do. Defaults to 0.1 where the
            data are not split otherwise.
        augment_on: "host" or "device", where batches are made; on the device, all images have to
            fit into its memory. Both make the same batches. None is the device where it is a GPU,
            and the host otherwise.
        jit_compile: of `model.compile`. Defaults to "auto", which chooses by measured steps on a
            CPU; a run that goes on keeps to what it had chosen.
        verbose: of `model.fit`: 0, 1 or 2. Defaults to "auto": a progress bar in a terminal or a
            notebook, a line per epoch elsewhere.
        save_every_steps: int, the run is saved after every so many steps of an epoch, too (torch
            only); None for after each epoch alone. Defaults to None.
        tensorboard: bool, whether the figures of each epoch are also written to
            `output_dir/tensorboard`; see `ScalarsToTensorBoard`. Defaults to False.
        report: called with what a person wants to know before and after training. By default
            nothing is said.

    Returns:
        What is in result.json, a dictionary; among it `test` and `validation`, figures by name, and
        `seconds` (of all parts of an interrupted run, without what was lost).

    Raises:
        ValueError: if the network does not fit the data, or for a bad argument.
        InterruptedRunError: if `output_dir` holds an interrupted run with other settings.
        FolderInUseError: if another run writes to `output_dir`.
        CheckpointError: if no checkpoint of an interrupted run can be read.
        OSError: if something cannot be written. What was saved before survives.
        RunStopped: after Ctrl-C or SIGTERM; a `KeyboardInterrupt` that says how to go on.
        FloatingPointError: if training diverged. No model is saved then.
    """
    folder = expand(output_dir)
    first = _together.is_first()
    if not first:
        verbose, report = 0, _say_nothing
    # What would stop a run after hours stops it here.
    if recipe.pictures:
        _runs.check_drawing()
    more = [ScalarsToTensorBoard(folder / "tensorboard")] if tensorboard else []
    asked = {"recipe": recipe.record(), "seed": seed, "jit_compile": jit_compile}
    asked = json.loads(json.dumps(asked))  # as it will be read: tuples are lists
    checkpoint = None
    with signals() as caught:
        try:
            names = [*_runs.FILES, *recipe.pictures]
            with _runs.folder_of_one_run(folder, names, first) as earlier:
                checkpoint = Checkpoint(folder / _runs.CHECKPOINTS, every_steps=save_every_steps)
                if checkpoint.found:
                    _runs.compare(folder, asked, checkpoint.settings, part=True)
                keras.utils.set_random_seed(seed)
                model = _made(recipe, recipe.network)
                data = recipe.data.open(
                    recipe.batch_size,
                    seed,
                    data_dir,
                    validation_fraction,
                    augment_on,
                    fitted=checkpoint.arrays or None,
                )
                _check(model, data)
                settings = {
                    **asked,
                    "validation_fraction": validation_fraction,
                    "augment_on": data.place,
                    "images": data.sizes,
                    "model": model.name,
                    "trainable_parameters": trainable_parameters(model),
                }
                result = _together.by_first(lambda: _runs.finished(folder, settings))
                if result is not None:
                    if first:
                        _runs.forget(folder)
                    report(_texts.finished(recipe, result, folder))
                    return result
                resumed_after = _begin(folder, checkpoint, settings, data.fitted)
                report(_texts.opening(recipe, data, settings, folder, earlier, resumed_after))
                rate = recipe.schedule.rate(len(data.train), recipe.epochs)
                model.compile(
                    optimizer=_made(recipe, recipe.optimizer, rate),
                    loss=_made(recipe, partial(recipe.loss, **data.loss_arguments)),
                    metrics=[_made(recipe, metric) for metric in recipe.metrics],
                    jit_compile=jit_compile,
                )
                _fit(recipe, model, data, folder, checkpoint, caught, verbose, more)
                compiled = getattr(model, "trains_compiled", bool(model.jit_compile))
                figures = model.evaluate(data.test, return_dict=True, verbose=0)
                processes = _together.settings()

                def finish() -> dict:
                    result = {
                        **settings,
                        **processes,
                        **_measure(recipe, model, data, folder, checkpoint, figures),
                        "resumed_after_epochs": resumed_after and resumed_after[0],
                        "resumed_after_steps": resumed_after and resumed_after[1],
                        "seconds": round(checkpoint.seconds, 1),
                        "compiled_steps": compiled,
                        "versions": _runs.versions(),
                    }
                    # What says that the run is finished comes last, and what it would go on from
                    # goes after it: killed in between, it finds itself finished.
                    _runs.write_json(folder / "result.json", result)
                    _runs.forget(folder)
                    return result

                _check_converged(model, figures, folder, first)
                result = _together.by_first(finish)
                report(_texts.closing(recipe, result, folder))
                return result
        except KeyboardInterrupt:
            raise RunStopped(_texts.stopped(folder, checkpoint), caught.number) from None


def _say_nothing(text: str) -> None:
    """A report of a process that is not the first."""


def trainable_parameters(model: keras.Model) -> int:
    """The number of trainable parameters: what the papers count."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def _made(recipe: Recipe, make: Callable, *args):
    """What a recipe's constructor makes, whose arguments anybody may have set."""
    try:
        return make(*args)
    except (ArithmeticError, MemoryError, RuntimeError, TypeError) as error:
        raise ValueError(f"Recipe {recipe.name!r}: {error or type(error).__name__}") from error


def _begin(folder: Path, checkpoint: Checkpoint, settings: dict, fitted) -> tuple[int, int] | None:
    """The epochs, and steps of the next, that a run goes on after; None where it begins."""
    if checkpoint.found:
        _runs.compare(folder, settings, checkpoint.settings)
        return checkpoint.saved_epoch, checkpoint.saved_step
    checkpoint.settings, checkpoint.arrays = settings, dict(fitted)
    return None


def _fit(
    recipe: Recipe,
    model: keras.Model,
    data: Splits,
    folder: Path,
    checkpoint: Checkpoint,
    caught: Signals,
    verbose: str | int,
    more: Sequence[keras.callbacks.Callback],
) -> None:
    callbacks: list[keras.callbacks.Callback] = [
        SetEpoch(data.train),
        StopOnNaN(),
        *more,
        checkpoint,
    ]
    if _together.is_first():
        callbacks.append(WriteHistory(folder / "history.csv", checkpoint))
    if data.validation is not None and _together.is_first():
        best = KeepBest(checkpoint.directory / BEST, goal_of(recipe), checkpoint)
        callbacks.insert(callbacks.index(checkpoint), best)
        if data.attributes is not None:
            counted = WriteAttributes(
                folder / _runs.ATTRIBUTES, data.attributes, data.sizes["validation"]
            )
            callbacks.insert(callbacks.index(checkpoint), counted)
    if recipe.restarts_velocity:
        callbacks.insert(0, RestartVelocity())
    callbacks[:0] = [_made(recipe, make) for make in recipe.callbacks]
    if verbose == "auto":
        # Keras draws its bar into files, too.
        verbose = 1 if sys.stdout.isatty() or "ipykernel" in sys.modules else 2
    with warnings.catch_warnings(), caught.answered_by(checkpoint.request_stop):
        # A grid that a block drops has been computed for nothing, and its weights get no
        # gradient: P-MG was published so, and its parameter count includes them.
        warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
        batches = data.train
        if checkpoint.saved_step:
            batches = Unread(batches, checkpoint.saved_epoch, checkpoint.saved_step)
        model.fit(
            batches,
            epochs=recipe.epochs,
            initial_epoch=checkpoint.saved_epoch,
            validation_data=data.validation,
            # Each epoch's order is the data's own; Keras's would not repeat on a resume.
            shuffle=False,
            verbose=verbose,
            callbacks=callbacks,
        )
    if _together.in_any(caught.number is not None):  # it came after the last epoch
        raise KeyboardInterrupt


def _measure(
    recipe: Recipe,
    model: keras.Model,
    data: Splits,
    folder: Path,
    checkpoint: Checkpoint,
    figures: dict,
) -> dict:
    """Writes a trained model that was measured, and what belongs to it."""
    rows = checkpoint.history
    _runs.write_history(folder / "history.csv", rows)
    difference = _save(model, folder / "model.keras", data.test[0][0])
    saved = ["model.keras"]
    best = None
    if (checkpoint.directory / BEST).exists():
        # A copy: killed after it, the run looks for the original once more.
        with replacing(folder / BEST) as part:
            shutil.copyfile(checkpoint.directory / BEST, part)
        goal = goal_of(recipe)
        best = {"by": goal.figure, **(goal.best(rows) or {})}
        saved.append(BEST)
    for name, draw in recipe.pictures.items():
        draw(folder / name, model, data.test, figures)
    if _runs.can_draw():
        plot_history(folder / CURVES, _runs.columns(rows), title=recipe.name)
    if data.fitted:
        _runs.write_arrays(folder / FITTED, data.fitted)
    for name, written in ((BEST, best), (CURVES, _runs.can_draw()), (FITTED, data.fitted)):
        if not written:  # but there may be one of a run with other settings
            (folder / name).unlink(missing_ok=True)
    return {
        "test": figures,
        "validation": {
            key.removeprefix("val_"): value
            for key, value in rows[-1].items()
            if key.startswith("val_")
        },
        "best": best,
        "history": rows,
        "difference_after_reload": difference,
        "sha256": {name: _runs.sha256(folder / name) for name in saved},
    }


def _check_converged(model: keras.Model, figures: dict, folder: Path, first: bool) -> None:
    """Raises where training diverged."""
    if model.stop_training or not np.isfinite(figures["loss"]):
        if first:
            _runs.forget(folder)  # there is nothing to go on from
        raise FloatingPointError(
            f"Training diverged: the loss is not finite (test loss {figures['loss']}). "
            "No model was saved."
        )


def _save(model: keras.Model, path: Path, x) -> float:
    """Saves a model, loads it back, and puts the file in place if it does the same.

    Returns:
        The largest difference between the outputs of the two.
    """
    with replacing(path) as part:
        model.save(part)
        loaded = keras.saving.load_model(part, compile=False)
        outputs = (keras.ops.convert_to_numpy(each(x, training=False)) for each in (model, loaded))
        difference = float(np.abs(np.subtract(*outputs)).max())
        if not difference <= _MAX_DIFFERENCE:
            raise RuntimeError(
                f"The loaded model's outputs differ from the trained one's by {difference:g}."
            )
    return difference


def _check(model: keras.Model, data: Splits) -> None:
    """That a classifier gives logits, enough of them."""
    _, labels = data.train[0]
    if len(labels.shape) > 2:
        return  # maps, not classes
    if getattr(model.layers[-1], "activation", None) is keras.activations.softmax:
        raise ValueError(
            f"{model.name} must give logits: build it with classifier_activation=None. "
            "Received a model that ends in a softmax."
        )
    outputs = model.output_shape[-1]
    if data.attributes is not None and data.classes != outputs:
        raise ValueError(
            f"{model.name} names {outputs} attributes. Received data of {data.classes}: build it "
            f"with classes={data.classes} and as many levels."
        )
    if data.classes > outputs:
        raise ValueError(
            f"{model.name} tells {outputs} classes apart. Received data of {data.classes}: build "
            f"it with classes={data.classes} or more."
        )
