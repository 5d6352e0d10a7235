"""The demo: a short run does all that a long one does; mistakes are found before training."""

import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_mg.datasets import ScatteredDigits

SCRIPT = Path(__file__).parents[2] / "applications" / "multigrid" / "segment_digits.py"


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("segment_digits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VALIDATION_CANVASES", 8)
    monkeypatch.setattr(module, "TEST_CANVASES", 20)
    return module


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def no_training(monkeypatch):
    def fit(*args, **kwargs):
        raise AssertionError("training began")

    monkeypatch.setattr(keras.Model, "fit", fit)


def test_a_short_run_writes_everything(script, tmp_path, capsys):
    folder = tmp_path / "a" / "b"
    script.main(["--epochs", "1", "--steps", "3", "--output-dir", str(folder), "--seed", "5"])
    assert sorted(contents(folder)) == ["model.keras", "results.json", "segmentation.png"]
    with Image.open(folder / "segmentation.png") as picture:
        assert min(picture.size) > 600

    results = json.loads((folder / "results.json").read_text())
    assert (results["network"], results["epochs"], results["seed"]) == ("pmg-small", 1, 5)
    assert results["difference_after_reload"] <= 1e-6
    # The figures are those of the saved model on the test canvases.
    model = keras.saving.load_model(folder / "model.keras")
    test = ScatteredDigits("test", 20, batch_size=20)
    again = model.evaluate(test, verbose=0, return_dict=True)
    assert again["mean_iu"] == pytest.approx(results["mean_iu"], abs=1e-6)
    assert again["loss"] == pytest.approx(results["test_loss"], rel=1e-4)
    assert model.count_params() == results["parameters"]

    output = capsys.readouterr().out
    assert "3/3" in output  # the progress bar
    assert f"Mean IU {results['mean_iu']:.3f} on 20 canvases" in output
    assert "has not learned the task yet" in output
    assert f"picture  {folder / 'segmentation.png'}" in output
    assert "Try next" in output


def test_a_second_run_says_what_it_replaces(script, tmp_path, capsys, monkeypatch):
    (tmp_path / "model.keras").write_bytes(b"of an earlier run")
    (tmp_path / "notes.txt").write_bytes(b"somebody's own")
    script.main(["--epochs", "1", "--steps", "1", "--output-dir", str(tmp_path)])
    assert "holds model.keras of an earlier run: replaced after training" in capsys.readouterr().out
    assert contents(tmp_path)["notes.txt"] == b"somebody's own"
    before = contents(tmp_path)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        script.main(["--epochs", "1", "--steps", "1", "--output-dir", str(tmp_path)])
    assert contents(tmp_path) == before


def test_a_model_that_cannot_be_loaded_back_replaces_nothing(script, tmp_path, monkeypatch):
    (tmp_path / "model.keras").write_bytes(b"of an earlier run")

    def fail(path, *args, **kwargs):
        assert Path(path).exists()
        raise ValueError("not a model")

    monkeypatch.setattr(keras.saving, "load_model", fail)
    with pytest.raises(ValueError, match="not a model"):
        script.main(["--epochs", "1", "--steps", "1", "--output-dir", str(tmp_path)])
    assert contents(tmp_path) == {"model.keras": b"of an earlier run"}


@pytest.mark.parametrize("network", ["pmg-small", "unet"])
def test_networks_start_from_nothing_here(script, network):
    model = script.NETWORKS[network]()
    x, _ = ScatteredDigits("train", 8, batch_size=8)[0]
    maps = keras.ops.convert_to_numpy(model(x, training=True))
    assert maps.shape == (8, 64, 64, 10)
    assert np.median(maps) < 0.05


def test_learning_rate(script):
    rate = script.learning_rate(1000)
    rates = [float(rate(step)) for step in (0, 25, 50, 525, 1000)]
    assert rates == pytest.approx([0.0, 0.005, 0.01, 0.005, 0.0], abs=1e-4)
    assert float(script.learning_rate(1)(0)) == 0.0  # a single step is all warm-up


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network", "vgg"], "--network: invalid choice: 'vgg' (choose from"),
        (["--epochs", "0"], "--epochs: must be an integer of at least 1. Received: '0'"),
        (["--epochs", "two"], "--epochs: must be an integer of at least 1. Received: 'two'"),
        (["--steps", "-3"], "--steps: must be an integer of at least 1. Received: '-3'"),
        (["--seed", "-1"], "--seed: must be an integer from 0 to 4294967295. Received: '-1'"),
        (["--lr", "1"], "unrecognized arguments: --lr 1"),
    ],
)
def test_mistakes_end_in_one_line_before_training(script, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        script.main(["--output-dir", str(tmp_path), *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not contents(tmp_path)


@pytest.mark.usefixtures("no_training")
def test_output_folders_that_cannot_be_written(script, tmp_path, capsys, monkeypatch):
    def error_for(folder):
        with pytest.raises(SystemExit) as ended:
            script.main(["--output-dir", str(folder)])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    file = tmp_path / "file"
    file.write_bytes(b"somebody's own")
    for folder in (file, file / "below"):
        assert f"--output-dir: cannot write to {folder}" in error_for(folder)
    assert file.read_bytes() == b"somebody's own"

    taken = tmp_path / "taken"
    (taken / "model.keras").mkdir(parents=True)
    assert "model.keras is a directory" in error_for(taken)

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(script.tempfile, "TemporaryFile", denied)
    assert "Permission denied" in error_for(tmp_path)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("module", ["sklearn", "matplotlib"])
def test_missing_packages(script, tmp_path, capsys, monkeypatch, module):
    real = importlib.util.find_spec

    def find_spec(name, *args):
        return None if name == module else real(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(SystemExit):
        script.main(["--output-dir", str(tmp_path)])
    assert 'is not installed: pip install "keras-mg[data]"' in capsys.readouterr().err


def test_help_names_the_networks(script, capsys):
    with pytest.raises(SystemExit) as ended:
        script.main(["--help"])
    assert ended.value.code == 0
    output = capsys.readouterr().out
    for word in (
        "pmg-small",
        "pmg-paper",
        "unet",
        "--network",
        "--epochs",
        "--output-dir",
        "--seed",
    ):
        assert word in output


@pytest.mark.slow
def test_the_main_job_reaches_its_figure(script, tmp_path, monkeypatch):
    monkeypatch.undo()
    script.main(["--output-dir", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["test_canvases"] == 500
    assert results["mean_iu"] >= 0.80
