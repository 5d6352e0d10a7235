"""What data-parallel training on many GPUs and machines should take: an estimate, on paper.

    python -m benchmarks.scaling                           # MgNet and RMG34, 8 GPUs, 16 machines
    python -m benchmarks.scaling --on cpu                  # 16 machines of one process each
    python -m benchmarks.scaling --step-ms 35 --networks RMG34

Measured are the buckets that a network's gradients travel in, its batch norms and their channels.
The time of a step on one GPU, or on one machine's CPU, is the last that `benchmarks/RESULTS.md`
has of the network there, or that `--step-ms` gives; where there is neither, the table says what
comes of a few, and that they are assumed. Assumed are latencies and bandwidths. The formula: n
members that are connected by links of latency a and bandwidth B add b bytes in a ring or in a tree,
whatever is faster,

    t(n, b) = min(2 (n - 1) a + 2 (n - 1) / n * b / B,  2 ceil(log2 n) a + 2 b / B)

first over the GPUs of a machine, then over machines, and the two times are added. A bucket leaves
when the backward pass has come by its weights (taken as 2/3 of the step, the bytes evenly over it)
and those before it have gone; the step ends when the last one has come. A captured step sends all
of them after its backward pass. Each synchronised batch norm waits twice, for 16 c + 8 bytes
forward, and for 4 * 2 c backward, of its c channels.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

BACKWARD = 2 / 3  # of a step's time
STEPS_MS = (10.0, 30.0, 100.0)  # assumed where nothing was measured
RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True)
class Links:
    """How GPUs are connected: seconds, and bytes per second.

    The defaults are round figures below what the makers of current GPU servers state: nothing here
    was measured.
    """

    gpus: int = 8  # of a machine
    machines: int = 1
    latency: float = 5e-6  # between the GPUs of a machine
    bandwidth: float = 200e9
    far_latency: float = 10e-6  # between machines
    far_bandwidth: float = 40e9  # of a machine, all its GPUs together: 400 Gbit/s, four fifths used

    def seconds(self, bytes_: float) -> float:
        """What it takes to add so many bytes over all GPUs."""
        inside = _added(self.gpus, bytes_, self.latency, self.bandwidth)
        return inside + _added(self.machines, bytes_, self.far_latency, self.far_bandwidth)

    @classmethod
    def of_cpus(cls, machines: int) -> Links:
        """Machines of one process each, which talk by gloo over TCP and 10 Gbit/s."""
        return cls(gpus=1, machines=machines, far_latency=50e-6, far_bandwidth=1e9)


def _added(members: int, bytes_: float, latency: float, bandwidth: float) -> float:
    ring = 2 * (members - 1) * (latency + bytes_ / members / bandwidth)
    tree = 2 * math.ceil(math.log2(members)) * latency + 2 * bytes_ / bandwidth
    return min(ring, tree)


@dataclass(frozen=True)
class Traffic:
    """What a network's training step sends."""

    buckets: Sequence[int]  # bytes, in the order in which they leave
    channels: Sequence[int]  # of its batch norms

    def waits(self, links: Links) -> float:
        """Seconds that synchronised batch norms wait in a step."""
        return sum(links.seconds(16 * c + 8) + links.seconds(8 * c) for c in self.channels)

    def eager(self, step: float, links: Links) -> float:
        """Seconds of a step that takes `step` seconds on one GPU, buckets leaving in between."""
        begun, total, done, free = step * (1 - BACKWARD), sum(self.buckets), 0, 0.0
        for bucket in self.buckets:
            done += bucket
            free = max(free, begun + step * BACKWARD * done / total) + links.seconds(bucket)
        return max(step, free)

    def captured(self, step: float, links: Links) -> float:
        """Likewise where all buckets leave after the backward pass."""
        return step + sum(map(links.seconds, self.buckets))


def traffic_of(name: str) -> Traffic:
    """What one of our networks sends, looked up in the network itself."""
    import keras_mg
    from keras_mg.training._parallel_gradients import buckets_of

    model = getattr(keras_mg.applications, name)(classifier_activation=None)
    parameters = [v.value for v in model.trainable_variables]
    buckets = [
        sum(parameters[i].numel() * parameters[i].element_size() for i in group)
        for group in buckets_of(parameters)
    ]
    channels = [v.shape[0] for v in model.weights if v.name == "moving_mean"]
    return Traffic(buckets, channels)


def measured_ms(name: str, results: str, on: str = "gpu") -> float | None:
    """The median of the last eager training step of a network that was timed on a GPU or CPU.

    Args:
        name: of the network.
        results: the text of the file of results, a section per run.
        on: `"gpu"` or `"cpu"`.
    """
    found = None
    for section in re.split("^## ", results, flags=re.MULTILINE):
        of_training = section.startswith(("fit,", "train,"))
        if not of_training or (" CPUs; " in section) != (on == "cpu"):
            continue
        for row in section.splitlines():
            cells = [cell.strip() for cell in row.split("|")]
            if len(cells) > 3 and cells[1].split(",")[0] == name and cells[2] == "keras_mg":
                found = float(cells[3].replace(",", ""))
    return found


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--networks", nargs="+", default=["MgNet", "RMG34"])
    p.add_argument("--on", choices=["gpu", "cpu"], default="gpu", help="default: gpu")
    p.add_argument("--step-ms", nargs="+", type=float, help="of one of them, measured elsewhere")
    p.add_argument("--gpus", type=int, default=8, help="of a machine (default: 8)")
    p.add_argument("--machines", type=int, nargs="+", help="default: 1 16; of CPUs: 2 16")
    return p


def lines(
    name: str, traffic: Traffic, steps_ms: Sequence[float], links: Links, source: str = "assumed"
) -> list[str]:
    """Rows of a Markdown table; `source` says where the times of a step come from."""
    rows = []
    for milliseconds in steps_ms:
        step = milliseconds / 1e3
        each = [traffic.eager(step, links), traffic.captured(step, links)]
        each += [seconds + traffic.waits(links) for seconds in each]
        cells = " | ".join(f"{step / seconds:.0%}" for seconds in each)
        where = f"{links.machines} x {links.gpus}" if links.gpus > 1 else f"{links.machines}"
        rows.append(f"| {name} | {where} | {milliseconds:g}, {source} | {cells} |")
    return rows


def main() -> None:
    options = parser().parse_args()
    of_cpus = options.on == "cpu"
    made_of = "machines" if of_cpus else "machines x GPUs"
    print(f"| network | {made_of} | ms per step on one | eager, local batch norm ", end="")
    print("| compiled, local | eager, synchronized | compiled, synchronized |")
    print("|---|---|---:|---:|---:|---:|---:|")
    notes = []
    results = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    for name in options.networks:
        traffic = traffic_of(name)
        mebibytes = [round(b / 2**20, 1) for b in traffic.buckets]
        notes.append(
            f"{name}: {sum(traffic.buckets):,} bytes in buckets of {mebibytes} MiB, "
            f"{len(traffic.channels)} batch norms of {sum(traffic.channels):,} channels"
        )
        measured = measured_ms(name, results, options.on)
        steps_ms, source = options.step_ms, "given"
        if steps_ms is None:
            steps_ms, source = STEPS_MS, "assumed"
            if measured is not None:
                steps_ms, source = [measured], "measured"
        for machines in options.machines or ([2, 16] if of_cpus else [1, 16]):
            links = Links.of_cpus(machines) if of_cpus else Links(options.gpus, machines)
            print(*lines(name, traffic, steps_ms, links, source), sep="\n")
    print("", *notes, sep="\n")


if __name__ == "__main__":
    main()
