"""The distribution of a batch over processes, of which each has the whole model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from keras_mg.distribution import _plain_models, processes

BATCH_NORMS = ("synchronized", "local")

_current: DataParallel | None = None


class DataParallel:
    """Each process has the whole model and computes a part of every batch.

    Under it, `fit`, `evaluate` and `predict` of a `keras_mg.Model` take what they take in one
    process, and give what they give there: `batch_size` is that of all processes together, each of
    them computes its part of every batch, and gradients are averaged by the rows that they come
    from, also where a batch does not divide evenly. All processes end with the same weights,
    history and predictions.

    ```python
    import keras
    import numpy as np
    import keras_mg
    from keras_mg import distribution

    distribution.initialize()  # under torchrun; else it says that there is one process
    distribution.set_distribution(distribution.DataParallel())

    x = keras.Input((4,))
    model = keras_mg.Model(x, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 1)), batch_size=4, verbose=0)
    ```

    Batch norms are a choice. "synchronized" takes the statistics of the whole batch, so that many
    processes train what one does; each batch norm then waits for all processes twice per step, once
    forward and once backward, for a few numbers per channel. "local" takes those of the process's
    own rows and waits for nobody: it is faster and another training, whose batch norms see batches
    of `batch_size / processes`. The statistics for inference are averaged before each evaluation
    and checkpoint then.

    Args:
        device_mesh: must be None: each process has one device.
        devices: names, one per process, or None.
        auto_shard_dataset: must be True: the data that `fit` gets are those of all processes.
        batch_norm: "synchronized" or "local". Defaults to "synchronized".

    Attributes:
        num_processes: int.
        num_model_replicas: int, the same.
        batch_dim_name: "batch".

    Raises:
        ValueError: if an argument is something else, or a launcher has started several processes
            that have not met (`initialize`).
    """

    def __init__(
        self,
        device_mesh: None = None,
        devices: Sequence[str] | None = None,
        auto_shard_dataset: bool = True,
        batch_norm: str = "synchronized",
    ):
        if device_mesh is not None or auto_shard_dataset is not True:
            raise ValueError(
                "Each process has one device and computes its part of the batches that `fit` gets, "
                "so device_mesh must be None and auto_shard_dataset True. Received: "
                f"device_mesh={device_mesh!r}, auto_shard_dataset={auto_shard_dataset!r}"
            )
        if batch_norm not in BATCH_NORMS:
            raise ValueError(
                f"batch_norm must be one of {', '.join(map(repr, BATCH_NORMS))}. "
                f"Received: {batch_norm!r}"
            )
        refuse_strangers("DataParallel")
        self.num_processes = processes.num_processes()
        if devices is not None and len(devices) != self.num_processes:
            raise ValueError(
                f"There must be one device per process, {self.num_processes}. Received: {devices}"
            )
        self.batch_norm = batch_norm
        self.auto_shard_dataset = True
        self.batch_dim_name = "batch"

    @property
    def num_model_replicas(self) -> int:
        return self.num_processes

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Inside, it is the distribution that models train under."""
        before = distribution()
        set_distribution(self)
        try:
            yield
        finally:
            set_distribution(before)

    def __repr__(self) -> str:
        return f"<DataParallel processes={self.num_processes}, batch_norm={self.batch_norm!r}>"


def set_distribution(value: DataParallel | None) -> None:
    """Lets models train under a distribution, or under none.

    Under one of several processes, models that are no `keras_mg.Model` are refused where they are
    to train.

    Args:
        value: a `DataParallel` or None.

    Raises:
        ValueError: if it is something else.
    """
    global _current
    if value is not None and not isinstance(value, DataParallel):
        raise ValueError(
            "set_distribution takes a keras_mg.distribution.DataParallel or None. "
            f"Received: {value!r}"
        )
    _current = value
    _plain_models.refuse(is_parallel())


def distribution() -> DataParallel | None:
    """The distribution that models train under, or None."""
    return _current


def is_parallel() -> bool:
    """Whether models train in several processes."""
    return _current is not None and _current.num_processes > 1


def refuse_strangers(what: str) -> None:
    """Raise where a launcher has started several processes that do not know each other.

    Raises:
        ValueError: if it is so.
    """
    started = os.environ.get("WORLD_SIZE", "1")
    if started.isdecimal() and int(started) > 1 and processes.num_processes() == 1:
        raise ValueError(
            f"{what}: WORLD_SIZE is {started}, but the processes have not met, and each would "
            "train a model of its own. Call keras_mg.distribution.initialize() and "
            "set_distribution(DataParallel()) first, or unset WORLD_SIZE where each is to train "
            "its own."
        )
