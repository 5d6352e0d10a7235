"""What was measured, where and with what: text, a picture, and a file of all results."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.timing import Timing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
MOST_BARS = 48  # of a picture that can still be read
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


def commit(root: Path = ROOT) -> str | None:
    """The commit that `root` is at, and whether its files differ; None where git knows none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    if not (root / ".git").exists():
        return None  # git would look for a repository around it
    try:
        name = git("rev-parse", "--short", "HEAD")
        # What the runs themselves write changes nothing that is measured.
        written = (":!benchmarks/RESULTS.md", ":!benchmarks/*.png")
        changes = git("status", "--porcelain", "--", ".", *written)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{name} + changes" if changes else name


def heading(case: str, device: str, threads: int, notes: str) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    at = commit()
    source = versions() if at is None else f"{versions()}, commit {at}"
    return f"## {case}, {now}\n\n{hardware(device, threads)}; {source}. {notes}"


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


GOOD, BAD, NEUTRAL = "#2a7", "#c73", "#999"
MOST = 1.05  # times the base that a variant of ours may take


def colour(result: Timing | Figures, variant: str) -> str:
    """Of a bar: only what is ours, and where less is better, is judged."""
    more = isinstance(result, Figures) and result.more_is_better
    if more or not variant.startswith(("keras_mg", "deployed")):
        return NEUTRAL
    return GOOD if result.ratio(variant) <= MOST else BAD


def picture(title: str, results: Sequence[Timing | Figures]) -> Figure | None:
    """A bar per network and variant: its ratio to the base, which stands at one.

    None if there is no bar, or more than can be read.
    """
    from matplotlib.figure import Figure

    results = [r for r in results if isinstance(r, Timing) or r.compared]
    bars = []
    for r in results:
        variants = list(r.seconds if isinstance(r, Timing) else r.values)
        bars += [(f"{r.name}: {v}", r.ratio(v), colour(r, v)) for v in variants[1:]]
    if not 0 < len(bars) <= MOST_BARS:
        return None
    figure = Figure(figsize=(8, 1.2 + 0.35 * len(bars)))
    axes = figure.subplots()
    labels, ratios, colours = zip(*bars, strict=True)
    axes.barh(labels, ratios, color=colours)
    for row, ratio in enumerate(ratios):
        # Never left of the line at one, which would cross it.
        place = {"textcoords": "offset points", "xytext": (3, 0), "va": "center"}
        axes.annotate(f"{ratio:.2f}", (max(1, ratio), row), **place)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(0, max(1.2, *ratios) * 1.1)
    axes.invert_yaxis()
    more = any(isinstance(r, Figures) and r.more_is_better for r in results)
    better = "more" if more else "less"
    bases = " or ".join(dict.fromkeys(r.base for r in results))
    axes.set_xlabel(f"relative to {bases} (1 = the same, {better} is better)")
    axes.set_title(title)
    return figure


def draw(path: Path, title: str, results: Sequence[Timing | Figures]) -> None:
    """Save the picture, where there is one."""
    figure = picture(title, results)
    if figure is not None:
        figure.savefig(path, dpi=120, bbox_inches="tight")
