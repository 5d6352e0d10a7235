"""Training by a recipe, from the images to a measured and saved model."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from keras_mg.datasets.augmented_images import AugmentedImages, SetEpoch
from keras_mg.datasets.device_images import DeviceImages, images_on
from keras_mg.datasets.images import Images
from keras_mg.recipes.published import Recipe

FILES = ("model.keras", "history.csv", "result.json")
# What an interrupted run leaves, and a finished one takes away.
BACKUP = "backup"
SETTINGS = "settings.json"

_EVALUATION_BATCH = 256  # images
_WATCHED = 50  # steps from one look at the loss to the next: each look waits for the device


class InterruptedRunError(ValueError):
    """The output folder holds an interrupted run that cannot go on as asked."""


class _StopOnNaN(keras.callbacks.TerminateOnNaN):
    """Looks at the loss every so many steps. It is the epoch's mean, so a NaN stays in it."""

    def on_batch_end(self, batch, logs=None):
        if batch % _WATCHED == 0:
            super().on_batch_end(batch, logs)


def train(
    recipe: Recipe,
    model: keras.Model,
    train: Images,
    validation: Images | None,
    test: Images,
    preprocess_input: Callable,
    output_dir: str | os.PathLike,
    seed: int = 0,
    settings: Mapping | None = None,
    verbose: str | int = "auto",
    augment_on: str | None = None,
) -> dict:
    """Trains a classifier by a recipe, measures it once at the end, and saves it.

    The reported figures are those of the weights after the last epoch. The test images are looked
    at once, after training; the validation images are watched and decide nothing.

    The run can be interrupted: called again with the same arguments, it goes on after the last
    epoch that it had finished, and ends where it would have ended. `output_dir` then holds

    ```
    model.keras    the trained model; it gives logits, and its path is also good for `weights=` of
                   the constructor
    history.csv    what `fit` measured in each epoch (training figures are of augmented images)
    result.json    settings and results
    ```

    Args:
        recipe: the `Recipe`.
        model: a model that gives logits, built with `classifier_activation=None`. Its initial
            weights come from the caller's random state.
        train: the training images.
        validation: images to measure after each epoch, or None.
        test: the test images.
        preprocess_input: of the network's family; called with uint8 images and `data_format=`.
        output_dir: folder, made if it is not there. Files of these names from an earlier run are
            replaced, the model and the result only after training.
        seed: int, of order and augmentation. Defaults to 0.
        settings: further settings of the run (network, data set, ...), JSON types. They are
            recorded, and a run is only resumed under the same ones.
        verbose: of `model.fit`. Defaults to "auto".
        augment_on: "device" for `DeviceImages`, whose images have to fit into the device's memory,
            or "host" for `AugmentedImages`; the two draw other crops. None is the device where it
            is a GPU, and the host otherwise. A run goes on where it began.

    Returns:
        What is in result.json, a dictionary; among it `test_error`, `test_loss`,
        `validation_error` (fractions of the images) and `seconds` (of this process).

    Raises:
        ValueError: if the model ends in a softmax or has another number of outputs than there are
            classes, or for an unknown `augment_on`.
        InterruptedRunError: if `output_dir` holds an interrupted run with other settings.
        FloatingPointError: if training diverged. No model is saved then.
    """
    begun = time.perf_counter()
    _check(model, train, test)
    augmented = images_on(augment_on)
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    recorded = {
        "settings": dict(settings or {}),
        "model": model.name,
        "trainable_parameters": trainable_parameters(model),
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "augment_on": "device" if augmented is DeviceImages else "host",
        "train_images": len(train.labels),
        "validation_images": 0 if validation is None else len(validation.labels),
        "test_images": len(test.labels),
    }
    recorded = json.loads(json.dumps(recorded))  # as it will be read: tuples are lists
    resumed_after = _resume_or_begin(folder, recorded)

    batches = augmented(
        train, preprocess_input, recipe.batch_size, recipe.shift, recipe.flip, seed=seed
    )

    def plain(data: Images) -> AugmentedImages:
        return augmented(
            data, preprocess_input, _EVALUATION_BATCH, shift=0, flip=False, shuffle=False
        )

    watched = None if validation is None else plain(validation)
    model.compile(
        optimizer=recipe.optimizer(len(batches)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    log = keras.callbacks.CSVLogger(folder / "history.csv", append=resumed_after is not None)
    try:
        model.fit(
            batches,
            epochs=recipe.epochs,
            validation_data=watched,
            # Each epoch's order is the data's own; Keras's shuffling would not repeat on a resume.
            shuffle=False,
            verbose=verbose,
            callbacks=[
                # Kept until the results are written: a run that ends in between loses nothing.
                keras.callbacks.BackupAndRestore(
                    folder / BACKUP, double_checkpoint=True, delete_checkpoint=False
                ),
                SetEpoch(batches),
                log,
                _StopOnNaN(),
            ],
        )
    finally:
        if log.csv_file is not None:
            log.csv_file.close()  # Keras closes it only at the end of an undisturbed training
    figures = model.evaluate(plain(test), return_dict=True, verbose=0)
    if model.stop_training or not np.isfinite(figures["loss"]):
        _forget(folder)  # there is nothing to go on from
        raise FloatingPointError(
            f"Training diverged: the loss is not finite (test loss {figures['loss']}). "
            "No model was saved."
        )
    result = {
        **recorded,
        "test_error": 1.0 - figures["accuracy"],
        "test_loss": figures["loss"],
        "validation_error": None,
        "history": _history(folder / "history.csv"),
        "resumed_after_epochs": resumed_after,
        "seconds": round(time.perf_counter() - begun, 1),
        "versions": {
            **{name: _version(name) for name in ("keras-mg", "keras", "torch", "jax", "numpy")},
            "backend": keras.backend.backend(),
            "python": platform.python_version(),
        },
    }
    if watched is not None:
        result["validation_error"] = 1.0 - result["history"][-1]["val_accuracy"]
    _write(folder / "model.keras", model.save)
    _write(folder / "result.json", lambda path: _dump(path, result))
    _forget(folder)
    return result


def interrupted_settings(output_dir: str | os.PathLike) -> dict | None:
    """The settings of the interrupted run in a folder; None where there is none."""
    folder = Path(output_dir)
    if not (folder / BACKUP / "training_metadata.json").exists():
        return None
    try:
        return json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InterruptedRunError(
            f"{folder / BACKUP} is the backup of an interrupted run, but {folder / SETTINGS}, "
            f"which says of which, cannot be read: {error}. Delete {folder / BACKUP} to begin anew."
        ) from error


def trainable_parameters(model: keras.Model) -> int:
    """The number of trainable parameters: what the papers count."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def _check(model: keras.Model, train: Images, test: Images) -> None:
    if getattr(model.layers[-1], "activation", None) is keras.activations.softmax:
        raise ValueError(
            f"{model.name} must give logits: build it with classifier_activation=None. "
            "Received a model that ends in a softmax."
        )
    outputs = model.output_shape[-1]
    highest = int(max(train.labels.max(), test.labels.max()))
    if highest >= outputs:
        raise ValueError(
            f"{model.name} tells {outputs} classes apart. Received a label {highest}: build it "
            f"with classes={highest + 1} or more."
        )


def _resume_or_begin(folder: Path, recorded: dict) -> int | None:
    """The finished epochs of the run that `folder` holds; None after a fresh start is prepared."""
    earlier = interrupted_settings(folder)
    if earlier is None:
        shutil.rmtree(folder / BACKUP, ignore_errors=True)
        _write(folder / SETTINGS, lambda path: _dump(path, recorded))
        return None
    ours, theirs = _flat(recorded), _flat(earlier)
    differing = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
    if differing:
        shown = ", ".join(f"{key} {theirs.get(key)!r} (now {ours.get(key)!r})" for key in differing)
        raise InterruptedRunError(
            f"{folder} holds an interrupted run with other settings: {shown}. Give it the same "
            f"settings to go on, another output folder, or delete {folder / BACKUP} to begin anew."
        )
    progress = json.loads((folder / BACKUP / "training_metadata.json").read_text(encoding="utf-8"))
    return progress["epoch"]


def _forget(folder: Path) -> None:
    """Removes what an interrupted run would go on from."""
    shutil.rmtree(folder / BACKUP, ignore_errors=True)
    (folder / SETTINGS).unlink(missing_ok=True)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _flat(settings: Mapping, prefix: str = "") -> dict:
    flat = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _history(path: Path) -> list[dict]:
    """One row per epoch. An epoch is twice in the file if the run ended between log and backup."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    # Keras writes NA for what was not measured.
    return [
        {"epoch": epoch, **{k: float(v) for k, v in row.items() if k != "epoch" and v != "NA"}}
        for epoch, row in sorted(rows.items())
    ]


def _dump(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a neighbour, then puts it in place: the file is complete or it is not there."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
