"""Batches that are on the device before the step that takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import keras

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras
from keras_mg.layers.arguments import positive_int
from keras_mg.training._wrapping_adapter import WrappingAdapter


class Prefetched(WrappingAdapter):
    """What `prefetch` returns."""

    def __init__(self, adapter, depth: int):
        super().__init__(adapter)
        self.depth = depth

    def get_torch_dataloader(self):
        from keras_mg.training import _device_data as device_data

        return device_data.Ahead(self.adapter.get_torch_dataloader(), self.depth)

    def get_numpy_iterator(self):
        return self.adapter.get_numpy_iterator()

    def get_jax_iterator(self):
        return self.adapter.get_jax_iterator()

    def get_tf_dataset(self):
        return self.adapter.get_tf_dataset()


def prefetch(
    data, depth: int = 2, shuffle: bool = False, class_weight: Mapping | None = None
) -> Prefetched:
    """Data for `fit`, `evaluate` and `predict`, read and copied to the device ahead of its use.

    Keras copies each batch to a GPU when its step begins, and waits there until all earlier steps
    are done. Here a thread reads batches ahead; on CUDA it copies them from page-locked memory in a
    stream of its own, and the steps never wait for the host or the host for the steps. For images
    that fit into the device's memory, `DeviceImages` copies nothing at all.

    ```python
    import numpy as np
    from keras_mg.applications import resnet
    from keras_mg.datasets import AugmentedImages, Images
    from keras_mg.training import prefetch

    some = Images(np.zeros((64, 32, 32, 3), "uint8"), np.arange(64) % 10)
    data = AugmentedImages(some, resnet.preprocess_input, batch_size=32)
    model = resnet.ResNet20()
    model.compile(loss="sparse_categorical_crossentropy")
    model.fit(prefetch(data))
    ```

    Batches, their order and their number are those of `data`. On backends other than torch nothing
    is read ahead.

    Args:
        data: a `torch.utils.data.DataLoader` or a `keras.utils.PyDataset`. Workers of their own
            (`num_workers`, `workers`) prepare batches in parallel as they do without this.
        depth: int, how many batches may be ready on the device. Defaults to 2.
        shuffle: bool, whether the batches of a `PyDataset` come in another order in each epoch:
            what `shuffle` of `fit`, which has no effect here, would do. Defaults to False.
        class_weight: dictionary for a `PyDataset`, likewise instead of that of `fit`. A
            `keras_mg.Model` refuses `y`, `sample_weight` and `class_weight` beside prefetched data;
            a `keras.Model` ignores them, as it does beside any adapter of its own kind.

    Returns:
        What `fit`, `evaluate` and `predict` take as `x`, and `fit` as `validation_data`.

    Raises:
        RuntimeError: with a Keras that this package does not know.
        ValueError: if `data` is neither of the two, or `depth` is no positive integer.
    """
    if missing(Feature.PREFETCH):
        raise RuntimeError(
            f"prefetch cannot be had with Keras {keras.__version__}, which does not have "
            f"{', '.join(missing(Feature.PREFETCH))}."
        )
    if not isinstance(data, keras.utils.PyDataset) and not _is_loader(data):
        raise ValueError(
            "prefetch takes a torch.utils.data.DataLoader or a keras.utils.PyDataset. "
            f"Received: {data!r}"
        )
    adapter = private_keras.get_data_adapter(data, shuffle=shuffle, class_weight=class_weight)
    return Prefetched(adapter, positive_int("depth", depth))


def refuse_beside_adapter(method: Callable, args: tuple, kwargs: dict) -> None:
    """Raise where `fit` or `evaluate` is given data that are ready, and something that is not.

    Keras takes what `prefetch` returns as it is, and reads no argument that belongs to data.

    Raises:
        ValueError: if there is such an argument.
    """
    if missing(Feature.PREFETCH):
        return
    given = inspect.signature(method).bind(*args, **kwargs).arguments
    if not isinstance(given.get("x"), private_keras.DataAdapter):
        return
    for name in ("y", "sample_weight", "class_weight"):
        if given.get(name) is not None:
            raise ValueError(
                f"{name} must not be given beside prefetched data, which would not be changed by "
                "it: targets and sample weights belong into the data that are prefetched, class "
                f"weights into prefetch(class_weight=...). Received: {name}="
                f"{type(given[name]).__name__}"
            )


def _is_loader(data) -> bool:
    return any(
        cls.__name__ == "DataLoader" and cls.__module__.startswith("torch.utils.data")
        for cls in type(data).__mro__
    )
