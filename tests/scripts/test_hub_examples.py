import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("keras_hub")

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORT = ("--filters", "4", "--steps", "3", "--batch-size", "2", "--test", "2")


class Oracle:
    """Predicts the truth, moved, with other names, or moved once more besides."""

    def __init__(self, truth, far=(0, 0, 0, 0), names=0, again=None):
        boxes, labels = truth["boxes"], truth["labels"]
        first = np.argsort(labels < 0, axis=1, kind="stable")  # those that are there
        boxes = np.take_along_axis(boxes, first[..., None], 1) + np.array(far)
        labels = (np.take_along_axis(labels, first, 1) + names) % 10
        count = (truth["labels"] >= 0).sum(1)
        if again is not None:
            twice = [[*b[:n], *(b[:n] + again)] for b, n in zip(boxes, count, strict=True)]
            named = [[*x[:n], *x[:n]] for x, n in zip(labels, count, strict=True)]
            count = 2 * count
            boxes, labels = np.zeros((len(count), 4, 4)), np.zeros((len(count), 4))
            for i, n in enumerate(count):
                boxes[i, :n], labels[i, :n] = twice[i], named[i]
        self.made = {"boxes": boxes, "labels": labels, "num_detections": count}

    def predict(self, canvases, verbose):
        return self.made


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # of levels that nothing reads
@pytest.mark.parametrize(
    ("name", "figure"), [("hub_segmenter", "mean_iu on"), ("hub_detector", "found of")]
)
def test_a_short_run_trains_and_measures(monkeypatch, capsys, name, figure):
    monkeypatch.setattr(sys, "argv", [name, *SHORT])
    ran = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    out = capsys.readouterr().out
    (line,) = re.findall(f"^{figure} the test digits: (\\S+) before, (\\S+) after", out, re.M)
    assert all(0 <= float(value) <= 1 for value in line)
    trunk, model = ran["trunk"], ran["model"]
    assert {v.path for v in trunk.weights} <= {v.path for v in model.weights}
    if name == "hub_detector":
        found, (canvases, truth) = ran["found"], ran["draw"]("test", 8)
        assert found(Oracle(truth), canvases, truth) == (1, 1)
        assert found(Oracle(truth, far=[40, 0, 40, 0]), canvases, truth) == (0, 0)
        assert found(Oracle(truth, names=1), canvases, truth) == (0, 0)
        # Each digit once more, where none is.
        assert found(Oracle(truth, again=[40, 0, 40, 0]), canvases, truth) == (1, 0.5)
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 100
