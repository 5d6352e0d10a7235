"""Data sets made on this machine, as prepared folders of tensorflow-datasets."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from keras_mg._files import expand
from keras_mg.datasets.attribute_digits import AttributeDigits
from keras_mg.datasets.cluttered_mnist import TASKS
from keras_mg.datasets.cluttered_mnist_builder import cluttered_mnist_builder
from keras_mg.datasets.mnist_digits import read_idx_digits

DEFAULT_FOLDER = "~/tensorflow_datasets"
IDX_DATASETS = ("mnist", "fashion_mnist")
ATTRIBUTES = "attribute_digits"
PREPARABLE = (
    "cluttered_mnist",
    *(f"cluttered_mnist/{task}" for task in TASKS),
    *IDX_DATASETS,
    ATTRIBUTES,
)


def prepare_dataset(
    name: str,
    data_dir: str | os.PathLike | None = None,
    source: str = "tfds",
    source_dir: str | os.PathLike | None = None,
    seed: int = 0,
    workers: int = 1,
    report: Callable[[str], object] = lambda text: None,
) -> list[Path]:
    """Makes a data set where `tfds.data_source` finds it; nothing is downloaded.

    A folder appears when it is complete. What is prepared already is left as it is.

    Args:
        name: "cluttered_mnist" for all six tasks, or one of them, such as "cluttered_mnist/seg";
            "mnist" or "fashion_mnist" from idx files; "attribute_digits", a folder for trials of
            attributes (`AttributeDigits.write`).
        data_dir: where prepared data sets lie; None is `TFDS_DATA_DIR` of the environment or
            `~/tensorflow_datasets`.
        source: of the digits of cluttered MNIST: "tfds", "idx" or "embedded"; see
            `load_mnist_digits`. Defaults to "tfds".
        source_dir: the folder of the idx files, or of the prepared `mnist`, which by default lies
            in `data_dir`.
        seed: int, of cluttered MNIST and of the attributes. Defaults to 0.
        workers: int, processes that draw it; the result is the same. Defaults to 1.
        report: called with a line when something begins or is done.

    Returns:
        The folders of the data.

    Raises:
        ValueError: for a name that cannot be made here, a needless argument, or data that are
            prepared there from another source or seed.
        FileNotFoundError: if what it is made of is not there.
        ImportError: if tensorflow-datasets is not installed.
        OSError: if `data_dir` cannot be written, or another process prepares data there.
    """
    if name not in PREPARABLE:
        raise ValueError(
            f"What can be made here is {', '.join(PREPARABLE)}. Received: {name!r}. Other data "
            "sets are prepared, with access to the internet and TensorFlow, by "
            f"`tfds build {name} --file_format=array_record`"
        )
    if data_dir is None:
        data_dir = os.environ.get("TFDS_DATA_DIR", DEFAULT_FOLDER)
    folder = expand(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if name == ATTRIBUTES:
        with _alone_in(folder):
            return [_attribute_digits(folder / name, seed, report)]
    if name in IDX_DATASETS:
        if source_dir is None:
            raise ValueError(
                f"{name} is made from its four idx files. Say in which folder they are: source_dir "
                "(--source-dir). Received: none"
            )
        builders = [(name, partial(_idx_builder, name, folder, source_dir))]
    else:
        if source == "tfds" and source_dir is None:
            source_dir = folder
        tasks = [name.partition("/")[2]] if "/" in name else list(TASKS)
        arguments = {"source": source, "source_dir": source_dir, "seed": seed, "workers": workers}
        builders = [
            (f"cluttered_mnist/{task}", partial(_cluttered, task, folder, **arguments))
            for task in tasks
        ]
    with _alone_in(folder):
        return [_prepare(each, make, source, seed, report) for each, make in builders]


def _prepare(name: str, make: Callable, source: str, seed: int, report: Callable) -> Path:
    builder = make()
    path = Path(builder.data_dir)
    if path.exists():
        # What is there was read with the builder; the metadata of other builders is None.
        there = dict(builder.info.metadata or {})
        wanted = {"source": source, "seed": seed} if there else {}
        if there != wanted:
            raise ValueError(
                f"{path} holds {name} of source={there['source']}, seed={there['seed']}. Name "
                f"another data_dir, or remove it. Received: source={source}, seed={seed}"
            )
        report(f"{name} is there: {path}")
        return path
    for left in path.parent.glob("incomplete.*"):
        shutil.rmtree(left)  # of a process that was killed: this one is alone here
    report(f"Making {name} ...")
    builder.report = _outside(report)
    with _progress(), tempfile.TemporaryDirectory() as nothing:
        builder.download_and_prepare(download_dir=nothing, file_format="array_record")
    sizes = ", ".join(
        f"{name} {split.num_examples:,}" for name, split in sorted(builder.info.splits.items())
    )
    report(f"{name}: {sizes}; {path}")
    return path


def _attribute_digits(path: Path, seed: int, report: Callable) -> Path:
    if path.exists():
        report(f"{path.name} is there: {path}")
        return path
    report(f"Making {path.name} ...")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="incomplete.") as part:
        made = Path(part) / path.name
        for split in ("train", "test"):
            AttributeDigits(split, seed).write(made, split)
        os.replace(made, path)
    report(f"{path.name}: {path}")
    return path


def _cluttered(task: str, folder: Path, **arguments):
    return cluttered_mnist_builder()(config=task, data_dir=os.fspath(folder), **arguments)


def _idx_builder(name: str, folder: Path, source_dir):
    """tensorflow-datasets' own builder, which gets its images from idx files."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=os.fspath(folder), file_format="array_record")
    parts = {split: read_idx_digits(source_dir, split) for split in ("train", "test")}
    builder._split_generators = lambda *_, **__: {
        split: _labelled(*part) for split, part in parts.items()
    }
    return builder


def _labelled(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict]]:
    from PIL import Image

    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        # Packed here: tensorflow-datasets itself would call TensorFlow.
        packed = io.BytesIO()
        Image.fromarray(image).save(packed, "PNG")
        yield i, {"image": packed.getvalue(), "label": int(label)}


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    import filelock

    try:
        with filelock.FileLock(folder / ".keras_mg_prepare.lock", timeout=0):
            yield
    except filelock.Timeout as error:
        raise OSError(
            f"Another process prepares data in {folder}; wait until it is done"
        ) from error


def _outside(report: Callable) -> Callable[[str], None]:
    """Lines on the way, where there is no bar; they are printed where other lines are."""
    stdout = sys.stdout

    def say(text: str) -> None:
        if not sys.stderr.isatty():
            with contextlib.redirect_stdout(stdout):
                report(text)

    return say


@contextlib.contextmanager
def _progress() -> Iterator[None]:
    """tensorflow-datasets' bars in a terminal; otherwise it is silent."""
    import tensorflow_datasets as tfds

    if sys.stderr.isatty():
        yield
        return
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
