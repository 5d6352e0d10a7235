"""Recomputing a layer's forward pass in the backward pass, in place of keeping what it made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import torch
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from keras_mg._private import keras as private_keras

_recomputing: ContextVar[bool] = ContextVar("recomputing", default=False)


def is_recomputing() -> bool:
    """Whether the backward pass repeats a piece of the forward pass: statistics must not move."""
    return _recomputing.get()


@contextlib.contextmanager
def _recomputation(dtype: str | None) -> Iterator[None]:
    token = _recomputing.set(True)
    try:
        # The pass runs outside the layer, whose weights were cast for it.
        with private_keras.AutocastScope(dtype):
            yield
    finally:
        _recomputing.reset(token)


def _contexts():
    """What surrounds the function in the forward pass, and what in the backward pass."""
    scope = private_keras.get_autocast_scope()
    return contextlib.nullcontext(), _recomputation(None if scope is None else scope.dtype)


def recomputed(function: Callable) -> Callable:
    """`function`, of which the backward pass keeps the inputs alone and repeats the rest.

    Random numbers of torch's generators are the same in both passes.
    """

    def call(*args, **kwargs):
        if not torch.is_grad_enabled():
            return function(*args, **kwargs)
        if torch.compiler.is_compiling():
            # A captured graph repeats no side effects.
            return checkpoint(function, *args, use_reentrant=False, **kwargs)
        # Torch stops early by an exception, which passes through Keras's layers and whose frames
        # would keep what was recomputed until the garbage collector runs.
        with set_checkpoint_early_stop(False):
            return checkpoint(function, *args, use_reentrant=False, context_fn=_contexts, **kwargs)

    return call
