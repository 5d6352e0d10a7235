"""Time variants of one computation against each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Timing:
    """Seconds of each variant in each round; the first variant is the one to compare with."""

    name: str
    seconds: Mapping[str, Sequence[float]]

    @property
    def base(self) -> str:
        return next(iter(self.seconds))

    def median(self, variant: str) -> float:
        return median(self.seconds[variant])

    def best(self, variant: str) -> float:
        return min(self.seconds[variant])

    def ratio(self, variant: str) -> float:
        """Median over the rounds of the variant's seconds by the base's seconds in that round."""
        pairs = zip(self.seconds[variant], self.seconds[self.base], strict=True)
        return median(own / base for own, base in pairs)

    def part(self, name: str, variants: Sequence[str]) -> Timing:
        """Some of the variants, compared with the first of these, in the same rounds."""
        return Timing(name, {variant: self.seconds[variant] for variant in variants})

    def best_of(self, name: str, sides: Mapping[str, Sequence[str]]) -> Timing:
        """Of each side the variant with the lowest median, as who may choose would take it.

        Args:
            name: of the comparison.
            sides: variants by the name of the side; the first side is the one to compare with.
        """
        chosen = {side: min(variants, key=self.median) for side, variants in sides.items()}
        return Timing(
            name,
            {f"best of {side}: {own}": self.seconds[own] for side, own in chosen.items()},
        )

    def best_ratio(self, variant: str) -> float:
        """The variant's best round by the base's best round."""
        return self.best(variant) / self.best(self.base)


def measure(
    name: str,
    variants: Mapping[str, Callable[[], object]],
    rounds: int = 9,
    warm_up: int = 2,
    calls: Mapping[str, int] | None = None,
    synchronize: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Run the variants in turn, so that a slower or busier machine meets all of them alike.

    Args:
        name: what is computed.
        variants: functions without arguments; the first is the base.
        rounds: number of measured rounds.
        warm_up: number of rounds before them that are not measured.
        calls: how often each variant runs per round, once if not given; the seconds are per call.
        synchronize: waits for the device, if work on it is asynchronous.
        clock: gives seconds.

    Returns:
        The seconds per call. Each round starts with another variant.
    """
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    names = list(variants)
    for i in range(warm_up + rounds):
        start = i % len(names)
        for variant in names[start:] + names[:start]:
            function = variants[variant]
            count = 1 if calls is None else calls[variant]
            synchronize()
            begin = clock()
            for _ in range(count):
                function()
            synchronize()
            if i >= warm_up:
                seconds[variant].append((clock() - begin) / count)
    return Timing(name, seconds)
