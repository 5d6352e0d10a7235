"""From a finished run to a folder of weights, and back by a tag: from a folder and over http."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

pytest.importorskip("sklearn")

from keras_mg.applications import MgNet, SegPMG
from keras_mg.cli import main
from keras_mg.datasets import load_images
from keras_mg.recipes import evaluate, get_recipe, publish, train
from keras_mg.recipes.publishing import command, spread
from keras_mg.weights import WeightsError, weights_info
from keras_mg.weights._download import MIRROR_VARIABLE, OFFLINE_VARIABLE
from keras_mg.weights._trained import INDEX, read_index
from tests.weights.server import Host, serving

RECIPE = (
    get_recipe("mgnet-digits")
    .shortened(2)
    .changed({"network.filters": 4, "network.iterations": (1, 1)})
)
TAG = "tiny_digits"
SHAPE = {"iterations": (1, 1), "filters": 4, "classes": 10, "input_shape": (32, 32, 3)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, train(RECIPE, folder, seed=5, verbose=0)


@pytest.fixture(scope="module")
def hosted(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosted")
    return folder, publish(run[0], folder, TAG, hardware="one core")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(OFFLINE_VARIABLE, raising=False)


def logits(model, record):
    images = load_images("digits", "test").images[:8]
    return model.predict(record.preprocess(images), verbose=0)


def trained_logits(run, record):
    return logits(keras.saving.load_model(run[0] / "model.keras"), record)


def test_the_record_says_what_happened(run, hosted):
    folder, record = hosted
    _, result = run
    assert record.figures == result["test"]
    assert (record.epochs, record.seed, record.images) == (2, 5, result["images"])
    assert record.command == (
        "keras-mg train mgnet-digits --epochs 2 --set network.iterations=1,1 "
        "--set network.filters=4 --seed 5"
    )
    assert record.spread["epochs"] == 2
    last = [row["val_accuracy"] for row in result["history"]]
    assert record.spread["val_accuracy"]["mean"] == pytest.approx(np.mean(last))
    assert record.spread["val_accuracy"]["std"] == pytest.approx(np.std(last, ddof=1))
    assert record.arguments == {"iterations": (1, 1), "filters": 4, "classes": 10}
    assert record.call() == 'MgNet(iterations=(1, 1), filters=4, classes=10, weights="tiny_digits")'
    assert record.class_names == tuple("0123456789")
    assert read_index(folder) == (
        dataclasses.replace(record, arguments={**record.arguments, "iterations": [1, 1]}),
    )
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [record.filename, record.preprocessing["filename"], INDEX, "MgNet-tiny_digits.md"]
    )
    card = (folder / "MgNet-tiny_digits.md").read_text()
    assert record.command in card
    assert f"{result['test']['accuracy']:.4f}" in card


@pytest.mark.parametrize("how", ["folder", "http"])
def test_a_mirror_has_it_under_its_tag(run, hosted, how, monkeypatch, tmp_path):
    folder, record = hosted
    host = Host({path.name: path.read_bytes() for path in folder.iterdir()})
    with serving(host) as base:
        monkeypatch.setenv(MIRROR_VARIABLE, base if how == "http" else str(folder))
        model = MgNet(**SHAPE, classifier_activation=None, weights=TAG)
        np.testing.assert_array_equal(logits(model, record), trained_logits(run, record))
        trunk = MgNet(**{**SHAPE, "include_top": False}, weights=TAG)
        np.testing.assert_array_equal(trunk.get_weights()[0], model.get_weights()[0])
    # The host is gone; what it had is in the cache, its index too.
    if how == "http":
        with pytest.warns(UserWarning, match="the index kept from before is used"):
            again = MgNet(**SHAPE, weights=TAG)
        np.testing.assert_array_equal(again.get_weights()[-1], model.get_weights()[-1])
    monkeypatch.setenv(MIRROR_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="was asked, too"):
        MgNet(**SHAPE, weights=TAG)
    monkeypatch.setenv(MIRROR_VARIABLE, base if how == "http" else str(folder))
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    again = MgNet(**SHAPE, weights=TAG, classifier_activation=None)
    np.testing.assert_array_equal(again.get_weights()[-1], model.get_weights()[-1])


def test_another_network_is_told_what_the_file_is_for(hosted, monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, str(hosted[0]))
    with pytest.raises(WeightsError, match=r"The file is for MgNet\(iterations=\(1, 1\), filters"):
        MgNet(**{**SHAPE, "filters": 8}, weights=TAG)
    with pytest.raises(WeightsError, match="classes=7 was asked for"):
        MgNet(**{**SHAPE, "classes": 7}, weights=TAG)
    with pytest.raises(WeightsError, match="unknown weights 'other' .* does not have them either"):
        MgNet(**SHAPE, weights="other")


def test_the_same_tag_takes_the_place(run, hosted, tmp_path):
    shutil.copytree(hosted[0], tmp_path / "host")
    again = publish(run[0], tmp_path / "host", TAG, hardware="two cores")
    assert [each.hardware for each in read_index(tmp_path / "host")] == ["two cores"]
    publish(run[0], tmp_path / "host", "more")
    assert [each.tag for each in read_index(tmp_path / "host")] == ["more", TAG]
    assert (tmp_path / "host" / again.filename).is_file()
    assert len(list((tmp_path / "host").glob("*.weights.h5"))) == 2


def test_the_recipe_measures_it_as_the_run_did(run, hosted, monkeypatch, tmp_path):
    folder, record = hosted
    monkeypatch.setenv(MIRROR_VARIABLE, str(folder))
    assert weights_info("MgNet", TAG).figures == record.figures
    monkeypatch.chdir(tmp_path)
    np.savez("preprocessing.npz", mean=np.zeros(3), std=np.ones(3))  # of somebody else
    for what in (TAG, folder / record.filename):  # their statistics come with them
        figures = evaluate(RECIPE, what)["figures"]
        for key, value in record.figures.items():
            assert figures[key] == pytest.approx(value, abs=1e-6)
    assert evaluate(RECIPE, TAG, split="validation")["images"] == record.images["validation"]


def test_what_cannot_be_published(run, tmp_path, capsys):
    with pytest.raises(ValueError, match="of ASCII letters. Received: 'a b'"):
        publish(run[0], tmp_path / "host", "a b")
    with pytest.raises(ValueError, match="holds no finished run"):
        publish(tmp_path, tmp_path / "host", "a")
    shutil.copytree(run[0], tmp_path / "changed")
    with (tmp_path / "changed" / "model.keras").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="its hash is another"):
        publish(tmp_path / "changed", tmp_path / "host", "a")
    assert not (tmp_path / "host").exists()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / INDEX).write_text("[]")
    assert main(["weights", "publish", str(run[0]), str(tmp_path / "bad"), "--tag", "a"]) == 2
    assert "is no index of weights" in capsys.readouterr().err
    assert (tmp_path / "bad" / INDEX).read_text() == "[]"
    assert [path.name for path in (tmp_path / "bad").iterdir()] == [INDEX]
    with pytest.raises(ValueError, match="ASCII letters. Received: 'größe'"):
        publish(run[0], tmp_path / "host", "größe")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filename": "../a"}, "a file needs a plain name. Received: '../a'"),
        ({"filename": ".."}, "plain name"),
        ({"hash": "sha256:1"}, "a hash is"),
        ({"size": "7"}, "size must be a int. Received: '7'"),
        ({"size": True}, "size is out of range"),
        ({"size": -1}, "size is out of range"),
        ({"filename": "index.json"}, "plain name"),
        ({"hash": "sha256:" + "A" * 64}, "small letters"),
        ({"preprocessing": []}, "preprocessing must be a Mapping"),
        ({"preprocessing": {}}, None),
        ({"arguments": None}, "arguments must be a Mapping. Received: None"),
        ({"class_names": "abc"}, "class_names must be a tuple"),
        (None, "a record lacks 'network'"),
    ],
)
def test_an_index_of_somebody_else(hosted, changes, message):
    content = json.loads((hosted[0] / INDEX).read_text())
    (record,) = content["weights"]
    content["weights"] = [{} if changes is None else {**record, **changes}]
    if message is None:
        assert read_index("x", json.dumps(content))[0].preprocess("any") == "any"
        return
    with pytest.raises(WeightsError, match=message):
        read_index("x", json.dumps(content))


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": "keras-mg weights 1"}'])
def test_no_index(text):
    with pytest.raises(WeightsError, match="x/index.json"):
        read_index("x", text)


def test_a_damaged_file_is_not_loaded(hosted, tmp_path, monkeypatch):
    folder = shutil.copytree(hosted[0], tmp_path / "host")
    path = folder / hosted[1].filename
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    monkeypatch.setenv(MIRROR_VARIABLE, str(folder))
    with pytest.raises(WeightsError, match="hash"):
        MgNet(**SHAPE, weights=TAG)


def test_spread_and_command_without_validation(run):
    assert spread([{"loss": 1.0, "accuracy": 0.5}] * 7) == {}
    assert spread([{"loss": 1.0, "val_loss": 0.5}]) == {}
    result = {**run[1], "validation_fraction": 0.25, "jit_compile": True}
    for chosen, words in ((True, " --compile"), (False, " --no-compile"), ("auto", "")):
        result = {**result, "jit_compile": chosen}
        assert command(RECIPE, result).endswith(f"--seed 5 --validation-fraction 0.25{words}")


def test_canvases_in_mixed_precision(tmp_path, monkeypatch):
    """The type of numbers is the user's, and canvases of 0 to 255 become what was trained on."""
    recipe = (
        get_recipe("pmg-digits-rot")
        .shortened(1)
        .changed({"network.dtype": "mixed_bfloat16", "network.filters": (4, 4, 4, 4)})
        .changed({"data.steps_per_epoch": 1, "data.evaluated": 4, "batch_size": 4})
    )
    train(recipe, tmp_path / "run", verbose=0)
    record = publish(tmp_path / "run", tmp_path / "host", "turned")
    assert record.arguments == {"filters": (4, 4, 4, 4), "outputs": 1}
    assert record.class_names == ("digit",)
    measured = evaluate(
        recipe.changed({"network.dtype": "float32"}), tmp_path / "host" / record.filename
    )
    assert record.figures == {key: measured["figures"][key] for key in ("loss", "mean_iu")}
    assert "--set network.dtype=mixed_bfloat16" in record.command
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path / "host"))
    model = SegPMG(filters=(4, 4, 4, 4), outputs=1, weights="turned")
    assert model.compute_dtype == "float32"
    trained = keras.saving.load_model(tmp_path / "run" / "model.keras")
    for ours, theirs in zip(model.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    ink = np.zeros((64, 64, 1), "float32")
    ink[20:30, 20:30] = 1
    np.testing.assert_allclose(
        record.preprocess(255 * ink[None])[0], (ink - 0.1141) / 0.2746, atol=1e-5
    )
