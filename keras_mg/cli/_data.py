"""`keras-mg data`: data sets made on this machine."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from keras_mg.cli._shared import say

app = typer.Typer()


class Source(StrEnum):
    tfds = "tfds"
    idx = "idx"
    embedded = "embedded"


@app.callback()
def _data() -> None:
    # With a callback, the only command keeps its name.
    """Data sets made on this machine."""


@app.command()
def prepare(
    name: Annotated[
        str,
        typer.Argument(
            help="cluttered_mnist (all six tasks), one such as cluttered_mnist/seg, mnist, "
            "fashion_mnist or attribute_digits."
        ),
    ],
    data_dir: Annotated[
        str | None,
        typer.Option(
            help="Folder of prepared data sets.  [default: TFDS_DATA_DIR or ~/tensorflow_datasets]"
        ),
    ] = None,
    source: Annotated[
        Source,
        typer.Option(
            help="Digits of cluttered MNIST: the prepared mnist, MNIST's idx files or, for trials, "
            "the embedded ones."
        ),
    ] = Source.tfds,
    source_dir: Annotated[
        str | None, typer.Option(help="Folder of the idx files, or of the prepared mnist.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 1,
) -> None:
    """Make a data set where training finds it; the folder appears when it is complete."""
    from keras_mg.datasets.prepare import prepare_dataset

    prepare_dataset(name, data_dir, source.value, source_dir, seed, workers, report=say)
