"""Learning rates as they are published: by epochs, whatever the number of steps in one."""

from __future__ import annotations

import dataclasses
import itertools

import keras

from keras_mg.layers.arguments import positive_int


@dataclasses.dataclass(frozen=True)
class StepDecay:
    """A rate that is multiplied by `factor` at some epochs and constant in between.

    Args:
        learning_rate: float, per step, of the mean loss over a batch.
        drops: epochs, counted from 0, at the start of which the rate drops.
        factor: float in (0, 1).
        warmup_steps: int, steps at the start that are taken at another rate. Defaults to 0.
        warmup_learning_rate: float, that rate.

    Raises:
        ValueError: for a number out of its range, or drops that do not rise from 1.

    Example:

    >>> from keras_mg.recipes import StepDecay
    >>> rate = StepDecay(0.1, drops=(2,), factor=0.1).rate(steps_per_epoch=10, epochs=3)
    >>> [round(float(rate(step)), 3) for step in (0, 19, 20, 29)]
    [0.1, 0.1, 0.01, 0.01]
    """

    learning_rate: float
    drops: tuple[int, ...] = ()
    factor: float = 0.1
    warmup_steps: int = 0
    warmup_learning_rate: float = 0.0

    def __post_init__(self):
        _check(
            self,
            learning_rate=("be greater than 0", self.learning_rate > 0),
            drops=(
                "rise, from 1",
                all(a < b for a, b in itertools.pairwise((0, *self.drops))),
            ),
            factor=("be in (0, 1)", 0 < self.factor < 1),
            warmup_steps=("be at least 0", self.warmup_steps >= 0),
            warmup_learning_rate=(
                "be greater than 0 where there are warmup_steps",
                self.warmup_learning_rate > 0 or not self.warmup_steps,
            ),
        )

    def shortened(self, epochs: int, of: int) -> StepDecay:
        """This schedule in `epochs` instead of `of` epochs; drops and warm-up keep their fractions.

        Drops move to the nearest whole epoch. Those that thereby meet the start, the end or an
        earlier drop are left out: with fewer epochs than drops not all rates can be trained at.

        Args:
            epochs: int, the new number.
            of: int, the number that the schedule is made for.
        """
        moved = {round(drop * epochs / of) for drop in self.drops}
        return dataclasses.replace(
            self,
            drops=tuple(sorted(drop for drop in moved if 0 < drop < epochs)),
            warmup_steps=round(self.warmup_steps * epochs / of),
        )

    def rate(
        self, steps_per_epoch: int, epochs: int
    ) -> keras.optimizers.schedules.LearningRateSchedule:
        """The learning rate of each step, counted from 0.

        Args:
            steps_per_epoch: int, batches per epoch.
            epochs: int, of the whole training.
        """
        positive_int("steps_per_epoch", steps_per_epoch)
        starts = {0: self.learning_rate}
        for i, drop in enumerate(self.drops, 1):
            starts[drop * steps_per_epoch] = self.learning_rate * self.factor**i
        if self.warmup_steps:
            after = max(start for start in starts if start <= self.warmup_steps)
            later = {start: rate for start, rate in starts.items() if start > self.warmup_steps}
            starts = {0: self.warmup_learning_rate, self.warmup_steps: starts[after], **later}
        # PiecewiseConstantDecay keeps a value up to and including its boundary, and cannot do
        # without one: the last step before a start is the boundary of what is before.
        boundaries, rates = [start - 1 for start in list(starts)[1:]], list(starts.values())
        if not boundaries:
            boundaries, rates = [0], rates * 2
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


@dataclasses.dataclass(frozen=True)
class GeometricDecay:
    """A rate that falls from epoch to epoch by one factor, from `first` to `last`.

    Args:
        first: float, the rate of the first epoch.
        last: float, the rate of the last epoch.

    Raises:
        ValueError: for a rate that is not positive.

    Example:

    >>> from keras_mg.recipes import GeometricDecay
    >>> rate = GeometricDecay(0.1, 0.001).rate(steps_per_epoch=10, epochs=3)
    >>> [round(float(rate(step)), 4) for step in (0, 9, 10, 20, 29)]
    [0.1, 0.1, 0.01, 0.001, 0.001]
    """

    first: float
    last: float

    def __post_init__(self):
        rule = "be greater than 0"
        _check(self, first=(rule, self.first > 0), last=(rule, self.last > 0))

    def shortened(self, epochs: int, of: int) -> GeometricDecay:
        """Itself: first and last rate are those of any number of epochs."""
        return self

    def rate(
        self, steps_per_epoch: int, epochs: int
    ) -> keras.optimizers.schedules.LearningRateSchedule:
        """The learning rate of each step; see `StepDecay.rate`."""
        factor = (self.last / self.first) ** (1 / max(epochs - 1, 1))
        return keras.optimizers.schedules.ExponentialDecay(
            self.first, positive_int("steps_per_epoch", steps_per_epoch), factor, staircase=True
        )


@dataclasses.dataclass(frozen=True)
class WarmUpCosine:
    """A straight line up to the peak, then half a cosine down to 0 at the last step.

    Args:
        peak: float, the highest rate.
        warmup: float in [0, 1), the fraction of all steps that the line takes; at least one step.

    Raises:
        ValueError: for a number out of its range.

    Example:

    >>> from keras_mg.recipes import WarmUpCosine
    >>> rate = WarmUpCosine(0.01, warmup=0.05).rate(steps_per_epoch=100, epochs=10)
    >>> [round(float(rate(step)), 4) for step in (0, 25, 50, 525, 1000)]
    [0.0, 0.005, 0.01, 0.005, 0.0]
    """

    peak: float
    warmup: float

    def __post_init__(self):
        _check(
            self,
            peak=("be greater than 0", self.peak > 0),
            warmup=("be in [0, 1)", 0 <= self.warmup < 1),
        )

    def shortened(self, epochs: int, of: int) -> WarmUpCosine:
        """Itself: it is made of fractions."""
        return self

    def rate(
        self, steps_per_epoch: int, epochs: int
    ) -> keras.optimizers.schedules.LearningRateSchedule:
        """The learning rate of each step; see `StepDecay.rate`."""
        steps = positive_int("steps_per_epoch", steps_per_epoch) * epochs
        warmup = max(1, round(self.warmup * steps))
        return keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - warmup), warmup_target=self.peak, warmup_steps=warmup
        )


def _check(schedule, **rules: tuple[str, bool]) -> None:
    for field, (rule, holds) in rules.items():
        if not holds:
            raise ValueError(
                f"{type(schedule).__name__}: {field} must {rule}. "
                f"Received: {field}={getattr(schedule, field)!r}"
            )
