"""Cluttered MNIST as a tensorflow-data set: made and read without TensorFlow."""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from keras_mg.datasets.cluttered_mnist import CANVAS, SPLITS, TASKS, Canvases
from keras_mg.datasets.mnist_digits import load_mnist_digits
from keras_mg.layers.arguments import positive_int

_CHUNK = 250  # canvases that a process draws at a time
_REPORTED = 10_000  # canvases from one line to the next


# All six tasks are made of the same digits.
@functools.lru_cache(maxsize=1)
def _digits(source: str, folder: str | None) -> dict:
    return load_mnist_digits(source, folder)


@functools.cache
def cluttered_mnist_builder() -> type:
    """The TFDS builder `cluttered_mnist`, with the configs `seg spt rot sca tra aff`.

    Once this has been called, tensorflow-datasets knows the builder by its name. Beyond the
    arguments of all builders it takes `source` and `source_dir` (of `load_mnist_digits`; defaults
    "tfds" and None), `seed` (of `Canvases`; default 0), `workers` (default 1), the processes that
    draw, and `report`, which is called with a line of text now and then. The files are the same,
    byte for byte, whatever the number of processes.

    Examples are `{"image": float32 (64, 64, 1), "target": uint8 (64, 64, maps)}`: ink from 0 to 1,
    not normalised, and zeros and ones. The splits are `train`, `validation` and `test`; the papers
    train the five transformations on `train+validation`.

    Raises:
        ImportError: if tensorflow-datasets is not installed.

    Example:

    >>> from keras_mg.datasets.cluttered_mnist_builder import cluttered_mnist_builder
    >>> builder = cluttered_mnist_builder()
    >>> builder.name, [config.name for config in builder.BUILDER_CONFIGS]
    ('cluttered_mnist', ['seg', 'spt', 'rot', 'sca', 'tra', 'aff'])
    """
    import tensorflow_datasets as tfds

    class ClutteredMnist(tfds.core.GeneratorBasedBuilder):
        """Digits turned, sheared, scaled and scattered, and the maps of what they were."""

        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS: tuple = tuple(
            tfds.core.BuilderConfig(name=name, description=task.title)
            for name, task in TASKS.items()
        )

        def __init__(
            self,
            *,
            source: str = "tfds",
            source_dir: str | os.PathLike | None = None,
            seed: int = 0,
            workers: int = 1,
            report: Callable[[str], object] = lambda text: None,
            **kwargs,
        ):
            self.source, self.source_dir, self.seed = source, source_dir, seed
            self.report = report
            self.workers = positive_int("workers", workers)
            super().__init__(**kwargs)

        def _info(self):
            features = tfds.features
            maps = TASKS[self.builder_config.name].maps
            return tfds.core.DatasetInfo(
                builder=self,
                description=__doc__,
                homepage="https://arxiv.org/abs/1611.07661",
                features=features.FeaturesDict(
                    {
                        # Exact; packed they take a tenth of the space.
                        "image": features.Tensor(
                            shape=(CANVAS, CANVAS, 1),
                            dtype=np.float32,
                            encoding=features.Encoding.ZLIB,
                        ),
                        "target": features.Tensor(
                            shape=(CANVAS, CANVAS, maps),
                            dtype=np.uint8,
                            encoding=features.Encoding.ZLIB,
                        ),
                    }
                ),
                supervised_keys=("image", "target"),
                disable_shuffling=True,
                metadata=tfds.core.MetadataDict(source=self.source, seed=self.seed),
            )

        def _split_generators(self, dl_manager):
            folder = None if self.source_dir is None else os.fspath(self.source_dir)
            digits = _digits(self.source, folder)
            return {split: self._generate_examples(split, digits[split]) for split in SPLITS}

        def _download_and_prepare(self, dl_manager, download_config):
            super()._download_and_prepare(dl_manager, download_config)
            for path in self.data_path.glob("*.array_record*"):
                _write_in_order(path)

        def _generate_examples(self, split, digits):
            canvases = Canvases(self.builder_config.name, digits, split, self.seed)
            count = canvases.task.sizes[SPLITS.index(split)]
            for i, (image, target) in enumerate(_drawn(canvases, count, self.workers)):
                if i % _REPORTED == 0:
                    self.report(f"{self.builder_config.name}, {split}: {i:,} of {count:,} canvases")
                yield i, {"image": image, "target": target}

    return ClutteredMnist


def _write_in_order(path: os.PathLike) -> None:
    """Writes a file of records anew, the features of each in the order of their names.

    Protocol buffers write a map in an order that changes from process to process.
    """
    from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    reader = ArrayRecordReader(os.fspath(path))
    ordered = Path(f"{os.fspath(path)}.ordered")
    writer = ArrayRecordWriter(os.fspath(ordered), "group_size:1")
    for begin in range(0, reader.num_records(), _CHUNK):
        rows = range(begin, min(begin + _CHUNK, reader.num_records()))
        for record in reader.read(list(rows)):
            example = tf_example_pb2.Example.FromString(record)
            writer.write(example.SerializeToString(deterministic=True))
    writer.close()
    reader.close()
    ordered.replace(path)


def _drawn(canvases: Canvases, count: int, workers: int) -> Iterator[tuple]:
    """The first canvases in their order, drawn by one or more processes."""
    chunks = [range(i, min(i + _CHUNK, count)) for i in range(0, count, _CHUNK)]
    if workers == 1:
        for rows in chunks:
            yield from _draw(canvases, rows)
        return
    # Not forked: torch's threads would not survive it.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _begin, (canvases,)) as pool:
        # So many ahead, so that memory does not fill where writing is slower than drawing.
        ahead: collections.deque = collections.deque()
        try:
            for rows in chunks:
                ahead.append(pool.submit(_draw_here, rows))
                if len(ahead) > 2 * workers:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _draw(canvases: Canvases, rows: range) -> list[tuple]:
    return [canvases[i] for i in rows]


_here: Canvases


def _begin(canvases: Canvases) -> None:
    # What a process draws from is sent to it once.
    global _here
    _here = canvases
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _draw_here(rows: range) -> list[tuple]:
    return _draw(_here, rows)
