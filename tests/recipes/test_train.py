"""A run by a recipe: what it measures and saves, and that an interruption changes nothing."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from keras_mg.applications import IGCResNet, ResNet20, igc_cifar
from keras_mg.datasets import Images, SetEpoch
from keras_mg.recipes import IGC_CIFAR, train
from keras_mg.recipes.train import InterruptedRunError, trainable_parameters

EPOCHS = 4
RECIPE = dataclasses.replace(IGC_CIFAR.shortened(EPOCHS), batch_size=16, learning_rate=0.05)
TRAINED = ["history.csv", "model.keras", "result.json"]


def images(count, seed):
    """Three classes that a colour tells apart, hard enough that not all is right at once."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    noise = rng.integers(0, 150, (count, 32, 32, 3))
    noise[np.arange(count), :, :, labels] += 60
    return Images(noise.astype("uint8"), labels)


TRAIN, VALIDATION, TEST = images(56, 1), images(12, 2), images(30, 3)


def network(**kwargs):
    return IGCResNet(8, 2, 2, **{"classes": 3, "classifier_activation": None, **kwargs})


def run(folder, model=None, validation=VALIDATION, **kwargs):
    # The process that goes on after an interruption begins with other weights than the first did.
    model = model or network()
    arguments = {"recipe": RECIPE, "verbose": 0, "seed": 3, "settings": {"dataset": "colours"}}
    arguments |= kwargs
    result = train(
        model=model,
        train=TRAIN,
        validation=validation,
        test=TEST,
        preprocess_input=igc_cifar.preprocess_input,
        output_dir=folder,
        **arguments,
    )
    return model, result


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def interrupt(monkeypatch):
    """Ends training when an epoch begins, as Ctrl-C would."""

    def interrupt(epoch, error=KeyboardInterrupt):
        plain = SetEpoch.on_epoch_begin

        def on_epoch_begin(self, begun, logs=None):
            if begun == epoch:
                monkeypatch.setattr(SetEpoch, "on_epoch_begin", plain)
                raise error
            plain(self, begun, logs)

        monkeypatch.setattr(SetEpoch, "on_epoch_begin", on_epoch_begin)

    return interrupt


def test_a_run_measures_what_it_saves(tmp_path):
    folder = tmp_path / "a" / "b"
    model, result = run(folder)
    assert names(folder) == TRAINED
    assert json.loads((folder / "result.json").read_text()) == result

    x = igc_cifar.preprocess_input(TEST.images)
    wrong = model.predict(x, verbose=0).argmax(-1) != TEST.labels
    assert result["test_error"] == pytest.approx(wrong.mean(), abs=1e-6)
    assert wrong.mean() < 0.6  # better than the 2/3 of chance: it has learned
    held = igc_cifar.preprocess_input(VALIDATION.images)
    wrong = model.predict(held, verbose=0).argmax(-1) != VALIDATION.labels
    assert result["validation_error"] == pytest.approx(wrong.mean(), abs=1e-6)

    assert [row["epoch"] for row in result["history"]] == list(range(EPOCHS))
    assert set(result["history"][0]) == {"epoch", "accuracy", "loss", "val_accuracy", "val_loss"}
    assert result["recipe"]["drops"] == [2, 3]
    sizes = [result[f"{part}_images"] for part in ("train", "validation", "test")]
    assert sizes == [56, 12, 30]

    loaded = keras.saving.load_model(folder / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    classifier = IGCResNet(8, 2, 2, classes=3, weights=folder / "model.keras")
    np.testing.assert_allclose(
        classifier.predict(x, verbose=0),
        keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(x, verbose=0))),
        atol=1e-6,
    )


def test_trainable_parameters_are_those_of_the_study():
    assert trainable_parameters(ResNet20()) == 271_886


def test_the_optimizer_follows_the_recipe(tmp_path):
    model, _ = run(tmp_path)
    assert int(model.optimizer.iterations) == EPOCHS * 4  # 56 images in batches of 16
    assert model.optimizer.weight_decay == 1e-4
    rates = []
    for step in range(EPOCHS * 4):
        model.optimizer.iterations.assign(step)
        rates.append(float(model.optimizer.learning_rate))
    assert rates == pytest.approx([0.05] * 8 + [0.005] * 4 + [0.0005] * 4)


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_resumed_run_ends_where_it_would_have_ended(tmp_path, interrupt, epoch):
    keras.utils.set_random_seed(8)
    whole_model, whole = run(tmp_path / "whole")
    keras.utils.set_random_seed(8)
    interrupt(epoch)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts")
    assert names(tmp_path / "parts") == ["backup", "history.csv", "settings.json"]
    keras.utils.set_random_seed(9)
    model, result = run(tmp_path / "parts")
    assert names(tmp_path / "parts") == TRAINED
    assert result["resumed_after_epochs"] == epoch
    for a, b in zip(model.get_weights(), whole_model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for key in ("history", "test_error", "test_loss", "validation_error"):
        assert result[key] == whole[key]


def test_a_run_that_ends_while_it_is_measured_is_not_trained_again(tmp_path, monkeypatch):
    keras.utils.set_random_seed(8)
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path)
    weights = []
    step = keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda *a: weights.append(a) or step(*a))
    _, result = run(tmp_path)
    assert not weights
    assert names(tmp_path) == TRAINED
    assert len(result["history"]) == EPOCHS


def test_results_of_an_earlier_run_stay_until_there_are_new_ones(tmp_path, interrupt):
    (tmp_path / "model.keras").write_bytes(b"of an earlier run")
    (tmp_path / "notes.txt").write_bytes(b"somebody's own")
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert (tmp_path / "model.keras").read_bytes() == b"of an earlier run"
    run(tmp_path)
    assert (tmp_path / "model.keras").read_bytes() != b"of an earlier run"
    assert names(tmp_path) == sorted([*TRAINED, "notes.txt"])


def test_other_settings_do_not_resume(tmp_path, interrupt):
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    slower = dataclasses.replace(RECIPE, learning_rate=0.01)
    for changes, message in (
        ({"recipe": slower}, r"other settings: recipe.learning_rate 0.05 \(now 0.01\)\. Give"),
        ({"seed": 4}, r"seed 3 \(now 4\)"),
        ({"settings": {}}, r"settings.dataset 'colours' \(now None\)"),
        ({"augment_on": "device"}, r"augment_on 'host' \(now 'device'\)"),
        ({"validation": None}, r"validation_images 12 \(now 0\)"),
        ({"model": network(classes=4)}, r"trainable_parameters \d+ \(now \d+\)"),
    ):
        with pytest.raises(InterruptedRunError, match=message):
            run(tmp_path, **changes)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    (tmp_path / "settings.json").unlink()
    with pytest.raises(InterruptedRunError, match=r"settings.json, which says of which, cannot be"):
        run(tmp_path)


def test_a_run_whose_images_are_on_the_device(tmp_path, interrupt):
    _, on_host = run(tmp_path / "host")
    assert on_host["augment_on"] == "host"  # on a CPU
    keras.utils.set_random_seed(8)
    model, whole = run(tmp_path / "whole", augment_on="device")
    assert whole["augment_on"] == "device"
    assert whole["test_error"] < 0.6
    keras.utils.set_random_seed(8)
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", augment_on="device")
    resumed, parts = run(tmp_path / "parts", augment_on="device")
    assert parts["history"] == whole["history"]
    for a, b in zip(resumed.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="augment_on must be one of .* Received: augment_on='gpu'"):
        run(tmp_path / "none", augment_on="gpu")


def test_without_validation(tmp_path):
    _, result = run(tmp_path, validation=None)
    assert result["validation_error"] is None
    assert result["validation_images"] == 0
    assert set(result["history"][0]) == {"epoch", "accuracy", "loss"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_leaves_no_model_and_nothing_to_resume(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"of an earlier run")
    recipe = dataclasses.replace(RECIPE, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"diverged: the loss is not finite .* No model"):
        run(tmp_path, recipe=recipe)
    assert names(tmp_path) == ["history.csv", "model.keras"]
    assert (tmp_path / "model.keras").read_bytes() == b"of an earlier run"


def test_models_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r"must give logits: build it with classifier_activation"):
        run(tmp_path, network(classifier_activation="softmax"))
    with pytest.raises(ValueError, match=r"tells 2 classes apart. Received a label 2: .*classes=3"):
        run(tmp_path, network(classes=2))
    assert not names(tmp_path)
