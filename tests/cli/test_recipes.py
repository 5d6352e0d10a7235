"""`keras-mg recipes` and `keras-mg train`: a tiny run; mistakes end in one line before training."""

import json

import keras
import numpy as np
import pytest

pytest.importorskip("sklearn")

from keras_mg.cli import main
from keras_mg.cli._recipes import Layer
from keras_mg.datasets import LAYERS, Images
from keras_mg.datasets.images import DATASETS
from keras_mg.recipes import data

TINY = {
    "igc-resnet": [
        "--set=network.depth=8",
        "--set=network.primary_partitions=2",
        "--set=network.secondary_partitions=2",
    ],
    "mgnet": ["--set=network.iterations=1,1", "--set=network.filters=4"],
    "resnet20": ["--set=network.block=bn_after_add", "--set=network.final_relu=False"],
}


@pytest.fixture
def run(capsys):
    """Runs the command line; gives the exit code, the output and the errors."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def few_images(monkeypatch):
    """Every data set has 100 images of its shape, and none is read from a disk."""
    asked = []

    def load_images(dataset, split, data_dir):
        asked.append((dataset, split, data_dir))
        rng = np.random.default_rng(len(asked))
        shape = DATASETS[dataset].image_shape
        return Images(rng.integers(0, 256, (100, *shape)).astype("uint8"), np.arange(100) % 10)

    monkeypatch.setattr(data, "load_images", load_images)
    return asked


@pytest.fixture
def no_training(monkeypatch):
    def fit(*args, **kwargs):
        raise AssertionError("training began")

    monkeypatch.setattr(keras.Model, "fit", fit)


def failed(result):
    code, _, error = result
    assert code == 2
    assert error.startswith("keras-mg: error: ")
    assert error.count("\n") == 1
    return error


def test_names(run):
    code, out, _ = run("recipes", "mgnet-cifar*")
    assert (code, out) == (0, "mgnet-cifar10\nmgnet-cifar100\n")
    assert "segment-digits\n" in run("recipes")[1]


def test_details(run):
    code, out, _ = run("recipes", "igc-resnet-s*", "--details")
    assert code == 0
    assert "network    IGCResNet(20, 24, 2" in out
    assert "multiply-accumulates per image" in out
    assert "data       LabelledImages: svhn" in out
    assert "training   40 epochs, batches of 64, CoupledSGD, StepDecay" in out
    assert "published  no figure" in out
    assert "https://arxiv.org/abs/1707.02725" in out
    out = run("recipes", "pmg-digits-seg", "--details")[1]
    assert "data       ClutteredMNIST: seg" in out
    assert "5 epochs of 50 steps" in out
    assert "differs    epochs have 50 steps" in out


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize(("name", "place"), [("igc-resnet", "device"), ("mgnet", "host")])
def test_a_tiny_run(run, tmp_path, name, place):
    words = [*TINY[name], "--epochs=1", "--batch-size=8", "--seed=5", "--augment-on", place]
    code, out, _ = run("train", f"{name}-digits", *words, "--output-dir", tmp_path, "--verbose=0")
    assert code == 0
    written = sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock")
    assert set(written) > {"best.keras", "history.csv", "model.keras", "preprocessing.npz"}
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["seed"], result["recipe"]["epochs"], result["recipe"]["batch_size"]) == (5, 1, 8)
    assert result["recipe"]["data"]["dataset"] == "digits"
    assert result["augment_on"] == place
    assert result["images"] == {"train": 90, "validation": 10, "test": 100}
    assert keras.saving.load_model(tmp_path / "model.keras").output_shape == (None, 10)
    assert "The embedded digits of scikit-learn stand in for real data" in out
    assert f"accuracy {result['test']['accuracy']:.4f}" in out
    assert str(tmp_path) in out


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet20-cifar10", (20, [8, 12])),
        ("mgnet-mnist", (30, [5, 10, 15, 20, 25])),
        ("igc-resnet-cifar100", (40, [20, 30, 35])),
    ],
)
def test_real_data_are_read_from_their_folder(
    few_images, run, tmp_path, monkeypatch, name, expected
):
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = []

    def fit(self, *args, **kwargs):
        asked.append(kwargs)
        raise ValueError("no more")

    monkeypatch.setattr(keras.Model, "fit", fit)
    words = TINY[name.rsplit("-", 1)[0]]
    result = run(
        "train", name, "--data-dir=~/data", "--output-dir=~/out", "--scale=0.1",
        "--validation-fraction=0", *words,
    )  # fmt: skip
    assert "no more" in failed(result)
    dataset = name.rsplit("-", 1)[1]
    assert few_images == [(dataset, split, "~/data") for split in ("train", "test")]
    settings = asked[0]["callbacks"][-2].settings  # of the checkpoint
    schedule = settings["recipe"]["schedule"]
    assert (settings["recipe"]["epochs"], schedule["drops"]) == expected
    assert settings["images"]["validation"] == 0
    assert asked[0]["validation_data"] is None
    assert f"{dataset}, 100 images to train on" in result[1]


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resnet18-cifar10"], "There is no recipe 'resnet18-cifar10'. The nearest are"),
        (["igc-resnet-digits", "--epochs=0"], "Invalid value for '--epochs'"),
        (["igc-resnet-digits", "--epochs=2", "--scale=0.5"], "exclude each other"),
        (
            ["igc-resnet-digits", "--scale=0"],
            "--scale must be above 0 and at most 1000. Received: 0",
        ),
        (["igc-resnet-digits", "--scale=inf"], "--scale must be above 0 and at most 1000"),
        (["igc-resnet-digits", "--seed=-1"], "Invalid value for '--seed'"),
        (["igc-resnet-digits", "--batch-size=a"], "Invalid value for '--batch-size'"),
        (["igc-resnet-digits", "--augment-on=gpu"], "Invalid value for '--augment-on'"),
        (["igc-resnet-digits", "--lr=1"], "No such option: --lr"),
        (
            ["igc-resnet-digits", "--set=network.depth=9"],
            "depth of a residual network must be even",
        ),
        (["igc-resnet-digits", "--set=depth=8"], "depth: Recipe has name, source, network"),
        (["igc-resnet-digits", "--set=network.dept=8"], "The nearest are network.depth"),
        (["mgnet-digits", "--set=network.filters=10000000000"], "allocate"),
        (["mgnet-digits", "--set=network.classes=1000000000000"], "allocate"),
        (["resnet20-digits", "--set=data.steps_per_epoch=10000000000000"], "llocate"),
        (["mgnet-digits", "--set=schedule.learning_rate=fast"], "must be float"),
        (["igc-resnet-digits", "--set=network.depth"], "--set takes NAME=VALUE"),
        (["mgnet-digits", "--set=network.filters=8,16"], "filters must be one integer or one per"),
        (["resnet20-digits", "--validation-fraction=1"], "must be in [0, 1). Received: 1.0"),
        (["resnet20-digits", "--validation-fraction=0.0001"], "leaves the validation set empty"),
        (["resnet20-digits", "--data-dir=/no/such"], "embedded and need no folder"),
        (["segment-digits", "--augment-on=host"], "they take no augment_on"),
        (["segment-digits", "--layers=mix_up"], "images that have one label each"),
        (["mgnet-digits", "--layers=blur"], "Invalid value for '--layers'"),
        (["mgnet-digits", "--set=data.layers=('mix_up',)"], "keras-mg train --layers"),
    ],
)
def test_mistakes_end_in_one_line_before_training(run, words, message, tmp_path):
    assert message in failed(run("train", *words, "--output-dir", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] in ([], [".lock"])


@pytest.mark.usefixtures("no_training")
@pytest.mark.filterwarnings("ignore")  # of tensorflow-datasets and what it imports
def test_folders_that_do_not_do(run, tmp_path):
    empty, output = tmp_path / "empty", tmp_path / "output"
    empty.mkdir()
    words = ("train", "resnet20-cifar10", "--data-dir", empty, "--output-dir", output)
    assert f"cifar10 (split train) is not prepared in {empty}" in failed(run(*words))
    file = tmp_path / "file"
    file.write_bytes(b"somebody's own")
    error = failed(run("train", "resnet20-digits", "--output-dir", file))
    assert f"Cannot write to the output folder {file}" in error
    assert file.read_bytes() == b"somebody's own"
    (tmp_path / "taken" / "result.json").mkdir(parents=True)
    error = failed(run("train", "resnet20-digits", "--output-dir", tmp_path / "taken"))
    assert "result.json is a directory" in error


@pytest.mark.usefixtures("few_images")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_run_that_diverges(run, tmp_path):
    words = ["--epochs=1", "--set=schedule.learning_rate=1e30", "--output-dir", tmp_path]
    assert "diverged" in failed(run("train", "mgnet-digits", *TINY["mgnet"], *words))


@pytest.mark.usefixtures("few_images")
def test_a_shortened_run_says_so(run, tmp_path):
    words = [*TINY["mgnet"], "--scale=0.1", "--output-dir", tmp_path, "--verbose=0"]
    code, out, _ = run("train", "mgnet-digits", *words)
    assert code == 0
    assert "Not as published: 1 of 10 epochs" in out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["recipe"]["differs"][-1] == "1 of 10 epochs"
    assert result["versions"]["keras"] == keras.__version__


@pytest.mark.usefixtures("few_images")
@pytest.mark.filterwarnings("ignore:Tensor.T is deprecated on 0-D tensors:UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_layers_of_keras(run, tmp_path):
    words = [*TINY["mgnet"], "--epochs=1", "--output-dir", tmp_path, "--verbose=0"]
    words += ["--layers=mix_up", "--layers=cut_mix"]
    code, out, _ = run("train", "mgnet-digits", *words)
    assert code == 0
    assert "training images also go through mix_up, cut_mix of Keras" in out
    record = json.loads((tmp_path / "result.json").read_text())["recipe"]
    assert record["data"]["layers"] == ["mix_up", "cut_mix"]
    assert record["loss"]["call"] == "CategoricalCrossentropy"


@pytest.mark.usefixtures("few_images")
def test_a_model_that_cannot_be_loaded_back_is_one_line(run, tmp_path, monkeypatch):
    load = keras.saving.load_model

    def another(*args, **kwargs):
        model = load(*args, **kwargs)
        model.set_weights([w + 0.1 for w in model.get_weights()])
        return model

    monkeypatch.setattr(keras.saving, "load_model", another)
    words = [*TINY["mgnet"], "--epochs=1", "--output-dir", tmp_path, "--verbose=0"]
    assert "The loaded model's outputs differ" in failed(run("train", "mgnet-digits", *words))


@pytest.mark.usefixtures("few_images")
def test_other_settings_are_noticed_before_the_data_are_looked_for(run, tmp_path, monkeypatch):
    words = ["train", "mgnet-cifar10", *TINY["mgnet"], "--scale=0.01", "--output-dir", tmp_path]
    words.append("--validation-fraction=0")

    def save(*args):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", save)
        assert "disk full" in failed(run(*words))

    def gone(*args):
        raise FileNotFoundError("no data")

    monkeypatch.setattr(data, "load_images", gone)
    assert "no data" in failed(run(*words))
    assert "with other settings: seed 0 (now 6)" in failed(run(*words, "--seed=6"))


@pytest.mark.usefixtures("few_images")
def test_an_interrupted_run_goes_on_and_refuses_other_settings(run, tmp_path, monkeypatch):
    words = ["train", "mgnet-digits", *TINY["mgnet"], "--epochs=2", "--output-dir", tmp_path]
    words.append("--validation-fraction=0")

    def save(*args):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", save)
        assert "disk full" in failed(run(*words))
    error = failed(run(*words, "--seed=6"))
    assert "holds an interrupted run with other settings: seed 0 (now 6)" in error
    code, out, _ = run(*words)
    assert code == 0
    assert "holds an interrupted run: going on after epoch 2" in out
    assert (tmp_path / "model.keras").exists()


def test_layers_are_offered_by_name():
    assert [layer.value for layer in Layer] == list(LAYERS)
