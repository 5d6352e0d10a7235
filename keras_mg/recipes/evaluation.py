"""What a trained network does on the data of its recipe: figures, tables, predictions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_mg._files import expand, replacing
from keras_mg.metrics.attribute_table import AttributeTable
from keras_mg.metrics.tables import ClassTable, MapTable
from keras_mg.recipes import _runs
from keras_mg.recipes._tables import write_csv
from keras_mg.recipes.opening import open_network, run_folder
from keras_mg.recipes.recipe import Recipe


def evaluate(
    what: Recipe | str | os.PathLike,
    weights: str | os.PathLike | None = None,
    output_dir: str | os.PathLike | None = None,
    split: Literal["test", "validation"] = "test",
    data_dir: str | os.PathLike | None = None,
    preprocessing: str | os.PathLike | None = None,
    crops: int = 1,
    jit_compile: bool | str = "auto",
    report: Callable[[str], object] = lambda text: None,
) -> dict[str, Any]:
    """Measures a network on the data of its recipe.

    Of a run's folder the figures are those that `train` reported. Beside the recipe's loss and
    metrics there are, of a classifier, top-1 and top-5 accuracy, a row per class and the confusion
    matrix; of a network that gives maps, what `MapTable` says; of one that names attributes, what
    `AttributeTable` says, sorted by F1. With `output_dir`, or in the folder
    of the run, they are written:

    ```
    evaluation.json         figures and what was measured
    per_class.csv           a row per class, map or attribute
    confusion_matrix.csv    of a classifier: rows are true, columns predicted classes
    ```

    and the recipe's pictures, where matplotlib is installed.

    Args:
        what: the folder of a finished run, or a `Recipe`, for which `weights` are needed.
        weights: a tag, or a weights file of any kind that `keras_mg.weights.load` reads. Defaults
            to the model of the run.
        output_dir: folder of the files, made if it is not there. Defaults to that of the run, if
            its own model is measured; otherwise nothing is written.
        split: "test" or "validation". Defaults to "test".
        data_dir: folder of prepared tensorflow-datasets; see `load_images`.
        preprocessing: the .npz of the statistics that the network was trained with, where they are
            fitted. Defaults to `preprocessing.npz` beside the weights, if it is there; otherwise
            they are fitted anew.
        crops: int, of each image: 1, or 10 for the mean of the probabilities of ten crops of a
            photograph (`keras_mg.datasets.TenCrops`). Defaults to 1.
        jit_compile: of `model.compile`. Defaults to "auto".
        report: called with the figures, for people. By default nothing is said.

    Returns:
        A dictionary: `figures` by name, `per_class` (a list of rows), `confusion_matrix` (a list
        of lists, of a classifier), `images`, `split`, `weights`, `recipe`, `versions`.

    Raises:
        ValueError: if there is no finished run, or weights, recipe and data do not fit each other.
        FileNotFoundError: if the data are not there.
    """
    opened = open_network(what, weights, split, data_dir, preprocessing, crops)
    recipe, model, data, source, splits = opened
    _compile(model, jit_compile)
    loss, metrics = recipe.loss(**splits.loss_arguments), [metric() for metric in recipe.metrics]
    mean_loss = keras.metrics.Mean()
    table: ClassTable | MapTable | AttributeTable | None = None
    if splits.attributes is not None:
        table = AttributeTable(splits.attributes)
    images = 0
    for y, outputs in _outputs(model, data):
        images += len(outputs)
        mean_loss.update_state(loss(y, outputs), sample_weight=len(outputs))
        for metric in metrics:
            metric.update_state(y, outputs)
        if isinstance(table, AttributeTable):
            table.update(keras.ops.convert_to_numpy(y), outputs)
            continue
        truth = _truth(y)
        if table is None:
            table = ClassTable(outputs.shape[-1]) if truth.ndim == 1 else MapTable()
        maps = truth.ndim > 1
        table.update(*(_channels_last(each) if maps else each for each in (truth, outputs)))
    assert table is not None
    figures = {"loss": float(mean_loss.result())}
    figures |= {metric.name: float(metric.result()) for metric in metrics}
    figures = table.figures() | figures
    result: dict[str, Any] = {
        "recipe": json.loads(json.dumps(recipe.record())),
        "weights": source,
        "split": split,
        "images": images,
        "crops": crops,
        "figures": figures,
        "per_class": table.rows(),
        "versions": _runs.versions(),
    }
    if isinstance(table, ClassTable):
        result["confusion_matrix"] = table.confusion_matrix.tolist()
    folder = run_folder(what) if output_dir is None and weights is None else output_dir
    if folder is not None:
        _write(expand(folder), result)
        if _runs.can_draw():
            for name, draw in recipe.pictures.items():
                # A run's own picture is of the test data.
                prefix = "" if split == "test" else f"{split}-"
                draw(expand(folder) / f"{prefix}{name}", model, data, figures)
    report(_shown(recipe, result, folder))
    return result


def predict(
    what: Recipe | str | os.PathLike,
    path: str | os.PathLike,
    weights: str | os.PathLike | None = None,
    split: Literal["test", "validation"] = "test",
    data_dir: str | os.PathLike | None = None,
    preprocessing: str | os.PathLike | None = None,
    jit_compile: bool | str = "auto",
) -> Path:
    """Writes what a network gives for the data of its recipe.

    Args:
        what: the folder of a finished run, or a `Recipe`, for which `weights` are needed.
        path: of the HDF5 file, which is replaced in one step. Its data set `prediction`, float32,
            is `(images, classes)`, a classifier's logits, or `(images, maps, height, width)`; its
            data set `label` is `(images,)`, the true classes, of a classifier, its data set `bits`
            `(images, attributes)`, the truth, where attributes are named.
        weights: as of `evaluate`, and so are the others.
        split: "test" or "validation". Defaults to "test".
        data_dir: folder of prepared tensorflow-datasets; see `load_images`.
        preprocessing: the .npz of the statistics that the network was trained with.
        jit_compile: of `model.compile`. Defaults to "auto".

    Returns:
        The path of the file.

    Raises:
        ValueError: as `evaluate` does.
        OSError: if the file cannot be written. One that was there is as it was.
    """
    import h5py

    _, model, data, _, splits = open_network(what, weights, split, data_dir, preprocessing)
    _compile(model, jit_compile)
    target = expand(path)
    try:
        with replacing(target) as part, h5py.File(part, "w") as file:
            for y, outputs in _outputs(model, data):
                if splits.attributes is not None:
                    _append(file, "bits", keras.ops.convert_to_numpy(y).astype("uint8"))
                elif (truth := _truth(y)).ndim == 1:
                    _append(file, "label", truth.astype("int64"))
                else:
                    outputs = np.moveaxis(_channels_last(outputs), -1, 1)
                _append(file, "prediction", outputs.astype("float32"))
    except RuntimeError as error:  # what h5py raises on a full disk
        raise OSError(f"{target} cannot be written: {error}") from error
    return target


def _compile(model: keras.Model, jit_compile: bool | str) -> None:
    model.compile(loss="mse", jit_compile=jit_compile)  # a loss, as Keras wants one


def _outputs(model: keras.Model, data: keras.utils.PyDataset) -> Iterator[tuple[Any, np.ndarray]]:
    """What a model gives, batch by batch, after what it should give."""
    for i in range(len(data)):
        x, y = data[i]
        if len(x.shape) == 5:  # crops of each image
            of_each = [model.predict_on_batch(x[:, crop]) for crop in range(x.shape[1])]
            yield y, _mean_of_crops(np.stack(of_each))
        else:
            yield y, model.predict_on_batch(x)


def _mean_of_crops(logits: np.ndarray) -> np.ndarray:
    """Logits of the mean probabilities; `(crops, images, classes)` become `(images, classes)`."""
    logits = logits.astype("float64")
    logits -= logits.max(-1, keepdims=True)
    mean = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).mean(0)
    return np.log(np.maximum(mean, np.finfo("float32").tiny)).astype("float32")


def _truth(y) -> np.ndarray:
    """Classes as integers, and maps as they are."""
    truth = keras.ops.convert_to_numpy(y)
    return truth.argmax(-1) if truth.ndim == 2 else truth


def _channels_last(maps: np.ndarray) -> np.ndarray:
    first = keras.config.image_data_format() == "channels_first"
    return np.moveaxis(maps, 1, -1) if first else maps


def _append(file, name: str, rows: np.ndarray) -> None:
    if name not in file:
        file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]))
        return
    count = len(file[name])
    file[name].resize(count + len(rows), axis=0)
    file[name][count:] = rows


def _write(folder: Path, result: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "per_class.csv", result["per_class"])
    if "confusion_matrix" in result:
        matrix = result["confusion_matrix"]
        with replacing(folder / "confusion_matrix.csv") as part:
            np.savetxt(part, matrix, fmt="%d", delimiter=",")
    _runs.write_json(folder / "evaluation.json", result)


def _shown(recipe: Recipe, result: dict, folder) -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in result["figures"].items())
    lines = [
        f"{result['weights']} on {result['images']:,} {result['split']} images of {recipe.name}:",
        figures,
    ]
    return "\n".join([*lines, *([f"Written to {expand(folder).resolve()}"] if folder else [])])
