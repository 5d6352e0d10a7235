"""Several runs of one recipe as one result: mean and spread."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_mg._files import expand
from keras_mg.recipes import _runs
from keras_mg.recipes.opening import read_result
from keras_mg.visualization.history import plot_history


def summarize(
    folders: Sequence[str | os.PathLike],
    output_dir: str | os.PathLike | None = None,
    window: int = 10,
    report: Callable[[str], object] = lambda text: None,
) -> dict[str, Any]:
    """Sums up runs of one recipe with different seeds.

    The figures are those after the last epoch. The standard deviation is that of a sample, with one
    less than the number of runs in the denominator; a single run has none. With `output_dir`,
    `summary.json` is written there and, where matplotlib is installed, `curves.png`: the mean of
    the runs' rolling averages, in a band of one standard deviation to both sides.

    Args:
        folders: of finished runs, as `train` leaves them.
        output_dir: folder, made if it is not there; None writes nothing. Defaults to None.
        window: int, epochs that a point of the curves averages. Defaults to 10.
        report: called with a table, for people. By default nothing is said.

    Returns:
        A dictionary: `recipe`, `seeds`, `folders`, and `test` and `validation`, of which each has
        by figure `mean`, `std` and `values`.

    Raises:
        ValueError: if a folder holds no finished run, one comes twice, or the runs differ in more
            than the seed.

    Example:
        `summarize([f"outputs/{seed}" for seed in range(5)], "outputs/summary", report=print)`
    """
    paths = [expand(folder) for folder in folders]
    if not paths:
        raise ValueError("There must be a run to sum up. Received no folder")
    if len({path.resolve() for path in paths}) < len(paths):
        shown = ", ".join(map(str, paths))
        raise ValueError(f"A run counts once. Received a folder twice: {shown}")
    results = [read_result(path) for path in paths]
    for path, result in zip(paths[1:], results[1:], strict=True):
        _runs.same_but_seed(paths[0], results[0], path, result)
    summary: dict[str, Any] = {
        "recipe": results[0]["recipe"],
        "folders": [str(path) for path in paths],
        "seeds": [result["seed"] for result in results],
        **{
            part: {name: _spread([r[part][name] for r in results]) for name in results[0][part]}
            for part in ("test", "validation")
        },
    }
    if output_dir is not None:
        folder = expand(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        _runs.write_json(folder / "summary.json", summary)
        if _runs.can_draw():
            histories = [_runs.columns(result["history"]) for result in results]
            title = f"{summary['recipe']['name']}, {len(paths)} runs, over {window} epochs"
            plot_history(folder / _runs.CURVES, histories, window, title)
    report(_shown(summary))
    return summary


def _spread(values: list[float]) -> dict[str, Any]:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": std, "values": values}


def _shown(summary: dict[str, Any]) -> str:
    seeds = ", ".join(map(str, summary["seeds"]))
    lines = [f"{summary['recipe']['name']}, {len(summary['seeds'])} runs, seeds {seeds}:"]
    for part in ("test", "validation"):
        for name, each in sorted(summary[part].items()):
            spread = "" if each["std"] is None else f" ± {each['std']:.4f}"
            lines.append(f"{part} {name} {each['mean']:.4f}{spread}")
    return "\n".join(lines)
