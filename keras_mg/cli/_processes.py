"""A command in several processes: starting them, and what they do first."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from keras_mg.cli._shared import Failure


def count() -> int:
    """How many processes a launcher has started."""
    started = os.environ.get("WORLD_SIZE", "1")
    return int(started) if started.isdecimal() else 1


def is_first() -> bool:
    """Whether this is the process that reports."""
    return count() == 1 or os.environ.get("RANK") == "0"


def launch(words: Sequence[str], devices: int | None, max_restarts: int) -> None:
    """Become torchrun, which starts this command in several processes; does not return.

    Args:
        words: of the command line.
        devices: how many.
        max_restarts: how often all are started again after one has died.

    Raises:
        Failure: if torchrun has started this process already, or there is nothing to launch.
    """
    if count() > 1:
        raise Failure(
            f"--devices and --max-restarts are for a process that starts others. torchrun has "
            f"started {count()} already"
        )
    if devices is None:
        raise Failure("--max-restarts needs --devices")
    if devices == 1 and not max_restarts:
        return
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={devices}", f"--max-restarts={max_restarts}"]
    command += ["-m", "keras_mg", *_without(words, ("--devices", "--max-restarts"))]
    sys.stdout.flush()
    os.execv(command[0], command)


def _without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """A command line without options that take a value each."""
    kept, skips = [], False
    for word in words:
        if skips:
            skips = False
        elif word in options:
            skips = True
        elif word.partition("=")[0] not in options:
            kept.append(word)
    return kept


def meet(batch_norm: str, timeout: float) -> None:
    """Let the processes that a launcher has started train one model."""
    if count() == 1:
        return
    from keras_mg import distribution

    distribution.initialize(timeout=timeout)
    distribution.set_distribution(distribution.DataParallel(batch_norm=batch_norm))
