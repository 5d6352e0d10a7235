"""The demo: a short run does all that a long one does."""

import json

import keras
import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from PIL import Image

from keras_mg.datasets import ScatteredDigits, SetEpoch
from keras_mg.recipes import get_recipe, list_recipes, train

NAMES = list_recipes("segment-digits*")
SHORT = (
    get_recipe("segment-digits")
    .shortened(2)
    .changed({"data.steps_per_epoch": 3, "data.validation": 8, "data.test": 20})
)


def run(folder, recipe=SHORT, **kwargs):
    return train(recipe, folder, **{"seed": 5, "verbose": 0, **kwargs})


def test_a_short_run_writes_everything(tmp_path):
    said = []
    result = run(tmp_path, report=said.append)
    files = [
        *("best.keras", "curves.png", "history.csv", "model.keras", "result.json"),
        "segmentation.png",
    ]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == files
    with Image.open(tmp_path / "segmentation.png") as picture:
        assert min(picture.size) > 600
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert result["difference_after_reload"] <= 1e-6
    # The figures are those of the saved model on the test canvases.
    model = keras.saving.load_model(tmp_path / "model.keras")
    test = ScatteredDigits("test", 20, batch_size=20)
    again = model.evaluate(test, verbose=0, return_dict=True)
    assert again["mean_iu"] == pytest.approx(result["test"]["mean_iu"], abs=1e-6)
    assert again["loss"] == pytest.approx(result["test"]["loss"], rel=1e-4)
    opening, closing = said
    assert "drawn from 1,168 handwritten digits; 20 canvases of 450 other digits" in opening
    assert f"Mean IU {result['test']['mean_iu']:.3f} on 20 canvases" in closing
    assert "has not learned the task yet" in closing
    assert "segmentation.png" in closing
    assert "Try next" in closing


def test_an_interrupted_run_sees_the_canvases_that_it_would_have_seen(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    plain = SetEpoch.on_epoch_begin

    def interrupted(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        plain(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(SetEpoch, "on_epoch_begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts")
    parts = run(tmp_path / "parts")
    assert parts["resumed_after_epochs"] == 1
    assert parts["history"] == whole["history"]
    assert parts["test"] == whole["test"]


@pytest.mark.parametrize("name", NAMES)
def test_networks_start_from_nothing_here(name):
    x, _ = ScatteredDigits("train", 8, batch_size=8)[0]
    maps = keras.ops.convert_to_numpy(get_recipe(name).network()(x, training=True))
    assert maps.shape == (8, 64, 64, 10)
    assert np.median(maps) < 0.05


def test_the_u_net_is_as_much_arithmetic_and_no_less():
    networks = [get_recipe(name).network() for name in ("segment-digits", "segment-digits-unet")]
    assert [n.count_params() for n in networks] == [149_698, 536_210]


def test_what_does_not_apply_is_an_error(tmp_path):
    for setting in ({"data_dir": "x"}, {"validation_fraction": 0.1}, {"augment_on": "host"}):
        (name,) = setting
        with pytest.raises(ValueError, match=rf"they take no {name}. Received: {name}="):
            run(tmp_path, **setting)


def test_missing_matplotlib_is_noticed_before_training(tmp_path, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else real(name)
    )
    with pytest.raises(ImportError, match=r'not installed: pip install "keras-mg\[data\]"'):
        run(tmp_path)


@pytest.mark.slow
def test_the_main_job_reaches_its_figure(tmp_path):
    result = train(get_recipe("segment-digits"), tmp_path, verbose=2)
    assert result["images"]["test"] == 500
    assert result["test"]["mean_iu"] >= 0.80
