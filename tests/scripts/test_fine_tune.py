"""The fine-tuning example on the embedded digits."""

import re
import runpy
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_mg.applications import ResNet20

pytest.importorskip("sklearn")
SCRIPT = Path(__file__).parents[2] / "examples" / "fine_tune.py"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nothing prepared"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        names = runpy.run_path(str(SCRIPT), run_name="__main__")
        return names, capsys.readouterr().out

    return run


def test_what_training_is_worth(run, monkeypatch):
    """The trunk stays while it is frozen and moves afterwards; the figures are real ones."""
    seen, starts = [], []
    fit = keras.Model.fit

    def spy(self, *args, **kwargs):
        before = [np.array(w) for w in self.get_weights()]
        history = fit(self, *args, **kwargs)
        moved = [not np.array_equal(a, b) for a, b in zip(before, self.get_weights(), strict=True)]
        seen.append(moved)
        starts.append(before)
        return history

    monkeypatch.setattr(keras.Model, "fit", spy)
    names, output = run("--samples", 40, "--epochs", 1)
    assert "digits: 40 images to train on, 450 others to test on" in output
    assert sorted(names["y"].tolist()) == sorted(list(range(10)) * 4)
    frozen, *others = seen
    assert frozen == [False] * (len(frozen) - 2) + [True, True]  # the head alone
    assert len(others) == 3
    assert all(all(moved) for moved in others)
    shipped = ResNet20(weights="cifar10").get_weights()
    np.testing.assert_array_equal(starts[0][0], shipped[0])
    assert not np.array_equal(starts[2][0], shipped[0])
    rows = re.findall(r"^(weights|random).*?(\d\.\d{3}) +(\d\.\d{3})$", output, re.M)
    assert [row[0] for row in rows] == ["weights", "random"]
    assert all(0 <= float(figure) <= 1 for row in rows for figure in row[1:])


def test_starts_from_weights_of_ones_own(run, tmp_path, monkeypatch):
    other = ResNet20()
    other.set_weights([w + 0.5 for w in other.get_weights()])
    other.save_weights(tmp_path / "own.weights.h5")
    seen = []
    compile_ = keras.Model.compile

    def spy(self, *args, **kwargs):
        seen.append(self.get_weights())
        return compile_(self, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "compile", spy)
    run("--samples", 20, "--epochs", 1, "--weights", tmp_path / "own.weights.h5")
    np.testing.assert_array_equal(seen[0][0], other.get_weights()[0])


def test_data_that_are_not_there(run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("--dataset", "mnist", "--data-dir", tmp_path)
    assert "mnist" in capsys.readouterr().err
