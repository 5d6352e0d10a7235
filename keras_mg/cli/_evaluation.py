"""`keras-mg evaluate`, `predict`, `saliency`, `summarize`: finished runs, weights by a recipe."""

from __future__ import annotations

import inspect
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from keras_mg.cli._shared import Failure, parse_settings, say
from keras_mg.cli._shared import Settings as NetworkSettings

if TYPE_CHECKING:
    from keras_mg.recipes import Recipe

app = typer.Typer()


class Split(StrEnum):
    test = "test"
    validation = "validation"


Name = Annotated[
    str | None, typer.Argument(help="A name from `keras-mg recipes`; needed with --weights.")
]
Weights = Annotated[
    str | None,
    typer.Option(help="A weights file or address.  [default: the model of the run in OUTPUT_DIR]"),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        help="Folder of prepared tensorflow-datasets.  "
        "[default: TFDS_DATA_DIR or ~/tensorflow_datasets]"
    ),
]
Preprocessing = Annotated[
    str | None,
    typer.Option(help="Fitted statistics, .npz.  [default: preprocessing.npz beside the weights]"),
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the step.  [default: on a GPU, and where it is measured to be faster]",
    ),
]
RecipeSettings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Part of the recipe, such as network.depth=38; with --weights.",
    ),
]


@app.command()
def evaluate(
    name: Name = None,
    weights: Weights = None,
    output_dir: Annotated[
        str | None,
        typer.Option(
            help="Folder of a finished run or, with --weights, of the results.  "
            "[default: outputs/NAME]"
        ),
    ] = None,
    split: Annotated[Split, typer.Option(help="What is measured on.")] = Split.test,
    data_dir: DataDir = None,
    preprocessing: Preprocessing = None,
    crops: Annotated[
        int, typer.Option(help="Of each photograph: 1, or 10 whose probabilities are averaged.")
    ] = 1,
    jit_compile: Compile = None,
    settings: RecipeSettings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Measure a run, or weights by a recipe: figures, a table per class, the confusion matrix."""
    from keras_mg import recipes

    what, folder = _what(name, weights, output_dir, settings)
    recipes.evaluate(
        what,
        weights,
        folder,
        split=split.value,
        data_dir=data_dir,
        preprocessing=preprocessing,
        crops=crops,
        jit_compile="auto" if jit_compile is None else jit_compile,
        report=say,
    )


@app.command()
def predict(
    name: Name = None,
    weights: Weights = None,
    output_dir: Annotated[
        str | None, typer.Option(help="Folder of a finished run.  [default: outputs/NAME]")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="The .h5 file.  [default: predictions.h5 in OUTPUT_DIR]")
    ] = None,
    split: Annotated[Split, typer.Option(help="What is predicted.")] = Split.test,
    data_dir: DataDir = None,
    preprocessing: Preprocessing = None,
    jit_compile: Compile = None,
    settings: RecipeSettings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Write what a network gives for the data of its recipe to an HDF5 file.

    Its data set `prediction` holds a classifier's logits, or maps, channels first.
    """
    from keras_mg import recipes

    what, folder = _what(name, weights, output_dir, settings)
    if output is None:
        if folder is None:
            raise Failure("--weights needs --output or --output-dir: where the file shall be")
        output = f"{folder}/predictions.h5"
    path = recipes.predict(
        what,
        output,
        weights,
        split=split.value,
        data_dir=data_dir,
        preprocessing=preprocessing,
        jit_compile="auto" if jit_compile is None else jit_compile,
    )
    print(f"Written to {path.resolve()}")


@app.command()
def summarize(
    folders: Annotated[list[str], typer.Argument(help="Folders of finished runs.")],
    output_dir: Annotated[
        str | None, typer.Option(help="Folder of summary.json and curves.png.  [default: none]")
    ] = None,
    window: Annotated[int, typer.Option(min=1, help="Epochs that a point averages.")] = 10,
) -> None:
    """Mean and standard deviation of several runs of one recipe, and their curves."""
    from keras_mg import recipes

    recipes.summarize(folders, output_dir, window, report=say)


@app.command()
def saliency(
    networks: Annotated[
        list[str],
        typer.Argument(
            help="Folders of finished runs, or NAME=WEIGHTS: a name from `keras-mg recipes` and a "
            "weights file."
        ),
    ],
    output_dir: Annotated[str, typer.Option(help="Folder of the pictures.")] = "outputs/saliency",
    images: Annotated[int, typer.Option(min=1, help="The first canvases to look at.")] = 4,
    split: Annotated[Split, typer.Option(help="What is looked at.")] = Split.test,
    data_dir: DataDir = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    jit_compile: Compile = None,
) -> None:
    """Draw what networks that give maps look at, side by side; the figures go to HDF5 files.

    Noise is slid over the input (occlusion), and beside it stand gradients.
    """
    from keras_mg import recipes

    recipes.saliency(
        [_network(each) for each in networks],
        output_dir,
        images,
        split=split.value,
        data_dir=data_dir,
        seed=seed,
        jit_compile="auto" if jit_compile is None else jit_compile,
        report=say,
    )


@app.command()
def svm(
    network: Annotated[str, typer.Argument(help="A name from `keras-mg list`.")],
    weights: Annotated[
        str | None, typer.Option(help="A weights file or address.  [default: random weights]")
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(
            help="Folder with the files of lines and images/.  [default: the embedded digits]"
        ),
    ] = None,
    train: Annotated[str, typer.Option(help="The file of lines to train on.")] = "train.txt",
    test: Annotated[str, typer.Option(help="The file of lines to test on.")] = "test.txt",
    size: Annotated[int, typer.Option(min=1, help="Side of the square that a box becomes.")] = 224,
    cost: Annotated[float, typer.Option(help="Of a wrong answer.")] = 1.0,
    output_dir: Annotated[str, typer.Option(help="Folder of the table.")] = "outputs/svm",
    settings: NetworkSettings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Name attributes by a linear SVM each, on a network's features; a table sorted by F1."""
    from keras_mg import applications, recipes

    arguments = {"include_top": False, "pooling": "avg", **parse_settings(settings)}
    record = applications.network_record(network)
    if weights is not None:
        arguments["weights"] = weights
    try:
        model = record.construct(input_shape=(size, size, 3), **arguments)
    except TypeError as error:
        raise Failure(str(error)) from error
    data = recipes.Attributes(
        "embedded" if data_dir is None else "folder", size=size, train=train, test=test
    )
    # Each family's module has what its images go through.
    module = sys.modules[inspect.unwrap(record.construct).__module__]
    recipes.attribute_svms(
        model,
        data,
        data_dir,
        output_dir,
        cost,
        preprocess_input=getattr(module, "preprocess_input", None),
        report=say,
    )


def _network(word: str) -> str | tuple[Recipe, str]:
    """A folder, or the recipe and the weights file of `NAME=WEIGHTS`."""
    from pathlib import Path

    from keras_mg import recipes

    name, equals, weights = word.partition("=")
    if not equals or Path(word).exists():
        return word
    return recipes.get_recipe(name), weights


def _what(
    name: str | None, weights: str | None, output_dir: str | None, settings: list[str]
) -> tuple[Recipe | str, str | None]:
    """What is measured, and the folder of the run or of the results."""
    from keras_mg import recipes

    if weights is not None:
        if name is None:
            raise Failure("--weights needs NAME: the recipe whose network and data they are for")
        return recipes.get_recipe(name).changed(parse_settings(settings)), output_dir
    if settings:
        raise Failure("--set needs --weights: a run has its settings")
    if output_dir is None:
        if name is None:
            raise Failure("Give NAME or --output-dir: the run; or NAME and --weights")
        output_dir = f"outputs/{recipes.get_recipe(name).name}"
    if name is not None and (found := recipes.recipe_of(output_dir)[0].name) != name:
        raise Failure(f"{output_dir} holds a run of {found}. Received: {name}")
    return output_dir, output_dir
