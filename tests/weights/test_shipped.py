"""The weights inside the package: found without a network, and giving what they gave when trained.

`tests/data/shipped/NETWORK-TAG.npz` holds images of the test set and what the run's own saved model
gave for them, written when the weights were published.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_mg import applications
from keras_mg.metrics import MeanIU
from keras_mg.recipes import evaluate, get_recipe
from keras_mg.weights import TrainedInfo, WeightsError, weights_info
from keras_mg.weights._hashing import file_hash
from keras_mg.weights._trained import INDEX, PACKAGE_FOLDER
from tests.support.store_shipped import COUNT, STEP, STORED, first_images

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [record for record in weights_info() if isinstance(record, TrainedInfo)]
every = pytest.mark.parametrize("record", SHIPPED, ids=lambda r: f"{r.network}-{r.tag}")


def build(record, **kwargs):
    construct = getattr(applications, record.network)
    return construct(**{**record.arguments, "weights": record.tag, **kwargs})


def test_which_there_are():
    assert {(r.network, r.tag) for r in SHIPPED} == {
        ("ResNet20", "cifar10"),
        ("SegPMG", "digits"),
        ("SegPMG", "cluttered_mnist_seg"),
        ("SegPMG", "cluttered_mnist_spt"),
        ("IGCResNet", "cifar10"),
        ("IGCResNet", "digits"),
        ("MgNet", "cifar10"),
        ("MgNet", "digits"),
    }


@pytest.mark.parametrize(
    "arguments", [{"final_relu": False}, {"block": "bn_after_add"}], ids=lambda a: next(iter(a))
)
def test_a_network_of_equal_shapes_that_computes_something_else_is_refused(arguments):
    with pytest.raises(WeightsError, match="has other settings than the one that was trained"):
        applications.ResNet20(**arguments, weights="cifar10")


@every
def test_the_files_are_the_published_ones_and_small(record):
    assert file_hash(record.path, "sha256") == record.hash
    assert record.path.stat().st_size == record.size
    named = {record.filename, INDEX, f"{record.network}-{record.tag}.md"}
    named |= {record.preprocessing["filename"]} if record.preprocessing else set()
    for other in SHIPPED:
        named |= {other.filename, f"{other.network}-{other.tag}.md"}
        named |= {other.preprocessing["filename"]} if other.preprocessing else set()
    assert {path.name for path in PACKAGE_FOLDER.iterdir()} == named
    assert sum(path.stat().st_size for path in PACKAGE_FOLDER.iterdir()) <= 10e6


@every
def test_without_a_network_and_with_an_empty_home(record, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_MG_OFFLINE", "1")
    recipe = get_recipe(record.recipe)
    with np.load(STORED / f"{record.network}-{record.tag}.npz") as stored:
        expected = stored["outputs"]
        if "images" in stored:
            x, truth = record.preprocess(stored["images"]), stored["truth"]
        else:
            x, truth = first_images(recipe, record.preprocessing_path)
    maps = expected.ndim == 4
    model = build(record, **({} if maps else {"classifier_activation": None}))
    outputs = model.predict(x, verbose=0)
    seen = outputs[:, ::STEP, ::STEP] if maps else outputs
    assert len(seen) == COUNT
    np.testing.assert_allclose(seen, expected, rtol=0, atol=2e-5 * max(1, np.abs(expected).max()))
    assert list(tmp_path.iterdir()) == []
    # A hundred images tell the figure on all of them to some percent.
    if maps:
        metric = MeanIU()
        metric.update_state(truth, outputs)
        assert float(metric.result()) == pytest.approx(record.figures["mean_iu"], abs=0.1)
    else:
        accuracy = (outputs.argmax(-1) == truth).mean()
        assert accuracy == pytest.approx(record.figures["accuracy"], abs=0.1)


def _rounding(result):
    """How far a figure may be from the record's, which is measured in float32."""
    return 0 if result["recipe"]["network"].get("dtype") is None else 0.005


@every
def test_the_record_is_that_of_the_evidence(record):
    folders = [p.parent for p in ROOT.glob("applications/*/evidence/*/result.json")]
    results = {p: json.loads((p / "result.json").read_text()) for p in folders}
    (folder,) = [
        p
        for p, result in results.items()
        if result["recipe"]["name"] == record.recipe
        and result["test"] == (pytest.approx(dict(record.figures), abs=_rounding(result)))
    ]
    assert (folder / "history.csv").is_file()
    assert (folder / "curves.png").is_file()
    result = results[folder]
    assert (result["seed"], result["recipe"]["epochs"]) == (record.seed, record.epochs)
    assert result["images"] == dict(record.images)
    assert get_recipe(record.recipe).source == record.source


@every
def test_a_trunk_of_them(record):
    trunk = build(record, include_top=False, input_shape=record.input_shape)
    whole = build(record)
    own = {v.path: keras.ops.convert_to_numpy(v) for v in whole.weights}
    shared = [v for v in trunk.weights if v.path in own]
    assert len(shared) >= 0.9 * len(trunk.weights)
    for v in shared:
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(v), own[v.path])


@pytest.mark.slow
@every
def test_the_whole_test_set(record):
    recipe = get_recipe(record.recipe)
    try:
        measured = evaluate(recipe, record.tag)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    for name, value in record.figures.items():
        assert measured["figures"][name] == pytest.approx(value, abs=2e-4)
