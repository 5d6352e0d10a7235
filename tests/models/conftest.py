"""The tests of the compiled steps record no log of torch's tracer, which is long and slow."""

import logging

import pytest


@pytest.fixture(autouse=True)
def without_trace_log():
    logger = logging.getLogger("torch.__trace")
    propagates, logger.propagate = logger.propagate, False
    yield
    logger.propagate = propagates
