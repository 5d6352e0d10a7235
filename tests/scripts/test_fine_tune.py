"""The fine-tuning example on the embedded digits and on a prepared CIFAR-10 of its own."""

import re
import runpy
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_mg.applications import MgNet

SCRIPT = Path(__file__).parents[2] / "examples" / "fine_tune.py"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nothing prepared"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        names = runpy.run_path(str(SCRIPT), run_name="__main__")
        return names, capsys.readouterr().out

    return run


def test_on_the_embedded_digits(run):
    names, output = run("--samples", 64, "--epochs", 1, "--filters", 4)
    assert "Data: the embedded digits, 64 images to train on, 64 others to test on." in output
    accuracies = re.findall(r"Extractor (\w+): test accuracy (\d\.\d{3})", output)
    assert [phase for phase, _ in accuracies] == ["frozen", "trained"]
    # The last figure is the model's real accuracy.
    predicted = names["model"].predict(names["x_test"], verbose=0).argmax(-1)
    assert float(accuracies[1][1]) == pytest.approx((predicted == names["y_test"]).mean(), abs=5e-4)


def test_frozen_weights_stay_and_then_move(run, monkeypatch):
    seen = []
    fit = keras.Model.fit

    def spy(self, *args, **kwargs):
        before = [np.array(w) for w in self.get_weights()]
        history = fit(self, *args, **kwargs)
        moved = [not np.array_equal(a, b) for a, b in zip(before, self.get_weights(), strict=True)]
        seen.append(moved)
        return history

    monkeypatch.setattr(keras.Model, "fit", spy)
    run("--samples", 64, "--epochs", 1, "--filters", 4)
    frozen, trained = seen
    assert frozen == [False] * (len(frozen) - 2) + [True, True]  # the head alone
    assert all(trained)


def test_starts_from_weights_of_ones_own(run, tmp_path):
    other = MgNet(filters=4, include_top=False, input_shape=(32, 32, 3), pooling="avg")
    other.set_weights([w + 0.5 for w in other.get_weights()])
    other.save_weights(tmp_path / "own.weights.h5")
    seen = []
    original = keras.Model.compile

    def spy(self, *args, **kwargs):
        seen.append(self.get_weights())
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "compile", spy)
        weights = tmp_path / "own.weights.h5"
        run("--samples", 32, "--epochs", 1, "--filters", 4, "--weights", weights)
    for a, b in zip(seen[0], other.get_weights(), strict=False):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("named", [True, False], ids=["--data-dir", "TFDS_DATA_DIR"])
def test_on_cifar10(run, monkeypatch, tmp_path, named):
    """A stand-in for tfds.data_source: the prepared data set itself is no part of the tests."""
    asked = []

    def data_source(name, split, data_dir, download):
        asked.append((name, split, data_dir, download))
        rng = np.random.default_rng(0)
        return [
            {"image": rng.integers(0, 256, (32, 32, 3)).astype("uint8"), "label": i % 10}
            for i in range(48)
        ]

    module = types.ModuleType("tensorflow_datasets")
    module.data_source = data_source
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    (tmp_path / "cifar10").mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    where = ("--data-dir", tmp_path) if named else ()
    _, output = run(*where, "--samples", 40, "--epochs", 1, "--filters", 4)
    assert "Data: CIFAR-10, 40 images to train on, 40 others to test on." in output
    assert asked == [("cifar10", s, str(tmp_path), False) for s in ("train", "test")]


def test_a_folder_without_cifar10_is_refused(run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("--data-dir", tmp_path)
    assert f"--data-dir: no prepared cifar10 in {tmp_path}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
