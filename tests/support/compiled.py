"""What compiled training is compared by: torch's count of graphs, and all that training leaves."""

import logging

import keras
import numpy as np
import pytest

from tests.support.arrays import numpy

# torch's tracer reads attributes that torch itself has deprecated.
MARKS = [
    pytest.mark.skipif(
        keras.backend.backend() != "torch", reason="the steps are captured on torch only"
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def without_trace_log():
    """No log of torch's tracer is recorded: it is long and slow.

    Torch makes it where its logger has a handler, and pytest gives one to loggers that do not
    propagate.
    """
    logger = logging.getLogger("torch.__trace")
    before = logger.propagate, logger.handlers
    logger.propagate, logger.handlers = True, []
    yield
    logger.propagate, logger.handlers = before


def unique_graphs():
    """How many graphs torch has captured in this process."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def graphs(model):
    """The compiled forms of the training step."""
    steps = model._compiled_steps
    return [] if steps is None or steps.failed else list(steps.train_step.graph.compiled.values())


def pairs(one, other):
    """Name of the part and both values, of the arrays and numbers of two nested dictionaries."""
    assert one.keys() == other.keys()
    for part in one:
        ours, theirs = keras.tree.flatten(one[part]), keras.tree.flatten(other[part])
        assert len(ours) == len(theirs) > 0
        for a, b in zip(ours, theirs, strict=True):
            yield part, np.asarray(a), np.asarray(b)


def assert_same(one, other, tolerance=0.0):
    """The arrays and numbers of two dictionaries, nested as they like, are equal part by part."""
    for part, a, b in pairs(one, other):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=part)


def assert_same_in_scale(one, other, tolerance, floor):
    """Differences are within `tolerance` of the largest magnitude of their array, or of `floor`."""
    for part, a, b in pairs(one, other):
        limit = tolerance * max(np.abs(a).max(), floor)
        np.testing.assert_allclose(a, b, rtol=0, atol=limit, err_msg=part)


def left_behind(model, history):
    """The numbers that `fit` leaves."""
    return {
        "history": history.history,
        "weights": [numpy(w) for w in model.weights],
        "optimizer": [numpy(v) for v in model.optimizer.variables],
    }
