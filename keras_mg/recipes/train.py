"""Training by a recipe, from its record to a measured and saved model."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from keras_mg._files import expand, replacing
from keras_mg.datasets.set_epoch import SetEpoch
from keras_mg.recipes import _runs
from keras_mg.recipes._runs import InterruptedRunError as InterruptedRunError
from keras_mg.recipes.data import Splits
from keras_mg.recipes.recipe import Recipe
from keras_mg.training.restart_velocity import RestartVelocity

_WATCHED = 50  # steps from one look at the loss to the next: each look waits for the device
_MAX_DIFFERENCE = 1e-6  # between outputs of the trained and of the loaded model


class _StopOnNaN(keras.callbacks.TerminateOnNaN):
    """Looks at the loss every so many steps. It is the epoch's mean, so a NaN stays in it."""

    def on_batch_end(self, batch, logs=None):
        if batch % _WATCHED == 0:
            super().on_batch_end(batch, logs)


def train(
    recipe: Recipe,
    output_dir: str | os.PathLike,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
    validation_fraction: float | None = None,
    augment_on: str | None = None,
    jit_compile: bool | str = "auto",
    verbose: str | int = "auto",
    report: Callable[[str], object] = lambda text: None,
) -> dict:
    """Trains a network by a recipe, measures it once at the end, and saves it.

    The reported figures are those of the weights after the last epoch. The test data are looked at
    once, after training; the validation data are watched and decide nothing.

    The run can be interrupted: called again with the same arguments, it goes on after the last
    epoch that it had finished, and ends where it would have ended. `output_dir` then holds

    ```
    model.keras         the trained model, which has been loaded back and found to do the same; a
                        classifier gives logits, and its path is also good for `weights=` of the
                        constructor
    history.csv         what `fit` measured in each epoch (training figures are of augmented images)
    result.json         settings and results
    preprocessing.npz   mean and standard deviation by which images become the model's input, where
                        a recipe normalises them: `Normalizer.load` reads them
    ```

    and the recipe's pictures.

    Args:
        recipe: the `Recipe`.
        output_dir: folder, made if it is not there. Files of these names from an earlier run are
            replaced, all but the history only after training.
        seed: int, of initial weights, order and augmentation. Defaults to 0.
        data_dir: folder of prepared tensorflow-datasets; see `load_images`.
        validation_fraction: float in [0, 1), of the training images, kept from training and
            measured after each epoch; 0 trains on all, as the papers do. Defaults to 0.1 where the
            data are not split otherwise.
        augment_on: "host" or "device", where batches are made; on the device, all images have to
            fit into its memory. Both make the same batches. None is the device where it is a GPU,
            and the host otherwise.
        jit_compile: of `model.compile`. Defaults to "auto".
        verbose: of `model.fit`. Defaults to "auto".
        report: called with what a person wants to know before and after training. By default
            nothing is said.

    Returns:
        What is in result.json, a dictionary; among it `test` and `validation`, figures by name, and
        `seconds` (of this process).

    Raises:
        ValueError: if the network does not fit the data, or for a bad argument.
        InterruptedRunError: if `output_dir` holds an interrupted run with other settings.
        FloatingPointError: if training diverged. No model is saved then.
    """
    begun = time.perf_counter()
    folder = expand(output_dir)
    # What would stop a run after hours stops it here.
    earlier = _runs.check_folder(folder, [*_runs.FILES, *recipe.pictures])
    if recipe.pictures and importlib.util.find_spec("matplotlib") is None:
        raise ImportError(
            'The pictures are drawn by matplotlib, which is not installed: pip install "keras-mg'
            '[data]"'
        )
    keras.utils.set_random_seed(seed)
    try:
        model = recipe.network()
    except TypeError as error:
        raise ValueError(f"Recipe {recipe.name!r}: {error}") from error
    data = recipe.data.open(
        recipe.batch_size,
        seed,
        data_dir,
        validation_fraction,
        augment_on,
        fitted=_runs.read_fitted(folder),
    )
    _check(model, data)
    recorded = {
        "recipe": recipe.record(),
        "seed": seed,
        "jit_compile": jit_compile,
        "augment_on": data.place,
        "images": data.sizes,
        "model": model.name,
        "trainable_parameters": trainable_parameters(model),
    }
    recorded = json.loads(json.dumps(recorded))  # as it will be read: tuples are lists
    resumed_after = _runs.resume_or_begin(folder, recorded, data.fitted)
    report(_opening(recipe, data, model, folder, earlier, resumed_after))

    model.compile(
        optimizer=recipe.optimizer(recipe.schedule.rate(len(data.train), recipe.epochs)),
        loss=recipe.loss(),
        metrics=[metric() for metric in recipe.metrics],
        jit_compile=jit_compile,
    )
    _fit(recipe, model, data, folder, resumed_after is not None, verbose)
    figures = model.evaluate(data.test, return_dict=True, verbose=0)
    if model.stop_training or not np.isfinite(figures["loss"]):
        _runs.forget(folder)  # there is nothing to go on from
        raise FloatingPointError(
            f"Training diverged: the loss is not finite (test loss {figures['loss']}). "
            "No model was saved."
        )
    rows = _runs.history(folder / "history.csv")
    difference = _save(model, folder / "model.keras", data.test[0][0])
    result = {
        **recorded,
        "test": figures,
        "validation": {
            key.removeprefix("val_"): value
            for key, value in rows[-1].items()
            if key.startswith("val_")
        },
        "history": rows,
        "resumed_after_epochs": resumed_after,
        "difference_after_reload": difference,
        "seconds": round(time.perf_counter() - begun, 1),
        "versions": _runs.versions(),
    }
    for name, draw in recipe.pictures.items():
        draw(folder / name, model, data.test, figures)
    if data.fitted:
        _runs.write_arrays(folder / "preprocessing.npz", data.fitted)
    _runs.write_json(folder / "result.json", result)
    _runs.forget(folder)
    report(_closing(recipe, result, folder))
    return result


def trainable_parameters(model: keras.Model) -> int:
    """The number of trainable parameters: what the papers count."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def _fit(
    recipe: Recipe, model: keras.Model, data: Splits, folder: Path, resumes: bool, verbose
) -> None:
    log = keras.callbacks.CSVLogger(folder / "history.csv", append=resumes)
    callbacks = [
        # Kept until the results are written: a run that ends in between loses nothing.
        keras.callbacks.BackupAndRestore(
            folder / _runs.BACKUP, double_checkpoint=True, delete_checkpoint=False
        ),
        SetEpoch(data.train),
        log,
        _StopOnNaN(),
    ]
    if recipe.restarts_velocity:
        callbacks.append(RestartVelocity())
    try:
        with warnings.catch_warnings():
            # A grid that a block drops has been computed for nothing, and its weights get no
            # gradient: P-MG was published so, and its parameter count includes them.
            warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
            model.fit(
                data.train,
                epochs=recipe.epochs,
                validation_data=data.validation,
                # Each epoch's order is the data's own; Keras's would not repeat on a resume.
                shuffle=False,
                verbose=verbose,
                callbacks=callbacks,
            )
    finally:
        if log.csv_file is not None:
            log.csv_file.close()  # Keras closes it only at the end of an undisturbed training


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
    if len(labels.shape) != 1:
        return  # maps, not classes
    if getattr(model.layers[-1], "activation", None) is keras.activations.softmax:
        raise ValueError(
            f"{model.name} must give logits: build it with classifier_activation=None. "
            "Received a model that ends in a softmax."
        )
    outputs = model.output_shape[-1]
    if data.classes > outputs:
        raise ValueError(
            f"{model.name} tells {outputs} classes apart. Received data of {data.classes}: build "
            f"it with classes={data.classes} or more."
        )


def _opening(recipe, data, model, folder, earlier, resumed_after) -> str:
    """What is about to be trained on what, in a few lines."""
    lines = [
        f"Data: {data.description}",
        f"Network: {model.name}, {trainable_parameters(model):,} trainable parameters.",
        f"Recipe: {recipe.name}, {recipe.epochs} epochs of {len(data.train):,} steps of "
        f"{recipe.batch_size}.",
    ]
    lines += [f"Not as published: {difference}" for difference in recipe.differs]
    if resumed_after is not None:
        lines.append(f"{folder} holds an interrupted run: going on after epoch {resumed_after}.")
    elif earlier:
        lines.append(
            f"{folder} holds {', '.join(earlier)} of an earlier run: replaced after training."
        )
    return "\n".join(lines)


def _closing(recipe, result, folder) -> str:
    """What was measured, and where it is."""
    figures = ", ".join(f"{name} {value:.4f}" for name, value in sorted(result["test"].items()))
    claims = "".join(f"; published {name} {value:.4f}" for name, value in recipe.claims.items())
    files = [name for name in (*_runs.FILES, *recipe.pictures) if (folder / name).exists()]
    lines = [
        f"After the last of {recipe.epochs} epochs, on {result['images']['test']:,} test images: "
        f"{figures}{claims}; {result['seconds']:.0f} s.",
        "The saved model, loaded back, does the same (largest difference "
        f"{result['difference_after_reload']:g}).",
        f"Written to {folder.resolve()}: {', '.join(files)}",
    ]
    if recipe.remarks is not None:
        lines += ["", recipe.remarks(result)]
    return "\n".join(lines)
