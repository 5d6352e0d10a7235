"""Cluttered MNIST as recipes: settings of the paper, data of each kind, and a run that learns."""

import dataclasses

import numpy as np
import pytest

from keras_mg.datasets import cluttered_mnist as cm
from keras_mg.datasets import load_mnist_digits, prepare_dataset
from keras_mg.recipes import (
    ClutteredMNIST,
    GeometricDecay,
    StepDecay,
    evaluate,
    get_recipe,
    list_recipes,
    train,
)

TASKS = ("seg", "spt", "rot", "sca", "tra", "aff")


@pytest.mark.parametrize("network", ["pmg", "prmg", "unet", "umg"])
def test_each_network_on_each_task_as_released(network):
    for task in TASKS:
        recipe = get_recipe(f"{network}-mnist-{task}")
        optimizer = recipe.optimizer(0.1)
        assert (optimizer.momentum, optimizer.nesterov, optimizer.weight_decay) == (
            0.9,
            False,
            5e-4,
        )
        assert recipe.epochs == 200
        assert recipe.restarts_velocity
        assert recipe.data.task == task
        assert recipe.network.keywords["outputs"] == (10 if task == "seg" else 1)
        accumulated = optimizer.gradient_accumulation_steps
        if network == "prmg":
            assert (recipe.batch_size, recipe.data.steps_per_epoch, accumulated) == (32, 1600, 2)
            assert recipe.schedule == StepDecay(0.1, drops=(60, 120, 160), factor=0.2)
        else:
            steps = 150 if task == "seg" else 800
            assert (recipe.batch_size, recipe.data.steps_per_epoch) == (64, steps)
            assert accumulated is None
            assert recipe.schedule == GeometricDecay(0.1, 1e-4)
    assert len(list_recipes(f"{network}-mnist-*")) == 6


def test_the_stored_canvases(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    task = dataclasses.replace(cm.TASKS["rot"], sizes=(12, 6, 5))
    monkeypatch.setitem(cm.TASKS, "rot", task)
    data = ClutteredMNIST("rot", steps_per_epoch=3)
    with pytest.raises(FileNotFoundError, match="keras-mg data prepare cluttered_mnist/rot"):
        data.open(4, data_dir=tmp_path)
    prepare_dataset("cluttered_mnist/rot", tmp_path, "embedded")
    splits = data.open(4, data_dir=tmp_path)
    assert splits.sizes == {"train": 12, "validation": 6, "test": 5}
    assert [len(splits.validation[i][0]) for i in range(len(splits.validation))] == [4, 2]
    seen = np.concatenate([splits.train[i][1] for i in range(3)])
    digits = load_mnist_digits("embedded")["train"]
    targets = np.stack([cm.Canvases("rot", digits)[i][1] for i in range(12)])
    assert sorted(x.tobytes() for x in seen) == sorted(
        x.astype("float32").tobytes() for x in targets
    )
    joined = data.open(4, data_dir=tmp_path, validation_fraction=0)
    assert joined.validation is None
    assert len(joined.train.source) == 18
    with pytest.raises(ValueError, match="takes no validation_fraction.*Received: .*=0.1"):
        data.open(4, data_dir=tmp_path, validation_fraction=0.1)
    with pytest.raises(ValueError, match="takes no augment_on.*Received: augment_on=host"):
        data.open(4, data_dir=tmp_path, augment_on="host")
    with pytest.raises(ValueError, match="takes no data_dir"):
        ClutteredMNIST("rot", 3, "embedded").open(4, data_dir=tmp_path)
    with pytest.raises(ValueError, match="kind.*Received: .*'web'"):
        ClutteredMNIST("rot", 3, "web")


def test_canvases_to_measure_on_do_not_depend_on_the_seed():
    data = ClutteredMNIST("aff", 2, "embedded", evaluated=6)
    first, second = data.open(4, seed=0), data.open(4, seed=1)
    for part in ("validation", "test"):
        np.testing.assert_array_equal(getattr(first, part)[1][0], getattr(second, part)[1][0])
    assert (first.train[0][0] != second.train[0][0]).any()
    assert (first.validation[0][0] != first.test[0][0]).any()


def test_a_small_run(tmp_path):
    recipe = get_recipe("pmg-digits-tra").changed(
        {
            "network.filters": (4, 4, 4, 4),
            "data.steps_per_epoch": 4,
            "data.evaluated": 8,
            "batch_size": 8,
        }
    )
    result = train(recipe.shortened(2), tmp_path / "run", verbose=0)
    assert result["images"] == {"train": 32, "validation": 8, "test": 8}
    assert 0 <= result["test"]["mean_iu"] <= 1
    losses = [row["loss"] for row in result["history"]]
    assert losses[1] < losses[0]
    picture = tmp_path / "run" / "transformation.png"
    drawn = picture.read_bytes()
    assert evaluate(tmp_path / "run")["figures"]["mean_iu"] == result["test"]["mean_iu"]
    assert picture.read_bytes() == drawn
    evaluate(tmp_path / "run", split="validation")
    other = tmp_path / "run" / "validation-transformation.png"
    assert other.read_bytes() != drawn == picture.read_bytes()
