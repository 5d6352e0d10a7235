"""What networks look at, of runs and of weights by a recipe, in one picture."""

import importlib

import h5py
import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from PIL import Image

from keras_mg.cli import main
from keras_mg.datasets.cluttered_mnist import MEAN, STD
from keras_mg.recipes import get_recipe, saliency, train

module = importlib.import_module("keras_mg.recipes.saliency")  # the name is the function's

SMALL = {"data.steps_per_epoch": 2, "data.evaluated": 3, "batch_size": 4}
# An output that begins at 1/2 has a bounding box without training.
PMG = get_recipe("pmg-digits-tra").shortened(1).changed({**SMALL, "network.filters": [2, 2, 2]})
UNET = get_recipe("unet-mnist-tra").changed(
    {**SMALL, "network.filters": [2, 2, 2, 2], "data.kind": "embedded"}
)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The folder of a run, and a weights file."""
    folder = tmp_path_factory.mktemp("networks")
    train(PMG, folder / "run", verbose=0)
    weights = folder / "unet.weights.h5"
    UNET.network().save_weights(weights)
    return folder / "run", weights


def test_networks_side_by_side(networks, tmp_path):
    run, weights = networks
    said = []
    written = saliency([run, (UNET, weights)], tmp_path / "out", images=2, report=said.append)
    names = [f"saliency-{name}.h5" for name in ("pmg-digits-tra", "unet-mnist-tra")]
    names += [f"saliency-id{i:05d}.png" for i in (0, 1)]
    assert [path.name for path in written] == names
    assert names[-1] in said[0]
    x, _ = PMG.data.open(4).test[0]
    files = [h5py.File(path) for path in written[:2]]
    with files[0] as one, files[1] as other:
        for i in (0, 1):
            group = one[f"id{i:05d}"]
            np.testing.assert_allclose(group["input"][0], x[i, ..., 0] * STD + MEAN, atol=1e-6)
            assert group["output"].shape == (842, 64, 64)
            assert group["gradient"].shape == (7, 64, 64)
            # The same noise for both.
            same = (group["input"][()] == other[f"id{i:05d}"]["input"][()]).mean()
            assert same == 1
        assert (one["id00000/input"][1] != one["id00001/input"][1]).any()
    with Image.open(written[2]) as picture:
        assert picture.height > picture.width > 600


def test_of_ten_maps_that_of_the_largest_digit_is_looked_at(tmp_path, monkeypatch):
    small = {"network.filters": [2, 2, 2], "network.output_bias": 0.0}
    recipe = get_recipe("segment-digits").changed(small | {"data.test": 8})
    recipe.network().save_weights(tmp_path / "a.weights.h5")
    asked = []
    whole = module.occlusion_saliency

    def quick(*args, **kwargs):
        asked.append(args[4])
        return whole(*args, **kwargs, stride=28)

    monkeypatch.setattr(module, "occlusion_saliency", quick)
    saliency([(recipe, tmp_path / "a.weights.h5")], tmp_path, images=3)
    _, maps = recipe.data.open(8).test[0]
    assert asked == [int(each.sum((0, 1)).argmax()) for each in maps[:3]]


def test_the_command_line(networks, tmp_path, capsys):
    run, weights = networks

    def command(*words):
        code = main(["saliency", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    code, out, _ = command(run, run, "--output-dir", tmp_path, "--images=1", "--split=validation")
    assert code == 0
    assert "saliency-pmg-digits-tra-2.h5, saliency-id00000.png" in out
    for words, message in (
        ([], "Missing argument"),
        ([tmp_path], "holds no finished run"),
        ([f"no-recipe={weights}"], "There is no recipe"),
        ([f"pmg-digits-tra={weights}"], "another network"),
    ):
        code, _, error = command(*words, "--output-dir", tmp_path / "none")
        assert code == 2
        assert message in error
        assert not (tmp_path / "none").exists()


def test_what_cannot_be_looked_at(networks, tmp_path):
    run, weights = networks
    rotated = UNET.changed({"data.task": "rot"})
    with pytest.raises(ValueError, match="same canvases. Received: pmg-digits-tra, unet-mnist"):
        saliency([run, (rotated, weights)], tmp_path)
    with pytest.raises(ValueError, match="must be a network to look at"):
        saliency([], tmp_path)
    classifier = get_recipe("mgnet-digits").changed(
        {"network.iterations": [1, 1], "network.filters": 4}
    )
    classifier.network().save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match="maps of canvases. .*whose data are LabelledImages"):
        saliency([(classifier, tmp_path / "a.weights.h5")], tmp_path)
    empty = UNET.changed({"network.output_bias": -9.0})
    empty.network().save_weights(tmp_path / "b.weights.h5")
    with pytest.raises(ValueError, match="No output has a bounding box in the 2 canvases"):
        saliency([(empty, tmp_path / "b.weights.h5")], tmp_path / "out", images=2)
