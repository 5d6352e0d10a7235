"""Every recipe runs by its command with a small --scale: one of each family, and all of them.

The images are real and few: scikit-learn's digits in the form of the recipe's data.
"""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from PIL import Image

from keras_mg.cli import main
from keras_mg.datasets import AttributeDigits, Images, load_images
from keras_mg.datasets.images import DATASETS
from keras_mg.recipes import (
    Attributes,
    ClutteredMNIST,
    DigitCanvases,
    LabelledImages,
    Photographs,
    data,
    evaluate,
    get_recipe,
    list_recipes,
)

COUNT = 24  # images of each part
# What makes the family's smallest network smaller still, in the runs of every day.
SMALL = {
    "segment-digits": ["network.filters=4,4,4,4"],
    "igc-plain-digits": [
        *("network.depth=5", "network.primary_partitions=4", "network.secondary_partitions=2"),
    ],
    "igc-l100m2-imagenet": [
        *("data.crop.size=32", "data.evaluation.size=32", "network.input_shape=(32,32,3)"),
    ],
    "mgnet-mnist": ["network.filters=4"],
    "resnet20-corrected-rmsprop-1e-3-cifar10": [],
    "prmg-mnist-tra": ["network.filters=4,4,4,4"],
    "attributes-v2-digits": ["data.size=16", "network.input_shape=(16,16,3)"],
    # Whitening looks at all pixels of all images, whatever the network.
    "mg6-digits": [],
}


# After six steps, moving statistics are still those that they begin with, and numbers grow from one
# of 54 sums to the next until they overflow.
STEADY = {"resnet110-corrected-bn-after-add-cifar10": ["network.momentum=0.0"]}


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    """The embedded digits stand in for every data set of labelled images."""
    real = load_images("digits", "train", None)

    def load(dataset, split, data_dir=None):
        height, width, channels = DATASETS[dataset].image_shape
        rows = slice(0, COUNT) if split == "train" else slice(COUNT, 2 * COUNT)
        images = real.images[rows, :height, :width, :channels]
        return Images(np.ascontiguousarray(images), real.labels[rows])

    monkeypatch.setattr(data, "load_images", load)


def photographs(folder):
    digits = load_images("digits", "train", None)
    for part, begin in (("train", 0), ("val", 12)):
        for label in (0, 1):
            (folder / part / f"n{label}").mkdir(parents=True)
            rows = np.flatnonzero(digits.labels == label)[begin : begin + 4]
            for i in rows:
                picture = Image.fromarray(digits.images[i]).resize((240, 250))
                picture.save(folder / part / f"n{label}" / f"{i}.jpeg")


def lines(folder, bits):
    """The digits in boxes, with their ten bits again and again up to so many."""
    for split in ("train", "test"):
        path = AttributeDigits(split).split(0.96)[0].write(folder, split)
        rows = [line.split() for line in path.read_text().splitlines()]
        more = [" ".join([*row[:6], *(10 * row[6:])[:bits]]) for row in rows]
        path.write_text("\n".join(more))
    (folder / "attributes.txt").unlink()


def words_for(name, folder):
    """What makes a run of a recipe small, whatever it is on."""
    recipe = get_recipe(name)
    steps = recipe.optimizer(0.1).gradient_accumulation_steps or 1
    settings, words = [], ["--scale=0.001", "--batch-size=4"]
    if isinstance(recipe.data, LabelledImages):
        words.append("--validation-fraction=0")
        if recipe.data.steps_per_epoch is not None:
            settings.append(f"data.steps_per_epoch={steps}")
    elif isinstance(recipe.data, Photographs):
        photographs(folder)
        settings += [f"data.{crop}.size=64" for crop in ("crop", "evaluation")]
        settings.append("network.input_shape=(64,64,3)")
        words += [f"--data-dir={folder}", "--validation-fraction=0"]
        if recipe.data.steps_per_epoch is not None:
            settings.append(f"data.steps_per_epoch={steps}")
    elif isinstance(recipe.data, ClutteredMNIST):
        settings += ["data.kind=embedded", "data.evaluated=4", f"data.steps_per_epoch={steps}"]
    elif isinstance(recipe.data, DigitCanvases):
        settings += ["data.steps_per_epoch=2", "data.validation=4", "data.test=4"]
    else:
        assert isinstance(recipe.data, Attributes)
        lines(folder, recipe.network.keywords["classes"])
        words += [f"--data-dir={folder}", "--batch-size=16"]
        settings += ["data.kind=folder", "data.train=train.txt", "data.test=test.txt"]
    return [*words, *(f"--set={setting}" for setting in settings)]


def run(name, folder, more=()):
    folder.mkdir()
    words = words_for(name, folder / "data")
    out = folder / "out"
    words += [*(f"--set={setting}" for setting in more), "--verbose=0", f"--output-dir={out}"]
    assert main(["train", name, *words]) == 0
    result = json.loads((out / "result.json").read_text())
    assert result["recipe"]["name"] == name
    assert any(" of " in said and "epochs" in said for said in result["recipe"]["differs"])
    assert np.isfinite([result["test"]["loss"], result["history"][0]["loss"]]).all()
    assert (out / "model.keras").exists()
    assert (out / "curves.png").exists()
    for picture in get_recipe(name).pictures:
        assert (out / picture).exists()
    return out, result


@pytest.mark.parametrize("name", SMALL)
def test_one_of_each_family(name, tmp_path):
    out, result = run(name, tmp_path / "run", SMALL[name])
    folder = tmp_path / "run" / "data"
    again = evaluate(out, data_dir=folder if folder.exists() else None)
    assert again["figures"]["loss"] == pytest.approx(result["test"]["loss"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_recipes())
def test_all(name, tmp_path):
    try:
        run(name, tmp_path / "run", STEADY.get(name, ()))
    finally:
        shutil.rmtree(tmp_path)  # some have 90 million parameters
