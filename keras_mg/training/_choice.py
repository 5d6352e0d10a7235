"""Whether the steps on batches of one shape run eagerly or compiled: what is known, what is due."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from statistics import median
from typing import Any

# The first step, which makes what later ones find, and two that are timed.
FIRST_STEPS = 3
# What a trial runs: compiled until there is a graph, then both in turn, so that whatever else the
# machine does meets both alike.
TRIAL = (True, True, False, True, False, True, False)
# A trial compiles where that takes at most this part of the work that is left: so much is lost
# where eager steps win.
MOST = 0.1
# Seconds of work below which nothing is worth compiling.
LEAST = 5.0


class Phase(StrEnum):
    """Where a choice stands."""

    WATCHED = "watched"  # eager steps; whether to measure is asked now and then
    TRIED = "tried"
    SETTLED = "settled"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a trial has found, in seconds; no `compiled` where the network cannot be captured."""

    eager: float
    compiled: float | None
    compiling: float | None

    @property
    def compiled_is_faster(self) -> bool:
        return self.compiled is not None and self.compiled < self.eager

    def pays(self, steps: float) -> bool:
        """Whether compiling earns back what it takes in so many steps."""
        if self.compiled is None or self.compiling is None:
            return False
        return (self.eager - self.compiled) * steps > self.compiling


@dataclasses.dataclass
class Choice:
    """Of the steps of one kind on batches of one shape.

    Every step that is timed is one of the training: `compiled` says how the next one runs, `note`
    is told what it took. What a choice is between two steps goes into checkpoints, so that a
    training which goes on from there runs the steps that it would have run.
    """

    phase: Phase = Phase.WATCHED
    done: int = 0  # steps
    due: int = FIRST_STEPS  # the step before which is asked whether to measure
    position: int = 0  # in `TRIAL`
    settled_on: bool = False  # compiled steps
    eager: list[float] = dataclasses.field(default_factory=list)  # seconds, of the last steps
    graph: list[float] = dataclasses.field(default_factory=list)  # likewise, compiled
    compiling: list[float] = dataclasses.field(default_factory=list)  # with what it compiled
    failed: bool = False  # whether nothing can be captured
    busy: bool = False  # while a step of the trial goes on; not saved

    @property
    def compiled(self) -> bool:
        """Whether the next step is a compiled one."""
        return TRIAL[self.position] if self.phase is Phase.TRIED else self.settled_on

    @property
    def is_due(self) -> bool:
        """Whether it is time to ask."""
        return self.phase is Phase.WATCHED and self.done >= self.due

    def ask_later(self) -> None:
        """When as many steps again have run: what was enough so far will be for them, too."""
        self.due = 2 * self.done

    @property
    def seconds(self) -> float:
        """Of an eager step, as they were last."""
        return median(self.eager[-FIRST_STEPS:])

    def begin(self) -> None:
        """Measure from here on."""
        self.phase, self.eager = Phase.TRIED, []

    def settle(self, compiled: bool) -> None:
        """Run all further steps like that."""
        self.phase, self.settled_on = Phase.SETTLED, compiled

    def note(self, seconds: float, had_graph: bool, failed: bool) -> Measured | None:
        """What a step took.

        Args:
            seconds: that it took.
            had_graph: whether there was a graph for it before.
            failed: whether it was to be compiled, and nothing can be captured.

        Returns:
            What a trial has found, after its last step.
        """
        self.done += 1
        if self.phase is Phase.WATCHED:
            if self.done > 1:
                self.eager = [*self.eager[1 - FIRST_STEPS :], seconds]
            return None
        if not TRIAL[self.position]:
            self.eager.append(seconds)
        elif had_graph:
            self.graph.append(seconds)
        else:
            self.compiling.append(seconds)
        # Several processes go through a trial together, so none ends it before.
        self.failed = self.failed or failed
        self.position += 1
        if self.position < len(TRIAL):
            return None
        found = self._found()
        self.settle(found.compiled_is_faster)
        return found

    def _found(self) -> Measured:
        # The fastest of a few steps is the one that was disturbed least.
        eager = min(self.eager)
        if self.failed or not self.graph:
            return Measured(eager, None, None)
        graph = min(self.graph)
        return Measured(eager, graph, max(0.0, max(self.compiling, default=0.0) - graph))

    def state(self) -> dict[str, Any]:
        """What goes into a checkpoint, in JSON's types."""
        fields = dataclasses.asdict(self)
        del fields["busy"]
        return fields

    @classmethod
    def of(cls, state: dict[str, Any]) -> Choice:
        """The choice of a checkpoint."""
        return cls(**{**state, "phase": Phase(state["phase"])})
