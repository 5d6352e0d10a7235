"""What is known of the step that goes on: whose rows are whose."""

from __future__ import annotations

from typing import NamedTuple

from keras_mg.distribution.processes import num_processes


class Share(NamedTuple):
    """The rows of a batch that are this process's, and those of all processes.

    A process without rows computes one row of another, and all that comes of it counts as nothing.
    """

    rows: int
    of: int

    @property
    def is_even(self) -> bool:
        """Whether all processes have as many."""
        return self.rows * num_processes() == self.of

    @property
    def weight(self) -> float:
        """What this process's mean counts beside those of the others, on average 1."""
        return self.rows * num_processes() / self.of


def part_of(rows: int, number: int, of: int) -> tuple[int, int]:
    """Begin and end of a process's rows of a batch: they lie side by side, the larger parts first.

    >>> from keras_mg.distribution.shares import part_of
    >>> [part_of(5, number, of=2) for number in (0, 1)]
    [(0, 3), (3, 5)]
    """
    each, more = divmod(rows, of)
    begin = number * each + min(number, more)
    return begin, begin + each + (number < more)


class _State:
    synchronizes = False  # whether batch norms take the statistics of all processes
    weight = 1.0  # of the step that goes on
    _share: Share | None = None

    @property
    def share(self) -> Share | None:
        """Of the step that goes on."""
        return self._share

    @share.setter
    def share(self, value: Share | None) -> None:
        # What it weighs is asked for many times in each step.
        self._share, self.weight = value, 1.0 if value is None else value.weight


state = _State()


def synchronizes() -> bool:
    """Whether batch norms take the statistics of all processes."""
    return state.synchronizes


def weight() -> float:
    """What this process's mean counts in the step that goes on, on average 1."""
    return state.weight
