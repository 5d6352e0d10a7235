"""The three training scripts: a tiny run of each; mistakes end in one line before training."""

import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_mg.datasets import Images
from keras_mg.recipes import experiment

APPLICATIONS = Path(__file__).parents[2] / "applications"
TINY = {
    "igc": ["--depth", "8", "--primary-partitions", "2", "--secondary-partitions", "2"],
    "mgnet": ["--iterations", "1", "1", "--filters", "4"],
    "resnet": ["--block", "bn_after_add", "--no-final-relu"],
}
FAMILIES = sorted(TINY)
HEADINGS = [
    "Claim and evidence",
    "Command",
    "Data and split",
    "Recipe",
    "Licence and origin of weights",
    "What differs from the paper",
]


def load(family):
    path = APPLICATIONS / family / "train_cifar.py"
    spec = importlib.util.spec_from_file_location(f"{family}_train_cifar", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def few_images(monkeypatch):
    """Every data set has 100 images of its shape, and none is read from a disk."""
    asked = []

    def load_images(dataset, split, data_dir):
        asked.append((dataset, split, data_dir))
        rng = np.random.default_rng(len(asked))
        shape = experiment.DATASETS[dataset].image_shape
        return Images(rng.integers(0, 256, (100, *shape)).astype("uint8"), np.arange(100) % 10)

    monkeypatch.setattr(experiment, "load_images", load_images)
    return asked


@pytest.fixture
def no_training(monkeypatch):
    def fit(*args, **kwargs):
        raise AssertionError("training began")

    monkeypatch.setattr(keras.Model, "fit", fit)


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_run(family, tmp_path, capsys):
    arguments = [*TINY[family], "--epochs", "1", "--batch-size", "8", "--seed", "5"]
    place = {"igc": "device", "mgnet": "host"}.get(family)
    arguments += ["--augment-on", place] if place else []
    load(family).main([*arguments, "--output-dir", str(tmp_path)])
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["history.csv", "model.keras", "result.json"]
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["seed"], result["recipe"]["epochs"], result["recipe"]["batch_size"]) == (5, 1, 8)
    assert result["settings"]["dataset"] == "digits"
    assert result["augment_on"] == (place or "host")  # the default on a CPU
    assert result["recipe"]["flip"] is False  # a mirrored digit is another or none
    sizes = [result[f"{part}_images"] for part in ("train", "validation", "test")]
    assert sizes == [90, 10, 100]
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.output_shape == (None, 10)

    output = capsys.readouterr().out
    assert "The embedded digits of scikit-learn stand in for CIFAR" in output
    assert f"Test error {result['test_error']:.2%}" in output
    assert str(tmp_path) in output


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("family", "dataset", "expected"),
    [
        ("igc", "cifar100", (400, 64, [200, 300, 350], True, 4)),
        ("igc", "svhn", (40, 64, [20, 30, 35], False, 0)),
        ("mgnet", "cifar10", (300, 128, [50, 100, 150, 200, 250], True, 4)),
        ("mgnet", "mnist", (300, 128, [50, 100, 150, 200, 250], False, 4)),
        ("resnet", "cifar10", (200, 128, [80, 120], True, 4)),
    ],
)
def test_real_data_gets_the_published_recipe(
    few_images, family, dataset, expected, tmp_path, monkeypatch, capsys
):
    prepared = []

    def run(self):
        prepared.append(self)
        raise SystemExit

    monkeypatch.setattr(experiment.Experiment, "run", run)
    data = ["--dataset", dataset, "--data-dir", str(tmp_path)]
    with pytest.raises(SystemExit):
        load(family).main([*TINY[family], *data, "--output-dir", str(tmp_path / "out")])
    (ready,) = prepared
    recipe = ready.recipe
    drops = list(recipe.drops)
    assert (recipe.epochs, recipe.batch_size, drops, recipe.flip, recipe.shift) == expected
    assert few_images == [(dataset, split, str(tmp_path)) for split in ("train", "test")]
    assert ready.model.output_shape == (None, 100 if dataset == "cifar100" else 10)
    # The family's statistics: the same grey is another number for another data set.
    shape = experiment.DATASETS[dataset].image_shape
    grey = ready.preprocess_input(np.full((1, *shape), 128, "uint8"), data_format="channels_last")
    assert np.isfinite(grey).all()
    output = capsys.readouterr().out
    assert f"Data: {dataset}, 90 images to train on, 10 to validate, 100 others" in output
    assert "stand in" not in output


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("network", "epochs", "warmup"), [("ResNet20", "200", 0), ("ResNet110", "200", 400)]
)
def test_the_110_layers_get_their_warm_up(
    few_images, network, epochs, warmup, tmp_path, monkeypatch
):
    recipes = []
    monkeypatch.setattr(experiment.Experiment, "run", lambda self: recipes.append(self.recipe) or 1)
    monkeypatch.setattr(experiment.Experiment, "closing", lambda self, result: "")
    arguments = ["--network", network, "--epochs", epochs, "--output-dir", str(tmp_path)]
    load("resnet").main(arguments)
    assert recipes[0].warmup_steps == warmup


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        ("igc", ["--epochs", "0"], "--epochs: must be an integer of at least 1. Received: '0'"),
        ("igc", ["--dataset", "mnist"], "--dataset: invalid choice: 'mnist'"),
        ("igc", ["--depth", "9"], "depth of a residual network must be even"),
        ("igc", ["--width", "16"], "--width: IGCResNet has width L * M"),
        (
            "igc",
            ["--network", "IGCResNetBaseline", "--primary-partitions", "4"],
            "partitions: IGCResNetBaseline has a --width",
        ),
        ("mgnet", ["--filters", "8", "16"], "filters must be one integer or one per grid"),
        ("mgnet", ["--batch-size", "a"], "--batch-size: must be an integer of at least 1"),
        ("mgnet", ["--seed", "-1"], "--seed: must be an integer from 0 to 4294967295"),
        ("resnet", ["--network", "ResNet18"], "--network: invalid choice: 'ResNet18'"),
        ("resnet", ["--validation-fraction", "1"], "must be a number in [0, 1). Received: '1'"),
        ("resnet", ["--validation-fraction", "0.0001"], "leaves the validation set empty"),
        ("resnet", ["--data-dir", "/no/such/folder"], "--data-dir: /no/such/folder is no folder"),
        ("resnet", ["--lr", "1"], "unrecognized arguments: --lr 1"),
    ],
)
def test_mistakes_end_in_one_line_before_training(family, arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        load(family).main(["--output-dir", str(tmp_path), *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_training")
@pytest.mark.filterwarnings("ignore")  # of tensorflow-datasets and what it imports
def test_folders_that_do_not_do(tmp_path, capsys):
    def error_for(*arguments):
        with pytest.raises(SystemExit) as ended:
            load("resnet").main([*map(str, arguments)])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert error.splitlines()[-1].startswith(Path(error.split(":")[0]).name)
        return error

    empty, output = tmp_path / "empty", tmp_path / "output"
    empty.mkdir()
    error = error_for("--data-dir", empty, "--output-dir", output)
    assert f"cifar10 (split train) is not prepared in {empty}" in error
    error = error_for("--data-dir", empty, "--dataset", "digits", "--output-dir", output)
    assert "the digits are embedded and need no folder" in error
    file = tmp_path / "file"
    file.write_bytes(b"somebody's own")
    assert f"--output-dir: cannot write to {file}" in error_for("--output-dir", file)
    assert file.read_bytes() == b"somebody's own"
    (tmp_path / "taken" / "result.json").mkdir(parents=True)
    error = error_for("--output-dir", tmp_path / "taken")
    assert "result.json is a directory" in error


@pytest.mark.usefixtures("few_images")
def test_an_interrupted_run_goes_on_and_refuses_other_settings(tmp_path, capsys, monkeypatch):
    script = load("mgnet")
    arguments = [*TINY["mgnet"], "--epochs", "2", "--output-dir", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            script.main(arguments)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        script.main([*arguments, "--seed", "6"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "holds an interrupted run with other settings: seed 0 (now 6)" in error
    assert error.count("\n") == 1
    script.main(arguments)
    assert "holds an interrupted run, to go on from" in capsys.readouterr().out
    assert (tmp_path / "model.keras").exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_card_has_its_headings(family):
    text = (APPLICATIONS / family / "README.md").read_text(encoding="utf-8")
    found = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert found == HEADINGS
