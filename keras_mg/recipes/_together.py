"""What the first of several processes does for all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from keras_mg.distribution.data_parallel import distribution, is_parallel, set_distribution
from keras_mg.distribution.processes import num_processes, process_id


def is_first() -> bool:
    """Whether this process is the one that writes and reports."""
    return not is_parallel() or process_id() == 0


def by_first(function: Callable[[], Any]) -> Any:
    """What `function` returns in the first process, which alone calls it, in all of them.

    Inside, models are its own: they predict without the others.
    """
    if not is_parallel():
        return function()
    from keras_mg.distribution import collectives

    def call():
        with _alone():
            return function()

    return collectives.in_turn(call)


def in_any(flag: bool) -> bool:
    """Whether something is so in one of the processes."""
    if not is_parallel():
        return flag
    from keras_mg.distribution import collectives

    return bool(collectives.largest(float(flag))[0])


def settings() -> dict[str, Any]:
    """What a result says of the processes; nothing of one."""
    current = distribution()
    if current is None or not is_parallel():
        return {}
    return {"processes": num_processes(), "batch_norm": current.batch_norm}


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    before = distribution()
    set_distribution(None)
    try:
        yield
    finally:
        set_distribution(before)
