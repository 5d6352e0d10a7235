"""What a network says of each attribute of a whole test set, counted batch by batch."""

from __future__ import annotations

import numpy as np


class AttributeTable:
    """Per attribute: true and false, positives and negatives, and what follows from them.

    Args:
        names: of the attributes; None numbers them. Defaults to None.
        threshold: float, above which an answer is yes. Defaults to 0.5.

    Example:

    >>> from keras_mg.metrics import AttributeTable
    >>> table = AttributeTable(["round", "red"])
    >>> table.update([[1, 0], [1, 1], [0, 0]], [[0.9, 0.2], [0.1, 0.8], [0.7, 0.1]])
    >>> [(row["attribute"], row["f1"]) for row in table.rows()]  # the best first
    [('red', 1.0), ('round', 0.5)]
    >>> table.figures()
    {'mean_f1': 0.75, 'mean_accuracy': 0.6666666666666666}
    """

    def __init__(self, names: list[str] | None = None, threshold: float = 0.5):
        self.names, self.threshold = names, threshold
        self._counts: np.ndarray | None = None  # rows TP, TN, FP, FN

    def update(self, bits, answers) -> None:
        """Counts a batch.

        Args:
            bits: zeros and ones `(batch, attributes)`, the truth.
            answers: numbers of the same shape.

        Raises:
            ValueError: for other shapes.
        """
        true, said = np.asarray(bits) > 0.5, np.asarray(answers) > self.threshold
        if true.ndim != 2 or true.shape != said.shape:
            raise ValueError(
                "Truth and answers must be (batch, attributes), of one shape. Received: "
                f"{true.shape}, {said.shape}"
            )
        if self.names is not None and len(self.names) != true.shape[1]:
            raise ValueError(
                f"{len(self.names)} names are of as many attributes. Received: {true.shape[1]}"
            )
        self.add(np.stack([true & said, ~true & ~said, ~true & said, true & ~said]).sum(1))

    def add(self, counts) -> None:
        """Adds what was counted elsewhere.

        Args:
            counts: integers `(4, attributes)`: true positives, true negatives, false positives and
                false negatives.
        """
        counts = np.asarray(counts)
        self._counts = counts if self._counts is None else self._counts + counts

    def rows(self) -> list[dict]:
        """Per attribute, sorted by F1, the best first; what is undefined, a None, comes last."""
        counts = np.zeros((4, 0), "int64") if self._counts is None else self._counts
        rows = []
        for i, (tp, tn, fp, fn) in enumerate(counts.T.tolist()):
            rows.append(
                {
                    "attribute": i if self.names is None else self.names[i],
                    "tp": tp,
                    "tn": tn,
                    "fp": fp,
                    "fn": fn,
                    "accuracy": (tp + tn) / max(1, tp + tn + fp + fn),
                    "precision": _fraction(tp, tp + fp),
                    "recall": _fraction(tp, tp + fn),
                    "f1": _f1(tp, fp, fn),
                }
            )
        return sorted(rows, key=lambda row: -1.0 if row["f1"] is None else row["f1"], reverse=True)

    def figures(self) -> dict[str, float]:
        """`mean_f1` over the attributes whose F1 is defined, and `mean_accuracy` over all.

        F1 is 2 P R / (P + R) of precision and recall, which is undefined where nothing is right.
        """
        rows = self.rows()
        defined = [row["f1"] for row in rows if row["f1"] is not None]
        return {
            "mean_f1": float(np.mean(defined)) if defined else 0.0,
            "mean_accuracy": float(np.mean([row["accuracy"] for row in rows])) if rows else 0.0,
        }


def _fraction(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _f1(tp: int, fp: int, fn: int) -> float | None:
    return 2 * tp / (2 * tp + fp + fn) if tp else None
