"""What the families' training scripts share: their command line and the way from it to a run.

A script has a table of recipes and a constructor. It prints what these functions return.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import keras

from keras_mg.datasets.device_images import PLACES
from keras_mg.datasets.images import DATASETS, Images, load_images, split_validation
from keras_mg.recipes.published import Recipe
from keras_mg.recipes.train import BACKUP, FILES, InterruptedRunError, train, trainable_parameters

OFFLINE = "digits"  # the data set that needs no folder


class Parser(argparse.ArgumentParser):
    """Ends with one line that names the mistake, without the usage text around it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help lists the arguments)\n")


def positive(text: str) -> int:
    """A command-line integer of at least 1."""
    return _integer(text, 1)


def _integer(text: str, least: int, most: int | None = None) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        rule = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise argparse.ArgumentTypeError(f"must be an integer {rule}. Received: {text!r}")
    return value


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be a number in [0, 1). Received: {text!r}")
    return value


def parser(description: str, datasets: Sequence[str], output_dir: str) -> Parser:
    """A command line with the arguments that all training scripts have.

    Args:
        description: the script's docstring.
        datasets: the data sets that the script has a recipe for; "digits" among them.
        output_dir: the default output folder.
    """
    made = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--dataset",
        choices=datasets,
        help=f"default: cifar10 where there is a --data-dir, {OFFLINE} otherwise",
    )
    made.add_argument(
        "--data-dir",
        type=Path,
        help="folder of prepared tensorflow-datasets; nothing is downloaded (default for "
        "anything but the digits: TFDS_DATA_DIR or ~/tensorflow_datasets)",
    )
    made.add_argument(
        "--epochs",
        type=positive,
        help="default: the published number; few on the digits. The learning rate drops after "
        "the published fractions of it",
    )
    made.add_argument("--batch-size", type=positive, help="default: the published one")
    made.add_argument(
        "--validation-fraction",
        type=_fraction,
        default=0.1,
        help="of the training images, kept from training and measured after each epoch; 0 trains "
        "on all, as the papers do (default: %(default)s)",
    )
    made.add_argument(
        "--seed",
        type=partial(_integer, least=0, most=2**32 - 1),
        default=0,
        help="of the initial weights, the order and the augmentation; the validation images are "
        "the same for every seed (default: %(default)s)",
    )
    made.add_argument(
        "--augment-on",
        choices=PLACES,
        help="where images are cropped and mirrored; on the device, all have to fit into its "
        "memory (default: the device where it is a GPU, the host otherwise)",
    )
    made.add_argument(
        "--output-dir", type=Path, default=Path(output_dir), help="default: %(default)s"
    )
    return made


def parse(made: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, checked: what would stop a run after hours stops it here.

    Args:
        made: the command line.
        arguments: its words; None for those of the process.

    Returns:
        The options, with `dataset` settled.
    """
    options = made.parse_args(arguments)
    if options.dataset is None:
        options.dataset = OFFLINE if options.data_dir is None else "cifar10"
    if options.data_dir is not None:
        if options.dataset == OFFLINE:
            made.error("argument --data-dir: the digits are embedded and need no folder")
        if not options.data_dir.is_dir():
            made.error(f"argument --data-dir: {options.data_dir} is no folder")
    try:
        options.output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=options.output_dir):
            pass
    except OSError as error:
        made.error(f"argument --output-dir: cannot write to {options.output_dir}: {error}")
    for name in FILES:
        if (options.output_dir / name).is_dir():
            made.error(f"argument --output-dir: {options.output_dir / name} is a directory")
    return options


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run, prepared: data loaded, network built, nothing trained yet."""

    made: Parser
    options: argparse.Namespace
    settings: dict
    recipe: Recipe
    model: keras.Model
    train: Images
    validation: Images | None
    test: Images
    preprocess_input: Callable

    def opening(self) -> str:
        """What is about to be trained on what, in a few lines."""
        recipe, dataset = self.recipe, self.options.dataset
        held = 0 if self.validation is None else len(self.validation.labels)
        drops = " and ".join(f"from epoch {d + 1}" for d in recipe.drops)
        drops = f"times {recipe.drop_factor:g} {drops}" if drops else "constant"
        network = ", ".join(f"{k}={v}" for k, v in self.settings.items() if k != "dataset")
        lines = [
            f"Data: {dataset}, {len(self.train.labels):,} images to train on, {held:,} to "
            f"validate, {len(self.test.labels):,} others to test once at the end.",
            f"Network: {network}; {trainable_parameters(self.model):,} trainable parameters.",
            f"Recipe: {recipe.name}, {recipe.epochs} epochs in batches of {recipe.batch_size}, "
            f"learning rate {recipe.learning_rate:g}, {drops}.",
        ]
        if dataset == OFFLINE:
            lines.insert(
                0,
                "The embedded digits of scikit-learn stand in for CIFAR: this shows that the "
                "recipe runs and learns, no published figure. --data-dir trains on real data.",
            )
        if (self.options.output_dir / BACKUP).exists():
            lines.append(f"{self.options.output_dir} holds an interrupted run, to go on from.")
        return "\n".join(lines)

    def run(self) -> dict:
        """Trains, measures, saves; see `train`."""
        try:
            return train(
                self.recipe,
                self.model,
                self.train,
                self.validation,
                self.test,
                self.preprocess_input,
                self.options.output_dir,
                seed=self.options.seed,
                settings=self.settings,
                augment_on=self.options.augment_on,
            )
        except InterruptedRunError as error:
            self.made.error(f"argument --output-dir: {error}")

    def closing(self, result: Mapping) -> str:
        """What was measured, and where it is."""
        validation = result["validation_error"]
        shown = "" if validation is None else f" (validation {validation:.2%})"
        return (
            f"Test error {result['test_error']:.2%}{shown} after the last of "
            f"{self.recipe.epochs} epochs, on {result['test_images']:,} images of "
            f"{self.options.dataset}; {result['seconds']:.0f} s.\n"
            f"Written to {self.options.output_dir.resolve()}: {', '.join(FILES)}"
        )


def prepare(
    made: Parser,
    options: argparse.Namespace,
    recipes: Mapping[str, Recipe],
    constructor: Callable[..., keras.Model],
    network: Mapping[str, Any],
    preprocess_input: Callable,
    digits_epochs: int,
) -> Experiment:
    """Builds the network and loads the data; a mistake in either ends in one line.

    Args:
        made: the command line.
        options: of `parse`.
        recipes: the recipe of each data set.
        constructor: of the network.
        network: its arguments, besides classes and the classifier's activation; JSON types.
        preprocess_input: of its family, with the data set's statistics.
        digits_epochs: epochs on the digits where `--epochs` does not say.
    """
    dataset = options.dataset
    recipe = recipes[dataset]
    if not DATASETS[dataset].mirrors:
        # A mirrored digit is another digit or none.
        recipe = dataclasses.replace(recipe, flip=False)
    epochs = options.epochs or (digits_epochs if dataset == OFFLINE else recipe.epochs)
    if epochs != recipe.epochs:
        recipe = recipe.shortened(epochs)
    recipe = dataclasses.replace(recipe, batch_size=options.batch_size or recipe.batch_size)
    keras.utils.set_random_seed(options.seed)
    try:
        model = constructor(
            **network, classes=DATASETS[dataset].classes, classifier_activation=None
        )
    except (TypeError, ValueError) as error:
        made.error(str(error))
    folder = None if options.data_dir is None else os.fspath(options.data_dir)
    try:
        train_images = load_images(dataset, "train", folder)
        test_images = load_images(dataset, "test", folder)
        train_images, held = split_validation(train_images, options.validation_fraction)
    except (FileNotFoundError, ImportError, ValueError) as error:
        made.error(str(error))
    return Experiment(
        made,
        options,
        {"dataset": dataset, "network": constructor.__name__, **network},
        recipe,
        model,
        train_images,
        held,
        test_images,
        preprocess_input,
    )
