"""Recipes on photographs: settings as released, folders of classes, and a run that ends."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from keras_mg.applications import MgNet
from keras_mg.cli import main
from keras_mg.datasets import (
    ColorJitter,
    HSLJitter,
    ImageFolder,
    PCALighting,
    RandomAreaCrop,
    RandomAspectCrop,
    TenCrops,
)
from keras_mg.datasets.photo_batches import MEAN, STD, decode
from keras_mg.recipes import StepDecay, evaluate, get_recipe, list_recipes, train, with_layers


@pytest.fixture
def folder(tmp_path):
    """Two classes of photographs, dark and bright."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 3)):
        for label, name in enumerate(("n01", "n02")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 60, (40, 50, 3)) + 180 * label
                Image.fromarray(pixels.astype("uint8")).save(tmp_path / part / name / f"{i}.JPEG")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "batch", "accumulated"),
    [("rmg18", 64, 4), ("rmg34", 64, 4), ("prmg-seg30", 16, 16), ("prmg-seg52", 16, 16)],
)
def test_the_multigrid_networks_as_released(name, batch, accumulated):
    recipe = get_recipe(f"{name}-imagenet")
    optimizer = recipe.optimizer(0.1)
    found = optimizer.momentum, optimizer.nesterov, optimizer.weight_decay
    assert found == (0.9, False, 1e-4)
    assert (recipe.batch_size, optimizer.gradient_accumulation_steps) == (batch, accumulated)
    assert recipe.data.steps_per_epoch == 10_000 * accumulated
    assert (recipe.epochs, recipe.restarts_velocity) == (200, True)
    assert recipe.schedule == StepDecay(0.1, drops=(30, 60, 90, 120, 150, 180), factor=0.1)
    assert recipe.data.crop == RandomAreaCrop(224, (0.08, 1), (3 / 4, 4 / 3))
    assert recipe.data.colors == (ColorJitter(0.4, 0.4, 0.4), PCALighting(0.1))
    assert recipe.data.flip
    statistics = recipe.data.statistics
    assert np.divide(statistics.mean, 255) == pytest.approx((0.485, 0.456, 0.406))
    assert np.divide(statistics.std, 255) == pytest.approx((0.229, 0.224, 0.225))
    if "seg" in name:
        assert recipe.network.keywords["shortcut"] == "A"


@pytest.mark.parametrize("name", ["l100m2", "l16m16", "l4m32", "resnet18-c64", "resnet18-c69"])
def test_the_igc_networks_as_released(name):
    recipe = get_recipe(f"igc-{name}-imagenet")
    optimizer = recipe.optimizer(0.1)
    found = optimizer.momentum, optimizer.nesterov, optimizer.weight_decay
    assert found == (0.9, True, 1e-4)
    assert (recipe.epochs, recipe.batch_size) == (120, 256)
    assert recipe.schedule == StepDecay(0.1, drops=(30, 60, 90), factor=0.1)
    assert recipe.data.crop == RandomAspectCrop(224, 480, (0.533, 1), 0.25)
    assert recipe.data.colors == (HSLJitter(36, 50, 50),)
    assert recipe.data.statistics.mean == (123.370, 112.757, 99.406)
    assert recipe.data.statistics.std == (68.998, 66.093, 68.292)
    assert recipe.claims


def small(name, **changes):
    """A recipe on photographs of 16 pixels with a small MgNet."""
    recipe = get_recipe(name).changed(
        {"data.crop.size": 16, "data.evaluation.size": 16, "data.evaluation.shorter": 20}
        | {"batch_size": 4}
        | changes
    )
    network = {"iterations": (1, 1), "filters": 4, "classes": 2, "classifier_activation": None}
    network["input_shape"] = (16, 16, 3)
    return recipe.shortened(2), network


@pytest.mark.parametrize("layers", [(), ("mix_up",)])
@pytest.mark.filterwarnings("ignore:Tensor.T is deprecated on 0-D tensors:UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_small_run_on_a_folder(folder, tmp_path, layers):
    recipe, network = small("igc-l100m2-imagenet")
    recipe = dataclasses.replace(with_layers(recipe, layers), network=partial(MgNet, **network))
    result = train(recipe, tmp_path / "run", data_dir=folder, validation_fraction=0.25, verbose=0)
    assert result["images"] == {"train": 12, "validation": 4, "test": 6}
    assert np.isfinite(result["test"]["loss"])
    assert 0 <= result["test"]["accuracy"] <= 1


def test_ten_crops(folder, tmp_path, capsys):
    # A bright corner, so that each crop is another image.
    for i, path in enumerate(sorted((folder / "val").rglob("*.JPEG"))):
        pixels = np.zeros((40, 50, 3), "uint8")
        pixels[: 5 + 5 * i, : 30 - 3 * i] = 250
        Image.fromarray(pixels).save(path)
    settings = {"network.iterations": (1, 1), "network.filters": 4, "network.classes": 2}
    recipe, _ = small(
        "mgnet-imagenet",
        **settings,
        **{"network.stem": "cifar", "network.input_shape": (16, 16, 3)},
    )
    model = recipe.network()
    path = tmp_path / "a.weights.h5"
    # Logits far from 0, so that the mean of probabilities is not the softmax of the mean.
    model.layers[-1].kernel.assign(300 * model.layers[-1].kernel)
    model.save_weights(path)
    one = evaluate(recipe, path, data_dir=folder)
    ten = evaluate(recipe, path, tmp_path / "out", data_dir=folder, crops=10)
    assert (one["crops"], ten["crops"], ten["images"]) == (1, 10, 6)

    photos = ImageFolder(folder / "val")
    likelihoods, right = [], 0
    for i in range(len(photos)):
        crops = TenCrops(16, 20)(decode(photos[i].content)).astype("float64")
        x = (crops - np.array(MEAN)) / np.array(STD)
        exponentials = np.exp(model.predict(x.astype("float32"), verbose=0).astype("float64"))
        probabilities = (exponentials / exponentials.sum(1, keepdims=True)).mean(0)
        likelihoods.append(-np.log(probabilities[photos[i].label]))
        right += probabilities.argmax() == photos[i].label
    assert ten["figures"]["loss"] == pytest.approx(np.mean(likelihoods), rel=1e-3)
    assert ten["figures"]["loss"] != pytest.approx(one["figures"]["loss"], rel=1e-2)
    assert ten["figures"]["top_1"] == ten["figures"]["accuracy"] == pytest.approx(right / 6)
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["crops"] == 10
    with pytest.raises(ValueError, match=r"crops must be one of \(1, 10\). Received: .*5"):
        evaluate(recipe, path, data_dir=folder, crops=5)
    digits = get_recipe("mgnet-digits")
    with pytest.raises(ValueError, match="of photographs. Received: mgnet-digits, crops=10"):
        evaluate(digits, path, crops=10)
    words = ["evaluate", "mgnet-digits", "--weights", str(path), "--crops=10"]
    assert main(words) == 2
    assert "Ten crops are made of photographs" in capsys.readouterr().err


def test_folders_and_arguments_that_do_not_do(folder, tmp_path):
    data = get_recipe("rmg18-imagenet").data
    with pytest.raises(ValueError, match=r"data_dir \(--data-dir\), with train/ and val/ in it"):
        data.open(4)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere/train"):
        data.open(4, data_dir=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="augment_on.*Received: .*'device'"):
        data.open(4, data_dir=folder, augment_on="device")
    with pytest.raises(ValueError, match=r"\[0, 1\). Received: 1.5"):
        data.open(4, data_dir=folder, validation_fraction=1.5)
    with pytest.raises(ValueError, match="in both parts. Received: fraction=0.01, and 8"):
        data.open(4, data_dir=folder, validation_fraction=0.01)
    (folder / "val" / "n03").mkdir()
    with pytest.raises(ValueError, match=r"classes must name every folder .*none for: n03"):
        data.open(4, data_dir=folder, validation_fraction=0)


def test_there_is_a_row_for_every_network():
    assert len(list_recipes("*-imagenet")) == 10
    assert get_recipe("mgnet-imagenet").claims == {"accuracy": 0.7859}
