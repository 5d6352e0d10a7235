"""`fit`, `evaluate` and `predict` in several processes (torch)."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable

import keras
import torch
from keras import tree

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras
from keras_mg.distribution import collectives
from keras_mg.distribution.processes import process_id
from keras_mg.training._parallel_callbacks import First, Last, of_this_process
from keras_mg.training._parallel_data import Parts, in_order
from keras_mg.training._parallel_run import Run
from keras_mg.training._random_state import random_state, set_random_state
from keras_mg.training._step_key import code_digest


def call(model: keras.Model, method: Callable, run_method: Callable, args: tuple, kwargs: dict):
    """`model.fit`, `model.evaluate` or `model.predict`, given as `method`, by all processes.

    Args:
        model: a `keras_mg.Model`.
        method: Keras's, bound.
        run_method: called with the method, its positional and its named arguments; runs it.
        args: of the method.
        kwargs: of the method.
    """
    given = inspect.signature(method).bind(*args, **kwargs)
    given.apply_defaults()
    options = given.arguments
    if isinstance(options.get("x"), Parts):
        return run_method(method, args, kwargs)  # the validation of a `fit`
    if missing(Feature.PARALLEL):
        raise RuntimeError(
            f"Several processes cannot train with Keras {keras.__version__}, which does not have "
            f"{', '.join(missing(Feature.PARALLEL))}."
        )
    trains = "epochs" in options
    run = Run(model, trains)
    callbacks = of_this_process(options["callbacks"])
    if process_id() != 0:
        options["verbose"] = 0
    if trains:
        _refuse_losses(model)
        # What the data draw from Python's and NumPy's generators must be the same.
        set_random_state(*collectives.from_first(random_state()))
        private_keras.split_validation(options)
        steps = options["steps_per_epoch"]
        adapter = _adapter(options, steps, options["shuffle"], options["class_weight"])
        known = steps or _length(options["x"])
        options["x"] = run.parts(adapter, True, known, "The training data")
        options["class_weight"] = None
        _compare_processes(model, options, adapter.num_batches)
        held = options["validation_data"]
        if held is not None:
            options["validation_data"] = _validation(run, options, held)
        callbacks = [First(run), *callbacks, Last(run)]
    else:
        if model.built and model._parallel_run is None:  # `fit` gives and compares them
            run.compare_weights(whole=True)
        adapter = _adapter(options, options["steps"])
        known = options["steps"] or _length(options["x"])
        options["x"] = run.parts(adapter, False, known, "The data")
    for name in {"y", "sample_weight"} & options.keys():
        options[name] = None
    options["callbacks"] = callbacks
    with run.attached():
        result = run_method(method, given.args, given.kwargs)
        if "y" in options:
            return result
        shares = options["x"].rows
        return tree.map_structure(lambda rows: in_order(rows, shares), result)


def _adapter(options: dict, steps: int | None, shuffle=False, class_weight=None):
    return private_keras.get_data_adapter(
        options["x"],
        y=options.get("y"),
        sample_weight=options.get("sample_weight"),
        batch_size=options["batch_size"],
        steps_per_epoch=steps,
        shuffle=shuffle,
        class_weight=class_weight,
    )


def _validation(run: Run, options: dict, held) -> Parts:
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(held)
    steps = options["validation_steps"]
    adapter = private_keras.get_data_adapter(
        x,
        y=y,
        sample_weight=sample_weight,
        batch_size=options["validation_batch_size"] or options["batch_size"],
        steps_per_epoch=steps,
    )
    return run.parts(adapter, False, steps or _length(x), "The validation data")


def _length(data) -> int | None:
    """The batches of data whose adapter does not say it, such as a pipeline of grain's."""
    try:
        return len(data)
    except (TypeError, ValueError):  # NotImplementedError is grain's of an iteration
        return None


def _compare_processes(model: keras.Model, options: dict, batches: int | None) -> None:
    """Raise where the processes would not do the same.

    Raises:
        ValueError: naming what differs.
    """
    shapes = repr([(tuple(v.shape), v.dtype) for v in model.variables])
    own = {
        "versions of Keras and torch": f"{keras.__version__}, {torch.__version__}",
        "code of keras_mg": code_digest(),
        "the model's weights": hashlib.sha256(shapes.encode()).hexdigest()[:8],
        "trainable weights": len(model.trainable_variables),
        "batches of the training data": batches,
        "epochs": options["epochs"],
        "initial_epoch": options["initial_epoch"],
        "steps_per_epoch": options["steps_per_epoch"],
        "whether there are validation data": options["validation_data"] is not None,
    }
    of_all = collectives.of_all(own)
    for name in own:
        values = [each[name] for each in of_all]
        if len(set(map(repr, values))) > 1:
            raise ValueError(f"The processes differ in: {name}. Received, by process: {values}")


def _refuse_losses(model: keras.Model) -> None:
    """Raise where a mean over processes is not what one process computes.

    Raises:
        ValueError: naming the reduction.
    """
    for loss in tree.flatten(getattr(model, "loss", None)):
        reduction = getattr(loss, "reduction", None)
        if reduction in ("sum", "mean_with_sample_weight"):
            raise ValueError(
                "In several processes a loss must be a mean over the rows of a batch, "
                f"reduction='sum_over_batch_size'. Received: {loss!r} with reduction={reduction!r}"
            )
