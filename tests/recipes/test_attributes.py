"""Attributes: settings as released, a run on digits, a folder of lines, and the SVM baseline."""

import csv
import json

import h5py
import keras
import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("PIL")

from benchmarks import twins
from keras_mg.applications import AttributeNet
from keras_mg.cli import main
from keras_mg.datasets import AttributeDigits
from keras_mg.datasets.attribute_digits import ATTRIBUTES
from keras_mg.recipes import Attributes, attribute_svms, evaluate, get_recipe, predict, train
from tests.support import zoo

SMALL = get_recipe("attributes-v2-digits").changed({"data.size": 16, "batch_size": 64})
SMALL = SMALL.changed(
    {"network.version": 1, "network.levels": None, "network.input_shape": (16, 16, 3)}
).shortened(2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, train(SMALL, folder, verbose=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Few of the digits as files."""
    folder = tmp_path_factory.mktemp("digits")
    for split in ("train", "test"):
        AttributeDigits(split).split(0.9)[0].write(folder, split)
    return folder


def test_a_run_and_its_table(run, tmp_path):
    folder, result = run
    assert result["images"] == {"train": 1212, "validation": 135, "test": 450}
    assert result["best"]["by"] == "val_macro_f1"
    again = evaluate(folder)
    assert again["figures"]["macro_f1"] == pytest.approx(result["test"]["macro_f1"], abs=1e-6)
    assert again["figures"]["loss"] == pytest.approx(result["test"]["loss"], rel=1e-5)
    assert "confusion_matrix" not in again
    with (folder / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["attribute"] for row in rows} == set(ATTRIBUTES)
    f1 = [float(row["f1"] or -1) for row in rows]
    assert f1 == sorted(f1, reverse=True)
    assert all(sum(int(row[key]) for key in ("tp", "tn", "fp", "fn")) == 450 for row in rows)
    with h5py.File(predict(folder, tmp_path / "a.h5")) as file:
        answers, bits = file["prediction"][()], file["bits"][()]
    np.testing.assert_array_equal(bits, AttributeDigits("test").labels)
    (red,) = (row for row in rows if row["attribute"] == "red")
    assert int(red["tp"]) == ((answers[:, 0] > 0.5) & (bits[:, 0] == 1)).sum()


def test_what_each_epoch_counted(run, tmp_path):
    folder, result = run
    again = evaluate(folder, split="validation", output_dir=tmp_path)
    with (folder / "attributes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("epoch") for row in rows] == ["0"] * 10 + ["1"] * 10
    first, rows = rows[:10], rows[10:]
    assert {row["attribute"] for row in first} == set(ATTRIBUTES)
    assert first != rows
    expected = [
        {key: "" if value is None else str(value) for key, value in row.items()}
        for row in again["per_class"]
    ]
    assert rows == expected
    mean = np.mean([float(row["f1"] or 0) for row in rows])
    assert mean == pytest.approx(result["validation"]["macro_f1"], abs=1e-6)


def test_the_loss_knows_the_training_data(run, tmp_path):
    model = keras.saving.load_model(run[0] / "model.keras")
    data, _ = AttributeDigits("train").split(0.1)
    assert model.loss.positives == data.labels.sum(0).tolist()
    assert model.loss.power == 0.5
    assert get_recipe("attributes-v1-apascal").loss([1], [3]).power == 1


def test_twenty_steps_of_a_plain_torch_loop():
    torch = pytest.importorskip("torch")
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    steps, batch, levels = 20, 8, (1, 1, 1, 1, 1, 1, 2, 2, 2, 2)
    recipe = get_recipe("attributes-v2-digits").changed({"data.size": 16})
    recipe = recipe.changed({"network.input_shape": (16, 16, 3), "schedule.learning_rate": 1e-4})
    data = recipe.data.open(batch, seed=1)
    batches = [data.train[i] for i in range(steps)]
    model = recipe.network()
    net = zoo.copy_to_twin(model, twins.AttributeNet(2, levels, classes=10).double())
    model.compile(recipe.optimizer(1e-4), recipe.loss(**data.loss_arguments))
    losses = [float(model.train_on_batch(*each)) for each in batches]

    net.train()
    # RMSprop by its formula: torch's adds its epsilon outside of the root, which matters where
    # gradients are small, and `test_rows` compares the two where they are not.
    squares = [torch.zeros_like(p) for p in net.parameters()]
    labels = AttributeDigits("train").split(0.1)[0].labels.astype(float)
    have, lack = labels.sum(0) ** 0.5, (1 - labels).sum(0) ** 0.5
    seen = []
    for x, bits in batches:
        answers = torch.sigmoid(net(torch.tensor(np.moveaxis(x, 3, 1).copy()).double()))
        loss = 0
        for i, (p, n) in enumerate(zip(have, lack, strict=True)):
            weight = torch.full((batch,), n / p, dtype=torch.float64)
            wanted = torch.tensor(bits[:, i]).double()
            each = torch.nn.functional.binary_cross_entropy(answers[:, i], wanted, weight)
            loss = loss + p / (p + n) * each
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for p, square, gradient in zip(net.parameters(), squares, gradients, strict=True):
                square.mul_(0.9).add_(0.1 * gradient**2)
                p -= float(np.float32(1e-4)) * gradient / (square + 1e-16).sqrt()
        seen.append(loss.item())
    np.testing.assert_allclose(losses, seen, rtol=1e-5)
    theirs = zoo.copy_to_twin(model, twins.AttributeNet(2, levels, classes=10).double())
    for ours, expected in zip(theirs.parameters(), net.parameters(), strict=True):
        # A bias in front of a batch norm is rounding noise around 0.
        difference = (ours - expected).detach().abs().max()
        assert difference < 1e-7 + 1e-5 * expected.detach().abs().max()


def test_a_folder_of_lines(folder, tmp_path, capsys):
    words = ["train", "attributes-v2-digits", "--data-dir", folder, "--output-dir", tmp_path]
    words += ["--set=data.kind='folder'", "--set=data.size=16", "--epochs=1", "--batch-size=64"]
    words += ["--set=network.version=1", "--set=network.levels=None", "--verbose=0"]
    assert main([*map(str, words), "--set=network.input_shape=(16,16,3)"]) == 0
    assert f"objects of 10 attributes in {folder}" in capsys.readouterr().out
    assert json.loads((tmp_path / "result.json").read_text())["images"]["test"] == 45
    assert evaluate(tmp_path, data_dir=folder)["images"] == 45


def test_data_that_do_not_fit(folder, tmp_path):
    data = Attributes()
    with pytest.raises(ValueError, match=r"data_dir \(--data-dir\), with train.txt, test.txt and"):
        data.open(4)
    with pytest.raises(ValueError, match="embedded and need no folder. Received: data_dir="):
        Attributes("embedded").open(4, data_dir=folder)
    with pytest.raises(ValueError, match="augment_on.*Received: .*'device'"):
        data.open(4, data_dir=folder, augment_on="device")
    with pytest.raises(ValueError, match=r"in \[0, 1\). Received: 1"):
        data.open(4, data_dir=folder, validation_fraction=1)
    with pytest.raises(ValueError, match="kind.*Received: .*'web'"):
        Attributes("web")
    few = SMALL.changed({"network.classes": 4})
    with pytest.raises(ValueError, match="names 4 attributes. Received data of 10"):
        train(few, tmp_path, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": 5}, "version must be an integer from 1 to 4. Received: version=5"),
        ({"version": 2, "levels": (1, 3), "classes": 2}, r"1 to version=2 .*Received: .*\(1, 3\)"),
        ({"levels": (1, 2, 3), "classes": 2}, "for each of the 2 attributes"),
        ({"levels": (0, 1), "classes": 2}, "levels must be a positive integer"),
    ],
)
def test_levels_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttributeNet(input_shape=(16, 16, 3), **arguments)


def test_linear_machines_on_features_that_hold_the_answer(tmp_path):
    """The mean colour of the box tells its ground; nothing in it tells the number."""
    x = keras.Input((16, 16, 3))
    network = keras.Model(x, keras.layers.GlobalAveragePooling2D()(x), name="colour")
    said = []
    data = Attributes("embedded", size=16)
    result = attribute_svms(network, data, output_dir=tmp_path, report=said.append)
    rows = {row["attribute"]: row for row in result["per_attribute"]}
    assert rows["bright ground"]["f1"] > 0.9
    assert rows["even"]["accuracy"] < 0.65
    assert result["features"] == 3
    assert json.loads((tmp_path / "svm.json").read_text()) == result
    assert (tmp_path / "per_attribute.csv").read_text().startswith("attribute,tp,tn,fp,fn")
    assert "Linear SVMs on 3 features of colour: mean_f1" in said[0]
    with pytest.raises(ValueError, match="must give a vector of features.*Received: maps"):
        attribute_svms(keras.Model(x, keras.layers.ReLU()(x), name="maps"), data)
    with pytest.raises(ValueError, match="cost must be greater than 0"):
        attribute_svms(network, data, cost=0)


def test_an_attribute_without_a_difference(folder, tmp_path):
    lines = (folder / "train.txt").read_text().splitlines()
    for name, rows in (("ones.txt", [f"{line[:-1]}1" for line in lines]),):
        (folder / name).write_text("\n".join(rows))
    x = keras.Input((16, 16, 3))
    network = keras.Model(x, keras.layers.GlobalAveragePooling2D()(x))
    result = attribute_svms(network, Attributes(size=16, train="ones.txt"), folder)
    (row,) = (r for r in result["per_attribute"] if r["attribute"] == "less than five")
    assert (row["tn"], row["fn"]) == (0, 0)  # all are answered yes


def test_the_command_line(folder, tmp_path, capsys):
    words = ["svm", "ResNet20", "--data-dir", str(folder), "--size=16"]
    assert main([*words, "--output-dir", str(tmp_path)]) == 0
    assert "Linear SVMs on 10 features of resnet20" in capsys.readouterr().out
    assert main(["svm", "ResNet21"]) == 2
    assert "no network 'ResNet21'" in capsys.readouterr().err
    assert main([*words, "--set=depth=3"]) == 2
    assert "unexpected keyword argument 'depth'" in capsys.readouterr().err
    target = tmp_path / "data"
    target.mkdir()
    assert main(["data", "prepare", "attribute_digits", "--data-dir", str(target)]) == 0
    assert main(["data", "prepare", "attribute_digits", "--data-dir", str(target)]) == 0
    assert "attribute_digits is there" in capsys.readouterr().out
    assert len((target / "attribute_digits" / "train.txt").read_text().splitlines()) == 1347
