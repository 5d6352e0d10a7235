"""Runs of one recipe as mean and spread."""

import copy
import json
import statistics

import pytest

from keras_mg.cli import main
from keras_mg.recipes import get_recipe, summarize

ROWS = [
    [{"epoch": 0, "loss": 2.0, "val_loss": 3.0}, {"epoch": 1, "loss": 1.0, "val_loss": 2.0}],
    [{"epoch": 0, "loss": 4.0, "val_loss": 5.0}, {"epoch": 1, "loss": 3.0, "val_loss": 2.5}],
    [{"epoch": 0, "loss": 1.0, "val_loss": 1.0}, {"epoch": 1, "loss": 0.5, "val_loss": 0.5}],
]
ACCURACIES = [0.91, 0.934, 0.92]
RECORD = json.loads(json.dumps(get_recipe("resnet20-cifar10").record()))


@pytest.fixture
def runs(tmp_path):
    folders = []
    for seed, (rows, accuracy) in enumerate(zip(ROWS, ACCURACIES, strict=True)):
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        result = {
            "recipe": copy.deepcopy(RECORD),
            "seed": seed,
            "images": {"train": 50_000},
            "model": "resnet20",
            "trainable_parameters": 271_886,
            "test": {"accuracy": accuracy, "loss": 0.3},
            "validation": {"loss": rows[-1]["val_loss"]},
            "history": rows,
        }
        (folder / "result.json").write_text(json.dumps(result))
        folders.append(folder)
    return folders


def test_mean_and_standard_deviation(runs, tmp_path):
    said = []
    summary = summarize(runs, tmp_path / "summary", report=said.append)
    accuracy = summary["test"]["accuracy"]
    assert accuracy["mean"] == pytest.approx(statistics.mean(ACCURACIES))
    assert accuracy["std"] == pytest.approx(statistics.stdev(ACCURACIES))
    assert accuracy["values"] == ACCURACIES
    assert summary["test"]["loss"]["std"] == 0
    assert summary["seeds"] == [0, 1, 2]
    assert json.loads((tmp_path / "summary" / "summary.json").read_text()) == summary
    assert "resnet20-cifar10, 3 runs, seeds 0, 1, 2:" in said[0]
    assert f"test accuracy 0.9213 ± {statistics.stdev(ACCURACIES):.4f}" in said[0]


def test_the_curves_are_of_all_runs(runs, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from keras_mg.recipes import summary

    drawn = []
    real = summary.plot_history
    monkeypatch.setattr(summary, "plot_history", lambda *a: drawn.append(a) or real(*a))
    summarize(runs, tmp_path / "summary", window=2)
    (_, histories, window, _), path = drawn[0], tmp_path / "summary" / "curves.png"
    assert histories[1] == {"loss": [4.0, 3.0], "val_loss": [5.0, 2.5]}
    assert window == 2
    assert path.stat().st_size > 1000


def test_one_run_has_no_spread(runs):
    assert summarize(runs[:1])["test"]["accuracy"]["std"] is None


def changed(folder, **changes):
    path = folder / "result.json"
    result = json.loads(path.read_text())
    result["recipe"] |= changes
    path.write_text(json.dumps(result))


def test_runs_that_do_not_belong_together(runs, tmp_path):
    with pytest.raises(ValueError, match="A run counts once. Received a folder twice"):
        summarize([runs[0], runs[1], runs[0]])
    with pytest.raises(ValueError, match="There must be a run"):
        summarize([])
    with pytest.raises(ValueError, match="holds no finished run"):
        summarize([runs[0], tmp_path])
    changed(runs[1], batch_size=64)
    message = "run0 and .*run1 are not runs of one recipe: recipe.batch_size 128 and 64"
    with pytest.raises(ValueError, match=message):
        summarize(runs)
    (runs[0] / "result.json").write_text("[]")
    with pytest.raises(ValueError, match="holds no finished run"):
        summarize(runs)


def test_the_command_line(runs, tmp_path, capsys):
    assert main(["summarize", *map(str, runs), "--output-dir", str(tmp_path / "out")]) == 0
    assert "3 runs" in capsys.readouterr().out
    assert (tmp_path / "out" / "summary.json").exists()
    assert main(["summarize", str(tmp_path)]) == 2
    assert "holds no finished run" in capsys.readouterr().err
