"""What was measured, where and with what: text, a picture, and a file of all results."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.timing import Timing

MOST_BARS = 40  # of a picture that can still be read
PACKAGES = ("keras-mg", "keras", "torch", "numpy")


@dataclass(frozen=True)
class Figures:
    """Single numbers per variant; the first variant is the one to compare with."""

    name: str
    unit: str
    values: Mapping[str, float]
    compared: bool = True  # whether ratios to the first variant mean something
    more_is_better: bool = False

    @property
    def base(self) -> str:
        return next(iter(self.values))

    def ratio(self, variant: str) -> float:
        return self.values[variant] / self.values[self.base]


def hardware(device: str, threads: int) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        model = next(iter(names), model)
    except OSError:
        pass  # not Linux
    return f"{model}, {threads} of {os.cpu_count()} CPUs"


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} from source")
    return ", ".join(found)


def heading(case: str, device: str, threads: int, notes: str) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"## {case}, {now}\n\n{hardware(device, threads)}; {versions()}. {notes}"


def rows(result: Timing | Figures) -> list[str]:
    """The lines of a Markdown table that one network's result is."""
    if isinstance(result, Timing):
        return [
            f"| {result.name} | {v} | {1e3 * result.median(v):.2f} | {1e3 * result.best(v):.2f} "
            f"| {result.ratio(v):.3f} | {result.best_ratio(v):.3f} |"
            for v in result.seconds
        ]
    return [
        f"| {result.name} | {v} | {value:.4g} {result.unit} "
        f"| {f'{result.ratio(v):.3f}' if result.compared else ''} |"
        for v, value in result.values.items()
    ]


def head(result: Timing | Figures) -> list[str]:
    """The first two lines of the table that results of this kind stand in."""
    if isinstance(result, Timing):
        return [
            "| | variant | median ms | best ms | ratio of medians | ratio of bests |",
            "|---|---|---:|---:|---:|---:|",
        ]
    return ["| | variant | value | ratio |", "|---|---|---:|---:|"]


class Record:
    """A file that results are added to, each as soon as it is there; what it has, it keeps.

    Args:
        path: of the file.
        heading: of the section that the results make.
    """

    def __init__(self, path: Path, heading: str):
        self.path = path
        self.results: list[Timing | Figures] = []
        if not path.exists():
            self._write("# Results", "", "Each run of `python -m benchmarks` adds its own.")
        self._write("", *self._printed(heading))

    def add(self, result: Timing | Figures) -> None:
        if not self.results or type(self.results[-1]) is not type(result):
            self._write(*self._printed("", *head(result)))
        self._write(*self._printed(*rows(result)))
        self.results.append(result)

    def remark(self, text: str) -> None:
        self._write(*self._printed("", text))

    def _printed(self, *lines: str) -> tuple[str, ...]:
        print(*lines, sep="\n", flush=True)
        return lines

    def _write(self, *lines: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)


def draw(path: Path, title: str, results: Sequence[Timing | Figures]) -> None:
    """A bar per network and variant: its ratio to the base, which stands at one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    results = [r for r in results if isinstance(r, Timing) or r.compared]
    rows = []
    for r in results:
        names = list(r.seconds if isinstance(r, Timing) else r.values)
        rows += [(f"{r.name}: {v}", r.ratio(v)) for v in names[1:]]
    if not 0 < len(rows) <= MOST_BARS:
        return
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.35 * len(rows)))
    labels, ratios = zip(*rows, strict=True)
    more = any(isinstance(r, Figures) and r.more_is_better for r in results)
    good = [more or r <= 1.05 for r in ratios]
    bars = axes.barh(labels, ratios, color=["#2a7" if g else "#c73" for g in good])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(0, max(1.2, *ratios) * 1.1)
    axes.invert_yaxis()
    better = "more" if more else "less"
    bases = " or ".join(dict.fromkeys(r.base for r in results))
    axes.set_xlabel(f"relative to {bases} (1 = the same, {better} is better)")
    axes.set_title(title)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
