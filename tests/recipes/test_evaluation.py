"""Runs measured once more: the figures that training reported, and everything beside them."""

import csv
import json

import h5py
import keras
import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from keras_mg import weights
from keras_mg.cli import main
from keras_mg.recipes import evaluate, get_recipe, predict, recipe_of, train, with_layers

DIGITS = get_recipe("resnet20-digits").shortened(1)  # statistics fitted to the training images
CANVASES = (
    get_recipe("segment-digits")
    .shortened(2)
    .changed({"data.steps_per_epoch": 3, "data.validation": 8, "data.test": 20})
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    return folder, train(DIGITS, folder, seed=3, verbose=0, validation_fraction=0.2)


@pytest.fixture(scope="module")
def canvases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("canvases")
    return folder, train(CANVASES, folder, verbose=0)


def test_the_recipe_of_a_run(digits, canvases):
    for (folder, result), recipe in ((digits, DIGITS), (canvases, CANVASES)):
        found, read = recipe_of(folder)
        assert found.record() == recipe.record()
        assert read == result


def test_the_recipe_of_a_run_on_canvases_of_another_kind(digits, tmp_path):
    recipe = get_recipe("unet-mnist-rot").changed({"data.kind": "embedded", "data.evaluated": 5})
    result = {**digits[1], "recipe": json.loads(json.dumps(recipe.shortened(3).record()))}
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert recipe_of(tmp_path)[0].record() == recipe.shortened(3).record()


def test_a_classifier(digits):
    folder, result = digits
    said = []
    again = evaluate(folder, report=said.append)
    figures = again["figures"]
    for key, value in result["test"].items():
        assert figures[key] == pytest.approx(value, abs=1e-6)
    assert figures["top_1"] == pytest.approx(figures["accuracy"], abs=1e-6)
    assert figures["top_1"] < figures["top_5"] <= 1
    assert f"top_1 {figures['top_1']:.4f}" in said[0]
    assert again["images"] == 450

    matrix = np.array(again["confusion_matrix"])
    assert matrix.sum() == 450
    assert np.trace(matrix) / 450 == pytest.approx(figures["top_1"])
    assert json.loads((folder / "evaluation.json").read_text()) == again
    written = np.loadtxt(folder / "confusion_matrix.csv", delimiter=",")
    np.testing.assert_array_equal(written, matrix)
    with (folder / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["images"]) for row in rows] == matrix.sum(1).tolist()
    assert len(rows) == 10


def test_the_validation_part_is_the_one_of_the_training(digits):
    folder, result = digits
    again = evaluate(folder, split="validation")
    assert again["images"] == result["images"]["validation"]
    for key, value in result["validation"].items():
        assert again["figures"][key] == pytest.approx(value, abs=1e-6)


def test_maps(canvases):
    folder, result = canvases
    again = evaluate(folder)
    for key, value in result["test"].items():
        assert again["figures"][key] == pytest.approx(value, abs=1e-6)
    assert set(again["figures"]) == {"mean_iu", "mean_accuracy", "script_mean_iu", "loss"}
    assert "confusion_matrix" not in again
    assert [row["map"] for row in again["per_class"]] == list(range(10))


def test_a_run_with_mixed_images(tmp_path):
    recipe = with_layers(get_recipe("mgnet-digits").shortened(1), ["mix_up"])
    recipe = recipe.changed({"network.iterations": [1, 1], "network.filters": 4})
    result = train(recipe, tmp_path, verbose=0)
    again = evaluate(tmp_path)
    for key, value in result["test"].items():
        assert again["figures"][key] == pytest.approx(value, abs=1e-6)
    assert again["figures"]["top_1"] == pytest.approx(result["test"]["accuracy"], abs=1e-6)
    with h5py.File(predict(tmp_path, tmp_path / "a.h5")) as file:
        assert file["label"].shape == (450,)
    few = recipe.changed({"network.classes": 5})
    with pytest.raises(ValueError, match="tells 5 classes apart. Received data of 10"):
        train(few, tmp_path / "few", verbose=0)


def test_weights_by_a_recipe(digits, tmp_path):
    folder, _ = digits
    model = keras.saving.load_model(folder / "model.keras")
    model.save_weights(tmp_path / "a.weights.h5")
    expected = evaluate(folder)["figures"]
    statistics = folder / "preprocessing.npz"
    again = evaluate(DIGITS, tmp_path / "a.weights.h5", tmp_path / "out", preprocessing=statistics)
    assert again["figures"] == expected
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("confusion_matrix.csv", "evaluation.json", "per_class.csv"),
    ]
    # Without the statistics of the training they are fitted anew, to other images.
    other = evaluate(DIGITS, tmp_path / "a.weights.h5")["figures"]
    assert other["loss"] != expected["loss"]
    assert evaluate(DIGITS, folder / "model.keras")["figures"] == expected
    with pytest.raises(ValueError, match="needs weights to be measured. Received: 'resnet20-dig"):
        evaluate(DIGITS)
    with pytest.raises(weights.WeightsError, match="no file"):
        evaluate(DIGITS, tmp_path / "none.weights.h5")


def test_predictions(digits, canvases, tmp_path):
    folder, result = digits
    path = predict(folder, tmp_path / "a.h5")
    with h5py.File(path) as file:
        scores, labels = file["prediction"][()], file["label"][()]
    assert (scores.shape, scores.dtype, labels.shape) == ((450, 10), "float32", (450,))
    assert (scores.argmax(1) == labels).mean() == pytest.approx(result["test"]["accuracy"])
    folder, result = canvases
    with h5py.File(predict(folder, tmp_path / "b.h5")) as file:
        assert list(file) == ["prediction"]
        maps = file["prediction"][()]
    assert maps.shape == (20, 10, 64, 64)
    metric = keras.metrics.BinaryCrossentropy()
    x, y = CANVASES.data.open(8).test[0]
    metric.update_state(np.moveaxis(y, -1, 1), maps[: len(x)])
    model = keras.saving.load_model(folder / "model.keras")
    expected = np.moveaxis(model.predict(x, verbose=0), -1, 1)
    np.testing.assert_allclose(maps[: len(x)], expected, atol=1e-5)


def test_a_prediction_that_cannot_be_written(digits, tmp_path):
    with pytest.raises(OSError, match="no such folder"):
        predict(digits[0], tmp_path / "none" / "a.h5")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda result: result["recipe"].update(data=[]), "recipe in result.json is damaged"),
        (lambda result: result["recipe"].pop("data"), "recipe in result.json is damaged"),
        (lambda result: result["recipe"].update(name=["a"]), "recipe in result.json is damaged"),
        (lambda result: result.update(recipe=3), "holds no finished run"),
    ],
)
def test_a_damaged_result(tmp_path, digits, change, words):
    result = json.loads((digits[0] / "result.json").read_text())
    change(result)
    (tmp_path / "result.json").write_text(json.dumps(result))
    with pytest.raises(ValueError, match=words):
        recipe_of(tmp_path)
    (tmp_path / "result.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="holds no finished run"):
        recipe_of(tmp_path)


def test_what_is_no_run(tmp_path, digits):
    with pytest.raises(ValueError, match=r"holds no finished run: .*result.json cannot be read"):
        evaluate(tmp_path)
    result = digits[1]
    for change in ({"network": {"call": "Other"}}, {"name": "mine"}):
        record = {**result["recipe"], **change}
        (tmp_path / "result.json").write_text(json.dumps({**result, "recipe": record}))
        with pytest.raises(ValueError, match=r"with other values: give|no recipe 'mine'"):
            evaluate(tmp_path)
    with pytest.raises(ValueError, match="split must be one of"):
        evaluate(digits[0], split="train")


def test_the_command_line(digits, capsys, tmp_path):
    folder, result = digits

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    code, out, _ = run("evaluate", "--output-dir", folder)
    assert code == 0
    assert f"accuracy {result['test']['accuracy']:.4f}" in out
    assert "450 test images of resnet20-digits" in out
    model = folder / "model.keras"
    code, out, _ = run(
        "evaluate", "resnet20-digits", "--weights", model, "--set", "batch_size=16",
        "--split=validation", "--output-dir", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert "validation images" in out
    assert (tmp_path / "out" / "per_class.csv").exists()
    code, out, _ = run("predict", "--output-dir", folder, "--output", tmp_path / "p.h5")
    assert code == 0
    assert str(tmp_path / "p.h5") in out
    assert run("predict", "resnet20-digits", "--output-dir", folder)[0] == 0
    assert (folder / "predictions.h5").exists()
    for words, message in (
        (["evaluate"], "Give NAME or --output-dir"),
        (["evaluate", "--weights", model], "--weights needs NAME"),
        (["evaluate", "--output-dir", folder, "--set=a=1"], "--set needs --weights"),
        (["evaluate", "mgnet-digits", "--output-dir", folder], "holds a run of resnet20-digits"),
        (["evaluate", "mgnet-digits", "--weights", model], "another network"),
        (["evaluate", "resnet20-digits", "--output-dir", tmp_path], "holds no finished run"),
        (["predict", "resnet20-digits", "--weights", model], "--weights needs --output"),
    ):
        code, _, error = run(*words)
        assert code == 2
        assert message in error
        assert error.count("\n") == 1
