"""A finished run, or weights by a recipe, opened to be looked at."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_mg import weights as weights_files
from keras_mg._files import expand
from keras_mg.datasets import load_preprocessing
from keras_mg.datasets.photo_crops import TenCrops
from keras_mg.layers.arguments import one_of
from keras_mg.recipes import _runs
from keras_mg.recipes.data import Splits
from keras_mg.recipes.lookup import get_recipe
from keras_mg.recipes.mixing import with_layers
from keras_mg.recipes.photo_data import Photographs
from keras_mg.recipes.recipe import Recipe
from keras_mg.weights import TrainedInfo

SPLITS = ("test", "validation")


class Opened(NamedTuple):
    """A network with its weights, and data."""

    recipe: Recipe
    model: keras.Model
    data: keras.utils.PyDataset
    weights: str  # where they are from
    splits: Splits  # of which the data are one


def read_result(folder: str | os.PathLike) -> dict[str, Any]:
    """The result of a finished run.

    Args:
        folder: the `output_dir` of `train`.

    Raises:
        ValueError: if it holds no finished run.
    """
    path = expand(folder) / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        parts = [result[key] for key in ("recipe", "test", "validation", "history", "seed")]
        assert parts[0]["name"]
        assert parts[3]
    except (OSError, ValueError, LookupError, TypeError, AssertionError, RecursionError) as error:
        raise ValueError(f"{folder} holds no finished run: {path} cannot be read") from error
    return result


def recipe_of(folder: str | os.PathLike) -> tuple[Recipe, dict[str, Any]]:
    """The recipe of a finished run, with the values that were set, and its result.

    Args:
        folder: the `output_dir` of `train`.

    Raises:
        ValueError: if it holds no finished run, or one of a recipe that is not among
            `list_recipes()`.
    """
    result = read_result(folder)
    # What is drawn and said of a run may have changed since; nothing that was trained has.
    record = {k: v for k, v in result["recipe"].items() if k not in ("pictures", "remarks")}
    try:
        recipe = get_recipe(record["name"])
        if record["data"].get("layers"):
            recipe = with_layers(recipe, record["data"]["layers"])
        recipe = recipe.changed(dict(_runs.differing(recipe.record(), record)))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}: the recipe in result.json is damaged ({error})") from error
    if not _covers(json.loads(json.dumps(recipe.record())), record):
        raise ValueError(
            f"The recipe of {folder} is not {recipe.name} with other values: give evaluate and "
            "predict the recipe itself, and the weights"
        )
    return recipe, result


def _covers(whole: Any, part: Any) -> bool:
    """Whether a record says what an older one, which may lack settings, says."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return part.keys() <= whole.keys() and all(_covers(whole[k], part[k]) for k in part)
    return whole == part


def open_network(
    what: Recipe | str | os.PathLike,
    weights: str | os.PathLike | None,
    split: str,
    data_dir: str | os.PathLike | None,
    preprocessing: str | os.PathLike | None,
    crops: int = 1,
) -> Opened:
    """Makes the network of a run or a recipe, loads its weights and opens its data.

    Args:
        what: the folder of a finished run, or a `Recipe`, for which `weights` are needed.
        weights: a tag or a weights file; None for the model of the run.
        split: "test" or "validation".
        data_dir: folder of prepared tensorflow-datasets; see `load_images`.
        preprocessing: see `evaluate`.
        crops: 1, or 10 where the data are photographs, of which ten crops are made then. Defaults
            to 1.

    Raises:
        ValueError: if there is no finished run, or weights, recipe and data do not fit each other.
        FileNotFoundError: if the data are not there.
    """
    one_of("split", split, SPLITS)
    folder = run_folder(what)
    seed: int = 0
    fraction: float | None = None
    if folder is not None:
        recipe, result = recipe_of(folder)
        seed, fraction = result["seed"], result.get("validation_fraction")
        weights = folder / "model.keras" if weights is None else weights
    else:
        assert isinstance(what, Recipe)
        recipe = what
        if weights is None:
            raise ValueError(f"A recipe needs weights to be measured. Received: {recipe.name!r}")
        if split == "test" and isinstance(recipe.data, Photographs):
            fraction = 0  # nothing is fitted to a part of them
    network = getattr(getattr(recipe.network, "func", recipe.network), "__name__", None)
    record = _of_tag(network, weights)
    if record is not None:
        preprocessing = preprocessing or record.preprocessing_path
        fraction = record.validation_fraction  # the part that was not trained on
    elif preprocessing is None:
        preprocessing = _statistics_of(folder, weights)
    fitted = None
    if preprocessing is not None:
        fitted = load_preprocessing(preprocessing).arrays
    data: Splits = _with_crops(recipe, crops).open(
        recipe.batch_size, seed, data_dir, fraction, None, fitted=fitted
    )
    model = recipe.network()
    weights_files.load(model, weights, network=network)
    batches = data.test if split == "test" else data.validation
    if batches is None:
        raise ValueError(f"Recipe {recipe.name!r} has no validation data here")
    return Opened(recipe, model, batches, str(weights), data)


def _with_crops(recipe: Recipe, crops: int):
    """The recipe's data, measured on `crops` crops of each image."""
    one_of("crops", crops, (1, 10))
    if crops == 1:
        return recipe.data
    if not isinstance(recipe.data, Photographs):
        raise ValueError(f"Ten crops are made of photographs. Received: {recipe.name}, crops=10")
    centre = recipe.data.evaluation
    return dataclasses.replace(recipe.data, evaluation=TenCrops(centre.size, centre.shorter))


def run_folder(what: Recipe | str | os.PathLike) -> Path | None:
    """The folder that `what` names; None of a recipe."""
    return None if isinstance(what, Recipe) else expand(what)


def _statistics_of(folder: Path | None, weights: str | os.PathLike) -> Path | None:
    """The statistics beside weights: of a run, or published with them."""
    if folder is not None:
        candidates = [folder / _runs.FITTED]
    else:
        file = expand(weights)
        if not file.is_file():
            return None  # an address
        own = file.with_name(file.name.removesuffix(".weights.h5") + ".npz")
        candidates = [own, file.parent / _runs.FITTED]
    return next((path for path in candidates if path.is_file()), None)


def _of_tag(network: str | None, weights: str | os.PathLike) -> TrainedInfo | None:
    """The record of weights that were trained here; None where `weights` is something else."""
    if not network or not isinstance(weights, str) or not weights.isidentifier():
        return None
    try:
        record = weights_files.weights_info(network, weights)
    except weights_files.WeightsError:
        return None
    return record if isinstance(record, TrainedInfo) else None
