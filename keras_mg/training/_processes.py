"""Several processes: whether they train one model together."""

from __future__ import annotations

import os
import warnings

from keras_mg.distribution.data_parallel import is_parallel, refuse_strangers
from keras_mg.distribution.processes import have_met


def check_processes(model, by_keras: bool, default_step: bool) -> None:
    """Raise where several processes would train, but not one model together.

    Args:
        model: a `keras_mg.Model` on the torch backend that is about to train.
        by_keras: whether Keras synchronises the processes.
        default_step: whether the model trains by its class's own step.

    Raises:
        ValueError: if they would.
    """
    if by_keras:
        if model.jit_compile and not model.run_eagerly:
            warnings.warn(
                f"model '{model.name}' trains in several processes that Keras synchronises, "
                "which a captured step would not be: its steps run eagerly.",
                stacklevel=4,
            )
        return
    if model._parallel_run is not None:
        return
    if is_parallel():
        raise ValueError(
            f"model '{model.name}' trains in several processes, which take their parts of the "
            "batches of `fit`. Received: a call of train_on_batch"
        )
    from torch import distributed

    refuse_strangers(f"model '{model.name}'")
    started = os.environ.get("WORLD_SIZE", "1")
    if not distributed.is_available() or not distributed.is_initialized():
        return
    if distributed.get_world_size() > 1 and (have_met() or not hasattr(model, "ddp_model")):
        if not default_step:
            warnings.warn(
                f"model '{model.name}': {distributed.get_world_size()} processes have met, and no "
                "distribution is set: unless its own train_step synchronises them, each trains a "
                "model of its own.",
                stacklevel=4,
            )
            return
        raise ValueError(
            f"model '{model.name}': {distributed.get_world_size()} processes have met, but nothing "
            "synchronises them, and each would train a model of its own. Call keras_mg."
            "distribution.set_distribution(keras_mg.distribution.DataParallel()) first. "
            f"Received: WORLD_SIZE={started}"
        )
