"""Figures of a whole test set, counted batch by batch: of classes, and of maps that may overlap."""

from __future__ import annotations

import numpy as np

from keras_mg.layers.arguments import positive_int

TOP = 5


class ClassTable:
    """Top-1 and top-5 accuracy, the confusion matrix, and a row per class.

    Args:
        classes: int, of the scores.

    Example:

    >>> from keras_mg.metrics import ClassTable
    >>> table = ClassTable(3)
    >>> table.update([0, 1, 1], [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2]])
    >>> table.confusion_matrix.tolist()  # rows are true, columns predicted
    [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    >>> table.rows()[1]
    {'class': 1, 'images': 2, 'predicted': 1, 'correct': 1, 'recall': 0.5, 'precision': 1.0}
    """

    def __init__(self, classes: int):
        self.classes = positive_int("classes", classes)
        self.confusion_matrix = np.zeros((classes, classes), "int64")
        self._in_top = 0

    def update(self, labels, scores) -> None:
        """Counts a batch.

        Args:
            labels: integers `(batch,)`, the true classes.
            scores: numbers `(batch, classes)`, of which the largest is the predicted class; of
                equal ones the first.

        Raises:
            ValueError: for other shapes, or a label that is no class.
        """
        labels, scores = np.asarray(labels), np.asarray(scores)
        if scores.shape != (len(labels), self.classes) or labels.ndim != 1:
            raise ValueError(
                f"The labels must be of shape (batch,), the scores (batch, {self.classes}). "
                f"Received: labels {labels.shape}, scores {scores.shape}"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.classes:
            raise ValueError(
                f"A label must be a class from 0 to {self.classes - 1}. Received: labels from "
                f"{labels.min()} to {labels.max()}"
            )
        order = np.argsort(-scores, axis=1, kind="stable")
        np.add.at(self.confusion_matrix, (labels, order[:, 0]), 1)
        self._in_top += int((order[:, :TOP] == labels[:, None]).sum())

    def figures(self) -> dict[str, float]:
        """`top_1` and, of more than five classes, `top_5`: the fractions of right images."""
        images = max(1, int(self.confusion_matrix.sum()))
        figures = {"top_1": float(np.trace(self.confusion_matrix)) / images}
        return figures | ({"top_5": self._in_top / images} if self.classes > TOP else {})

    def rows(self) -> list[dict]:
        """Per class: its images, those predicted as it, the right ones, recall and precision.

        A fraction of nothing is None.
        """
        counts = self.confusion_matrix
        columns = (counts.sum(1), counts.sum(0), np.diag(counts))
        return [
            {
                "class": i,
                "images": int(images),
                "predicted": int(predicted),
                "correct": int(correct),
                "recall": _fraction(correct, images),
                "precision": _fraction(correct, predicted),
            }
            for i, (images, predicted, correct) in enumerate(zip(*columns, strict=True))
        ]


class MapTable:
    """Figures of binary maps: those of the multigrid authors' notebook and script, and per map.

    Pixels are counted over everything seen. A map in which nothing is true and nothing predicted is
    left out of the means; one in which something is true and nothing predicted counts 0.

    Args:
        threshold: float, the smallest value of a pixel that belongs to a map. Defaults to 0.5.

    Example:

    >>> from keras_mg.metrics import MapTable
    >>> import numpy as np
    >>> table = MapTable()
    >>> true = np.array([[[[1, 0], [1, 0]]]])  # an image of two pixels, of two maps
    >>> table.update(true, np.array([[[[0.9, 0.1], [0.2, 0.8]]]]))
    >>> table.figures()
    {'mean_iu': 0.25, 'mean_accuracy': 0.5, 'script_mean_iu': 0.3333333333333333}
    """

    def __init__(self, threshold: float = 0.5):
        self.threshold = threshold
        self._counts: np.ndarray | None = None  # rows TP, FP, FN
        self._images, self._script = 0, 0.0

    def update(self, true_maps, predicted_maps) -> None:
        """Counts a batch.

        Args:
            true_maps: `(batch, height, width, maps)`.
            predicted_maps: of the same shape.

        Raises:
            ValueError: for other shapes.
        """
        true, predicted = (
            np.asarray(maps) >= self.threshold for maps in (true_maps, predicted_maps)
        )
        if true.ndim != 4 or true.shape != predicted.shape:
            raise ValueError(
                "True and predicted maps must be 4D and of one shape. Received: "
                f"{true.shape}, {predicted.shape}"
            )
        each = np.stack([true & predicted, ~true & predicted, true & ~predicted]).sum((2, 3))
        total = each.sum(1, dtype="int64")
        self._counts = total if self._counts is None else self._counts + total
        pooled = each.sum(2)
        present = true.any((1, 2)).sum(1)
        counted = present > 0
        ratios = pooled[0][counted] / pooled.sum(0)[counted]
        self._script += float((ratios / present[counted]).sum())
        self._images += int(counted.sum())

    def figures(self) -> dict[str, float]:
        """`mean_iu`, `mean_accuracy` and `script_mean_iu`.

        - `mean_iu`: the mean over maps of TP / (TP + FP + FN), as `MeanIU`.
        - `mean_accuracy`: the mean over maps of TP / predicted pixels, which the authors call so.
        - `script_mean_iu`: what their test script prints under the name of mean IU: of an image,
          TP / (TP + FP + FN) of all maps together, divided by the number of maps in which
          something is true; the mean over images.
        """
        rows = self.rows()

        def mean(key: str) -> float:
            seen = [row for row in rows if row["iu"] is not None]
            return float(np.mean([row[key] or 0.0 for row in seen])) if seen else 0.0

        return {
            "mean_iu": mean("iu"),
            "mean_accuracy": mean("precision"),
            "script_mean_iu": self._script / max(1, self._images),
        }

    def rows(self) -> list[dict]:
        """Per map: true and predicted pixels, those that are both, IU, recall and precision.

        A fraction of nothing is None.
        """
        counts = np.zeros((3, 0), "int64") if self._counts is None else self._counts
        return [
            {
                "map": i,
                "pixels": int(hit + missed),
                "predicted": int(hit + wrong),
                "correct": int(hit),
                "iu": _fraction(hit, hit + wrong + missed),
                "recall": _fraction(hit, hit + missed),
                "precision": _fraction(hit, hit + wrong),
            }
            for i, (hit, wrong, missed) in enumerate(counts.T)
        ]


def _fraction(part, whole) -> float | None:
    return float(part / whole) if whole else None
