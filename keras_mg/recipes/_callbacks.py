"""What watches a run by a recipe, and its data when it goes on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_mg._files import replacing
from keras_mg.metrics.attribute_table import AttributeTable
from keras_mg.recipes import _runs
from keras_mg.recipes._tables import write_csv
from keras_mg.recipes.recipe import Recipe
from keras_mg.training.checkpoint import Checkpoint

_WATCHED = 50  # steps from one look at the loss to the next: each look waits for the device


class StopOnNaN(keras.callbacks.TerminateOnNaN):
    """Looks at the loss every so many steps. It is the epoch's mean, so a NaN stays in it."""

    def on_batch_end(self, batch, logs=None):
        if batch % _WATCHED == 0:
            super().on_batch_end(batch, logs)


class WriteHistory(keras.callbacks.Callback):
    """Writes history.csv after each epoch, of the rows that the checkpoint has."""

    def __init__(self, path: Path, checkpoint: Checkpoint):
        super().__init__()
        self.path, self.checkpoint = path, checkpoint

    def on_epoch_end(self, epoch, logs=None):
        _runs.write_history(self.path, self.checkpoint.history)


class WriteAttributes(keras.callbacks.Callback):
    """Writes what the validation of each epoch counted of each attribute, the best F1 first.

    The counts are those of the recipe's F1 score. The file is written whole, with the rows of the
    epochs before, so that an epoch that is trained once more has its rows once.

    Args:
        path: of the file.
        names: of the attributes.
        objects: int, to validate on.
    """

    def __init__(self, path: Path, names: list[str], objects: int):
        super().__init__()
        self.path, self.names, self.objects = path, names, objects

    def on_epoch_end(self, epoch, logs=None):
        score = self._score()
        if score is None:
            return
        counts = [
            keras.ops.convert_to_numpy(each).astype(int)
            for each in (score.true_positives, score.false_positives, score.false_negatives)
        ]
        tp, fp, fn = counts
        table = AttributeTable(self.names)
        table.add(np.stack([tp, self.objects - tp - fp - fn, fp, fn]))
        rows = [{"epoch": epoch, **row} for row in table.rows()]
        write_csv(self.path, [*self._before(epoch), *rows])

    def _score(self) -> keras.metrics.F1Score | None:
        metrics = [each for outer in self.model.metrics for each in getattr(outer, "metrics", ())]
        return next((each for each in metrics if isinstance(each, keras.metrics.F1Score)), None)

    def _before(self, epoch: int) -> list[dict[str, Any]]:
        if not epoch or not self.path.exists():
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            return [row for row in csv.DictReader(file) if int(row["epoch"]) < epoch]


class Goal(NamedTuple):
    """By which figure an epoch is better than another."""

    figure: str
    sign: int  # 1 where higher is better, -1 where lower is

    def best(self, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The first of the best rows; None where there is none."""
        seen = [row for row in rows if np.isfinite(row.get(self.figure, np.nan))]
        return max(seen, key=lambda row: self.sign * row[self.figure]) if seen else None


def goal_of(recipe: Recipe) -> Goal:
    """The first metric on the validation data, or the loss where a recipe has no metric."""
    if recipe.metrics:
        return Goal(f"val_{recipe.metrics[0]().name}", 1)
    return Goal("val_loss", -1)


class KeepBest(keras.callbacks.Callback):
    """Saves the model after an epoch that is better than all before.

    It stands before the checkpoint: killed between the two, the epoch is trained once more.
    """

    def __init__(self, path: Path, goal: Goal, checkpoint: Checkpoint):
        super().__init__()
        self.path, self.goal, self.checkpoint = path, goal, checkpoint

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch, **(logs or {})}
        if self.goal.best([*self.checkpoint.history, row]) is row:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as part:
                self.model.save(part)


class Unread(keras.utils.PyDataset):
    """Data whose first batches of one epoch are not made: they are not trained on.

    In their place comes the batch after them.

    Args:
        data: with an `epoch`.
        epoch: int, that a run goes on in.
        steps: int, that have been trained on in it.
    """

    def __init__(self, data: Any, epoch: int, steps: int):
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self.data, self.place, self._next = data, (epoch, steps), None

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int):
        epoch, steps = self.place
        if self.data.epoch != epoch or index >= steps:
            return self.data[index]
        if self._next is None:
            self._next = self.data[min(steps, len(self) - 1)]
        return self._next

    def on_epoch_begin(self) -> None:
        self.data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.data.on_epoch_end()
