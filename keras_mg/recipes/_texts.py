"""What a run says to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_mg.recipes import _runs
from keras_mg.recipes.data import Splits
from keras_mg.recipes.recipe import Recipe
from keras_mg.training.checkpoint import Checkpoint


def opening(
    recipe: Recipe,
    data: Splits,
    settings: Mapping[str, Any],
    folder: Path,
    earlier: Sequence[str],
    resumed_after: tuple[int, int] | None,
) -> str:
    """What is about to be trained on what, in a few lines."""
    lines = [
        f"Data: {data.description}",
        f"Network: {settings['model']}, {settings['trainable_parameters']:,} trainable parameters.",
        f"Recipe: {recipe.name}, {recipe.epochs} epochs of {len(data.train):,} steps of "
        f"{recipe.batch_size}.",
    ]
    lines += [f"Not as published: {difference}" for difference in recipe.differs]
    if resumed_after is not None:
        lines.append(f"{folder} holds an interrupted run: going on after {_place(resumed_after)}.")
    elif earlier:
        lines.append(
            f"{folder} holds {', '.join(earlier)} of an earlier run: replaced after training."
        )
    return "\n".join(lines)


def _place(saved: tuple[int, int]) -> str:
    epoch, step = saved
    return f"epoch {epoch}" + (f" and {step} steps of the next" if step else "")


def stopped(folder: Path, checkpoint: Checkpoint | None) -> str:
    """What is left of a run that was stopped."""
    if checkpoint is None or checkpoint.last_saved is None:
        return "Stopped before anything was saved: the same command begins anew."
    return (
        f"Stopped; {folder} holds the run after {_place(checkpoint.last_saved)}: the same command "
        "goes on from there."
    )


def _figures(recipe: Recipe, result: dict) -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in sorted(result["test"].items()))
    claims = "".join(f"; published {name} {value:.4f}" for name, value in recipe.claims.items())
    return f"on {result['images']['test']:,} test images: {figures}{claims}"


def finished(recipe: Recipe, result: dict, folder: Path) -> str:
    """That there is nothing left to do."""
    return (
        f"{folder} holds this run, finished; {_figures(recipe, result)}.\n"
        f"{_written(recipe, folder)}\n"
        f"Delete {folder / 'result.json'} to train it anew, or give another output folder."
    )


def _written(recipe: Recipe, folder: Path) -> str:
    files = [name for name in (*_runs.FILES, *recipe.pictures) if (folder / name).exists()]
    return f"Written to {folder.resolve()}: {', '.join(files)}"


def closing(recipe: Recipe, result: dict, folder: Path) -> str:
    """What was measured, and where it is."""
    lines = [
        f"After the last of {recipe.epochs} epochs, {_figures(recipe, result)}; "
        f"{result['seconds']:.0f} s.",
        "The saved model, loaded back, does the same (largest difference "
        f"{result['difference_after_reload']:g}).",
        _written(recipe, folder),
    ]
    if recipe.remarks is not None:
        lines += ["", recipe.remarks(result)]
    return "\n".join(lines)
