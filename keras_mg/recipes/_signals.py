"""Ctrl-C and SIGTERM: training ends after the step that goes on, and is saved."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name))

# Under torchrun a signal may come twice: from whoever stops the job, such as Slurm, and from
# torchrun, which hands on its own. A second one that it gets itself it hands on as SIGTERM.
_ECHO = 5.0  # seconds


class RunStopped(KeyboardInterrupt):
    """A run was stopped by a signal; its text says what is left and how to go on.

    Attributes:
        number: int, of the signal.
    """

    def __init__(self, text: str, number: int | None = None):
        super().__init__(text)
        self.number = signal.SIGINT if number is None else number


class Signals:
    """What has come, and what answers it."""

    number: int | None = None  # of the signal that came
    _came = 0.0  # when the first did
    _ask: Callable[[], None] | None = None

    @contextlib.contextmanager
    def answered_by(self, ask: Callable[[], None]) -> Iterator[None]:
        """In the block, the first signal calls `ask`, and nothing else."""
        self._ask = ask
        try:
            yield
        finally:
            self._ask = None

    def handle(self, number: int, frame: object) -> None:
        """The handler: outside of such a block, and the second time, it ends whatever goes on."""
        first = self.number is None
        if not first and self._ask is not None and self._is_echo():
            return
        self.number, self._came = number, time.monotonic()
        if not first or self._ask is None:
            raise KeyboardInterrupt
        self._ask()
        when = f", {_ECHO:g} seconds from now or later," if _in_torchrun() else ""
        # What a handler interrupts may be `print` itself.
        os.write(2, f"\nStopping after this step; once more{when} stops at once.\n".encode())

    def _is_echo(self) -> bool:
        """Whether a further signal is the first one, handed on by torchrun."""
        return _in_torchrun() and time.monotonic() - self._came < _ECHO


def _in_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextlib.contextmanager
def signals() -> Iterator[Signals]:
    """Takes the place of the handlers of Ctrl-C and SIGTERM, in the main thread.

    In other threads no signal can be handled, and nothing changes.
    """
    state = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return
    # What is ignored, as under nohup, stays so.
    before = {n: signal.getsignal(n) for n in NUMBERS}
    before = {n: handler for n, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, state.handle)
    try:
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
