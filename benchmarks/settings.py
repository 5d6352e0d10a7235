"""What the command line asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import torch

from benchmarks.networks import NETWORKS, Batch, Network, make_batch
from benchmarks.timing import Timing, measure

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    device: str = "cpu"
    threads: int = 2
    rounds: int = 9
    batch: int | None = None
    networks: tuple[str, ...] | None = None
    clock: str = "wall"
    dtype: str = "float32"
    other: Path | None = None  # a second checkout, for `against`

    @property
    def autocast(self) -> torch.dtype | None:
        """What the twin computes in where that is not float32."""
        return torch.bfloat16 if self.dtype == "bfloat16" else None

    def prepare(self) -> None:
        """Set torch up alike for both sides, in this process."""
        torch.set_num_threads(self.threads)
        torch.backends.cudnn.benchmark = True
        # A twin that falls back to eager execution would be an unfair comparison, and silent.
        torch._dynamo.config.fail_on_recompile_limit_hit = True

    def make(self, network: Network) -> keras.Model:
        """Our network, computing in the chosen type."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(
            "float32" if self.dtype == "float32" else f"mixed_{self.dtype}"
        )
        try:
            return network.ours()
        finally:
            keras.config.set_dtype_policy(before)

    def chosen(self, default: tuple[str, ...]) -> Iterator[Network]:
        """The networks to measure, each with an empty store of graphs.

        Torch keeps few graphs per function, and the twins share theirs, such as the optimizer's
        step: from the fifth network on it would run eagerly.
        """
        for name in self.networks or default:
            torch._dynamo.reset()
            yield NETWORKS[name]

    def batch_of(self, network: Network) -> Batch:
        own = network.batch if self.device == "cpu" else network.gpu_batch
        return make_batch(network, self.batch or own, self.device)

    def synchronize(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def time(
        self,
        name: str,
        variants: Mapping[str, Callable],
        seconds: float = 0.1,
        clock: Callable[[], float] | None = None,
    ) -> Timing:
        """Time the variants, each called as often per round as takes about `seconds`."""
        clock = clock or CLOCKS[self.clock]
        calls = {}
        for variant, function in variants.items():
            function()
            once = measure(
                name, {variant: function}, 1, 1, synchronize=self.synchronize, clock=clock
            )
            calls[variant] = max(1, round(seconds / once.best(variant)))
        return measure(
            name,
            variants,
            rounds=self.rounds,
            calls=calls,
            synchronize=self.synchronize,
            clock=clock,
        )
