"""From the folder of a finished run to what a host of weights needs."""

from __future__ import annotations

import inspect
import math
import os
import platform
import shlex
import shutil
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_mg import applications
from keras_mg._files import expand, replacing
from keras_mg.datasets.images import CLASS_NAMES, LICENCES
from keras_mg.recipes import _runs
from keras_mg.recipes.canvas_data import ClutteredMNIST
from keras_mg.recipes.data import DigitCanvases
from keras_mg.recipes.evaluation import evaluate
from keras_mg.recipes.lookup import get_recipe
from keras_mg.recipes.opening import recipe_of
from keras_mg.recipes.recipe import Recipe
from keras_mg.weights import INDEX, TrainedInfo, add_to_index, layer_digests, read_index

LAST = 5  # epochs that the spread is taken over
_MAX_DIFFERENCE = 1e-6  # between outputs of the run's model and of one with the published weights


def publish(
    run: str | os.PathLike,
    folder: str | os.PathLike,
    tag: str,
    licence: str = "Apache-2.0",
    hardware: str | None = None,
    data_dir: str | os.PathLike | None = None,
) -> TrainedInfo:
    """Adds the weights of a finished run to a folder that a host can serve.

    The folder gets, beside what is in it:

    ```
    NETWORK-TAG-HASH.weights.h5     the weights after the last epoch, float32
    NETWORK-TAG-HASH.npz            what normalises images, where the recipe does
    NETWORK-TAG.md                  a card for people
    index.json                      the records of all weights in the folder
    ```

    Served over http, or as it is, it is what `KERAS_MG_WEIGHTS_MIRROR` may name: `weights=TAG` of
    the network then finds it. Another run under the same tag takes the place of the one before.

    Args:
        run: the `output_dir` of `train`.
        folder: made if it is not there.
        tag: what will be given as `weights=`: a Python identifier.
        licence: of the weights. Defaults to "Apache-2.0".
        hardware: that the run was trained on. Defaults to this machine's processor.
        data_dir: folder of prepared tensorflow-datasets; see `load_images`. Only a network that was
            trained in mixed precision needs it: the figures of the record are those of the file's
            users, in float32, and are measured again.

    Returns:
        The record.

    Raises:
        ValueError: if `run` holds no finished run, its model is not the one that was measured or
            holds other numbers than float32, or `tag` is no identifier.
        FileNotFoundError: if the figures are to be measured again, and the data are not there.
        OSError: if something cannot be written. Until the index is, the folder serves what it did
            before.
    """
    if not (tag.isascii() and tag.isidentifier()):
        raise ValueError(f"tag must be a Python identifier of ASCII letters. Received: {tag!r}")
    run, folder = expand(run), expand(folder)
    recipe, result = recipe_of(run)
    trained = run / "model.keras"
    if _runs.sha256(trained) != result["sha256"]["model.keras"]:
        raise ValueError(f"{trained} is not the model that the run measured: its hash is another")
    if (folder / INDEX).exists():
        read_index(folder)  # what cannot be read is not added to
    model = keras.saving.load_model(trained, compile=False)
    types = {v.dtype for v in model.weights} - {"float32"}
    if types:
        raise ValueError(
            f"Published weights are float32. Received: a run whose model holds {', '.join(types)}"
        )
    network, arguments, head = _needed(recipe, model)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch, "published.weights.h5")
        model.save_weights(written)
        _compare(model, network, arguments | head, written)
        figures = result["test"]
        if head.get("dtype") not in (None, "float32"):
            plain = recipe.changed({"network.dtype": "float32"})
            saved = run / _runs.FITTED
            measured = evaluate(
                plain,
                written,
                data_dir=data_dir,
                preprocessing=saved if saved.is_file() else None,
            )
            figures = {name: measured["figures"][name] for name in figures}
        digest = _runs.sha256(written)
        stem = f"{network.lower()}-{tag}-{digest[:12]}"
        _copy(written, folder / f"{stem}.weights.h5")
        size = written.stat().st_size
        fitted = _statistics(recipe, run, Path(scratch))
        preprocessing = None
        if fitted is not None:
            preprocessing = {
                "filename": f"{stem}.npz",
                "hash": f"sha256:{_runs.sha256(fitted)}",
            }
            _copy(fitted, folder / preprocessing["filename"])
    dataset = _dataset(recipe)
    classes = int(_last_axis(model))
    record = TrainedInfo(
        network=network,
        tag=tag,
        arguments=arguments,
        filename=f"{stem}.weights.h5",
        size=size,
        hash=f"sha256:{digest}",
        preprocessing=preprocessing,
        licence=licence,
        data=dataset,
        data_licence=LICENCES.get(dataset, "not stated here"),
        classes=classes,
        class_names=_class_names(recipe, dataset, classes),
        input_shape=tuple(_channels_last(model.input_shape[1:])),
        parameters=sum(math.prod(v.shape) for v in model.trainable_variables),
        layers=layer_digests(model),
        recipe=recipe.name,
        differs=get_recipe(recipe.name).shortened(recipe.epochs).differs,
        command=command(recipe, result),
        seed=result["seed"],
        epochs=recipe.epochs,
        validation_fraction=result.get("validation_fraction"),
        images=result["images"],
        figures=figures,
        spread=spread(result["history"]),
        claims=dict(recipe.claims),
        hours=round(result["seconds"] / 3600, 2),
        hardware=hardware or processor(),
        versions=result["versions"],
        source=recipe.source,
        folder=os.fspath(folder),
    )
    for before in add_to_index(folder, record):
        for name in {before.filename, (before.preprocessing or {}).get("filename")}:
            if name and not name.startswith(stem):
                (folder / name).unlink(missing_ok=True)
    with replacing(folder / f"{network}-{tag}.md") as part:
        part.write_text(_card(record), encoding="utf-8")
    return record


def command(recipe: Recipe, result: dict[str, Any]) -> str:
    """The command that a finished run is repeated by.

    Args:
        recipe: of the run.
        result: of the run.
    """
    base = get_recipe(recipe.name)
    words = ["keras-mg train", recipe.name]
    if recipe.epochs != base.epochs:
        words.append(f"--epochs {recipe.epochs}")
        base = base.shortened(recipe.epochs)
    changes = []
    for key, value in _runs.differing(base.record(), recipe.record()):
        if key == "data.layers":
            changes.append(f"--layers {','.join(value)}")
        elif not key.startswith(("claims", "differs", "loss", "metrics", "pictures", "remarks")):
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            changes.append("--set " + shlex.quote(f"{key}={text}"))
    words += [*changes, f"--seed {result['seed']}"]
    if result.get("validation_fraction") is not None:
        words.append(f"--validation-fraction {result['validation_fraction']:g}")
    if result["jit_compile"] != "auto":
        words.append("--compile" if result["jit_compile"] else "--no-compile")
    return " ".join(words)


def spread(history: list[dict[str, float]]) -> dict[str, Any]:
    """Mean and standard deviation of the validation figures over the last epochs.

    Args:
        history: a row per epoch.

    Returns:
        `{"epochs": 5, "val_loss": {"mean": ..., "std": ...}, ...}`; empty without validation.
    """
    last = history[-LAST:]
    names = [name for name in last[0] if name.startswith("val_")]
    if not names or len(last) < 2:
        return {}
    columns = {name: [row[name] for row in last] for name in names}
    return {"epochs": len(last)} | {
        name: {"mean": statistics.fmean(values), "std": statistics.stdev(values)}
        for name, values in columns.items()
    }


def _dataset(recipe: Recipe) -> str:
    """The name of what a recipe trains on."""
    data = recipe.data
    if isinstance(data, DigitCanvases):
        return "digits"
    if isinstance(data, ClutteredMNIST):
        return "digits" if data.kind == "embedded" else "mnist"
    return str(getattr(data, "dataset", type(data).__name__))


def _statistics(recipe: Recipe, run: Path, scratch: Path) -> Path | None:
    """The .npz of what the run normalised images by; None where the network takes them as they are.

    Canvases are of ink from 0 to 1, images of values from 0 to 255.
    """
    if (run / _runs.FITTED).is_file():
        return run / _runs.FITTED
    if not isinstance(recipe.data, ClutteredMNIST):
        return None
    mean, std = recipe.data.normalization
    path = scratch / _runs.FITTED
    np.savez(path, mean=np.array([255 * mean], "float32"), std=np.array([255 * std], "float32"))
    return path


def _class_names(recipe: Recipe, dataset: str, classes: int) -> tuple[str, ...]:
    """Of the outputs: one map of a transformed digit is of no class."""
    if isinstance(recipe.data, ClutteredMNIST) and classes == 1:
        return ("digit",)
    names = CLASS_NAMES.get(dataset, ())
    return names if len(names) == classes else tuple(map(str, range(classes)))


def processor() -> str:
    """This machine's processor, and how many of it a process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} CPUs"


def _needed(recipe: Recipe, model: keras.Model) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The constructor's name, the recipe's arguments that the weights ask for, and its others.

    The others change what a network of these weights computes, and are the user's to choose: the
    activation, and the type of numbers, in which the weights are float32 whatever it is. An
    argument that sets initial values, say, is not asked for.
    """
    made = recipe.network
    assert isinstance(made, partial)
    construct = getattr(applications, made.func.__name__)
    parameters = inspect.signature(construct).parameters
    given = dict(zip(parameters, made.args, strict=False)) | made.keywords
    kept: tuple[str, ...] = ("classifier_activation", "dtype")
    head = {key: given.pop(key) for key in kept if key in given}
    for name in list(given):
        fewer = {key: value for key, value in given.items() if key != name}
        if parameters[name].default is inspect.Parameter.empty:
            continue
        same = parameters[name].default == given[name] or _fits(construct, fewer | head, model)
        given = fewer if same else given
    return construct.__name__, given, head


def _fits(construct, arguments: dict[str, Any], model: keras.Model) -> bool:
    """Whether a network of these arguments is that of the model, all but its initial values."""
    try:
        other = construct(**arguments)
    except ValueError:
        return False
    if [tuple(v.shape) for v in other.weights] != [tuple(v.shape) for v in model.weights]:
        return False
    other.set_weights(model.get_weights())
    return _difference(model, other) <= _MAX_DIFFERENCE


def _compare(model: keras.Model, network: str, arguments: dict[str, Any], file: Path) -> None:
    difference = _difference(model, getattr(applications, network)(**arguments, weights=file))
    if not difference <= _MAX_DIFFERENCE:
        raise RuntimeError(
            f"The published weights' outputs differ from the run's by {difference:g}."
        )


def _difference(one: keras.Model, other: keras.Model) -> float:
    x = np.random.default_rng(0).normal(size=(2, *one.input_shape[1:])).astype("float32")
    a, b = (keras.ops.convert_to_numpy(model(x, training=False)) for model in (one, other))
    return float(np.abs(a - b).max()) if a.shape == b.shape else math.inf


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as part:
        shutil.copyfile(source, part)


def _channels_last(shape: tuple) -> tuple:
    first = keras.config.image_data_format() == "channels_first"
    return (*shape[1:], shape[0]) if first else shape


def _last_axis(model: keras.Model) -> int:
    shape = model.output_shape
    return shape[1] if len(shape) == 4 and shape[1] and _is_first() else shape[-1]


def _is_first() -> bool:
    return keras.config.image_data_format() == "channels_first"


def _card(record: TrainedInfo) -> str:
    figures = "\n".join(f"| {name} | {value:.4f} |" for name, value in record.figures.items())
    spread_lines = "".join(
        f"\n- {name} over the last {record.spread['epochs']} epochs: "
        f"{each['mean']:.4f} ± {each['std']:.4f}"
        for name, each in record.spread.items()
        if name != "epochs"
    )
    differs = "".join(f"\n- not as the recipe has it: {text}" for text in record.differs)
    claims = "".join(f"\n- published {key}: {value}" for key, value in record.claims.items())
    versions = ", ".join(f"{name} {text}" for name, text in record.versions.items() if text)
    return f"""\
# {record.call()}

| measured on {record.images.get("test", "?")} test images, after the last epoch | |
|---|---:|
{figures}

- weights are float32, and so was what is measured
- data: {record.data} (licence: {record.data_licence}); images {dict(record.images)}
- command: `{record.command}`
- {record.epochs} epochs, {record.hours} hours on {record.hardware}{spread_lines}{differs}{claims}
- licence of the weights: {record.licence}
- {versions}
- file `{record.filename}`, {record.size:,} bytes, {record.hash}
- {record.source}
"""
