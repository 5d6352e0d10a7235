"""A run by a recipe: what it measures and saves, and that an interruption changes nothing."""

import dataclasses
import importlib.util
import json
import signal
import sys
import threading

import keras
import numpy as np
import pytest

from keras_mg.applications import IGCResNet, ResNet20
from keras_mg.datasets import Images, MeanImage, Normalizer, SetEpoch, ShiftAndFlip
from keras_mg.recipes import (
    InterruptedRunError,
    StepDecay,
    data,
    evaluate,
    get_recipe,
    train,
)
from keras_mg.recipes._callbacks import Goal, Unread, goal_of
from keras_mg.recipes.train import trainable_parameters
from keras_mg.training import Checkpoint
from keras_mg.training import _checkpoint_files as files

EPOCHS = 4
RECIPE = (
    get_recipe("igc-resnet-cifar10")
    .shortened(EPOCHS)
    .changed(
        {
            "network.depth": 8,
            "network.primary_partitions": 2,
            "network.secondary_partitions": 2,
            "network.classes": 3,
            "schedule.learning_rate": 0.05,
            "batch_size": 16,
        }
    )
)
# As the Torch study's: normalised by a mean image of the training images, drawn with replacement.
FITTED = RECIPE.changed(
    {
        "data.preprocessing": MeanImage(),
        "data.augmentation": ShiftAndFlip(4, on="normalized"),
        "data.sampling": "replacement",
    }
)
TRAINED = [
    *("best.keras", "curves.png", "history.csv", "model.keras", "preprocessing.npz"),
    "result.json",
]


def images(count, seed):
    """Three classes that a colour tells apart, hard enough that not all is right at once."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    noise = rng.integers(0, 150, (count, 32, 32, 3))
    noise[np.arange(count), :, :, labels] += 60
    return Images(noise.astype("uint8"), labels)


TRAIN, TEST = images(69, 1), images(30, 3)  # of 23 of each class, 4 are held back


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    def load_images(dataset, split, data_dir):
        return {"train": TRAIN, "test": TEST}[split]

    monkeypatch.setattr(data, "load_images", load_images)


def run(folder, recipe=RECIPE, **kwargs):
    return train(recipe, folder, **{"verbose": 0, "seed": 3, "validation_fraction": 0.17, **kwargs})


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def model_of(folder):
    return keras.saving.load_model(folder / "model.keras")


def same_weights(a, b):
    for one, other in zip(model_of(a).get_weights(), model_of(b).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


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


@pytest.mark.parametrize("recipe", [RECIPE, FITTED])
def test_a_run_measures_what_it_saves(tmp_path, recipe):
    folder = tmp_path / "a" / "b"
    said = []
    result = run(folder, recipe, report=said.append)
    assert names(folder) == TRAINED
    assert json.loads((folder / "result.json").read_text()) == result

    # What is saved is enough to measure again, on images that the network takes as it was trained.
    model = model_of(folder)
    normalise = Normalizer.load(folder / "preprocessing.npz")
    x = normalise(TEST.images)
    right = model.predict(x, verbose=0).argmax(-1) == TEST.labels
    assert result["test"]["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    assert right.mean() > 0.4  # better than the third of chance: it has learned
    assert result["difference_after_reload"] == 0

    assert [row["epoch"] for row in result["history"]] == list(range(EPOCHS))
    assert set(result["history"][0]) == {"epoch", "accuracy", "loss", "val_accuracy", "val_loss"}
    last = result["history"][-1]
    expected = {"accuracy": last["val_accuracy"], "loss": last["val_loss"]}
    assert result["validation"] == expected
    assert result["recipe"] == recipe.record()
    assert result["images"] == {"train": 57, "validation": 12, "test": 30}
    # So few steps are not worth measuring.
    assert (result["jit_compile"], result["compiled_steps"]) == ("auto", False)

    classifier = IGCResNet(8, 2, 2, classes=3, weights=folder / "model.keras")
    np.testing.assert_allclose(
        classifier.predict(x, verbose=0),
        keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(x, verbose=0))),
        atol=1e-6,
    )
    opening, closing = said
    assert "57 images to train on, 12 to validate, 30 others to test" in opening
    assert "4 epochs of 4 steps of 16" in opening
    assert f"on 30 test images: accuracy {right.mean():.4f}, loss" in closing
    assert str(folder) in closing


def test_statistics_are_fitted_to_the_images_that_are_trained_on(tmp_path):
    run(tmp_path / "part", FITTED)
    run(tmp_path / "all", FITTED, validation_fraction=0.0)
    part, whole = (
        Normalizer.load(tmp_path / name / "preprocessing.npz") for name in ("part", "all")
    )
    np.testing.assert_allclose(whole.mean, TRAIN.images.mean(0), rtol=1e-6)
    assert float(whole.std) == pytest.approx(TRAIN.images.std(), rel=1e-6)
    assert np.abs(part.mean - whole.mean).max() > 1  # without the validation images


def test_trainable_parameters_are_those_of_the_study():
    assert trainable_parameters(ResNet20()) == 271_886


def test_the_optimizer_follows_the_recipe(tmp_path):
    run(tmp_path)
    optimizer = model_of(tmp_path).optimizer
    assert int(optimizer.iterations) == EPOCHS * 4  # 57 images in batches of 16
    assert optimizer.weight_decay == 1e-4
    rates = []
    for step in range(EPOCHS * 4):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert rates == pytest.approx([0.05] * 8 + [0.005] * 4 + [0.0005] * 4)


@pytest.mark.parametrize("place", ["host", "device"])
@pytest.mark.parametrize(("recipe", "epoch"), [(RECIPE, 1), (FITTED, 3)])
def test_a_resumed_run_ends_where_it_would_have_ended(tmp_path, interrupt, recipe, epoch, place):
    recipe = dataclasses.replace(recipe, restarts_velocity=epoch == 3)
    whole = run(tmp_path / "whole", recipe, augment_on=place)
    interrupt(epoch)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", recipe, augment_on=place)
    assert names(tmp_path / "parts") == ["checkpoints", "history.csv"]
    said = []
    result = run(tmp_path / "parts", recipe, augment_on=place, report=said.append)
    assert f"holds an interrupted run: going on after epoch {epoch}" in said[0]
    assert names(tmp_path / "parts") == TRAINED
    assert result["resumed_after_epochs"] == epoch
    same_weights(tmp_path / "parts", tmp_path / "whole")
    for key in ("history", "test", "validation"):
        assert result[key] == whole[key]
    histories = {(tmp_path / name / "history.csv").read_bytes() for name in ("whole", "parts")}
    assert len(histories) == 1


def test_the_seconds_are_those_of_all_parts(tmp_path, interrupt):
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    saved = files.latest(tmp_path / "checkpoints")
    assert 0 < saved.state["seconds"] < 600
    files.write(saved.path, {**saved.state, "seconds": 7200.0}, saved.arrays)
    result = run(tmp_path)
    assert result["resumed_after_epochs"] == 1
    assert 7200 < result["seconds"] < 7800


def test_host_and_device_train_the_same_network(tmp_path):
    for place in ("host", "device"):
        assert run(tmp_path / place, FITTED, augment_on=place)["augment_on"] == place
    same_weights(tmp_path / "host", tmp_path / "device")
    assert run(tmp_path / "default", FITTED)["augment_on"] == "host"  # on a CPU
    with pytest.raises(ValueError, match="augment_on must be one of .* Received: augment_on='gpu'"):
        run(tmp_path / "none", augment_on="gpu")


def test_what_was_fitted_is_kept_through_an_interruption(tmp_path, interrupt, monkeypatch):
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FITTED)
    kept = Checkpoint(tmp_path / "checkpoints").arrays["mean"]

    def fit(self, images):
        raise AssertionError("fitted again")

    monkeypatch.setattr(MeanImage, "fit", fit)
    run(tmp_path, FITTED)
    np.testing.assert_array_equal(Normalizer.load(tmp_path / "preprocessing.npz").mean, kept)


def test_a_run_that_ends_while_it_is_measured_is_not_trained_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path, validation_fraction=0.0)
    steps = []
    step = keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda *a: steps.append(a) or step(*a))
    result = run(tmp_path, validation_fraction=0.0)
    assert not steps
    assert names(tmp_path) == sorted(set(TRAINED) - {"best.keras"})
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


@pytest.mark.parametrize("how", ["not loaded", "another"])
def test_a_model_that_cannot_be_loaded_back_replaces_nothing(tmp_path, monkeypatch, how):
    (tmp_path / "model.keras").write_bytes(b"of an earlier run")
    load = keras.saving.load_model

    def fail(path, *args, **kwargs):
        loaded = load(path, *args, **kwargs)
        if how == "not loaded":
            raise ValueError("not a model")
        loaded.set_weights([w + 0.1 for w in loaded.get_weights()])
        return loaded

    monkeypatch.setattr(keras.saving, "load_model", fail)
    with pytest.raises((ValueError, RuntimeError), match=r"not a model|outputs differ from the"):
        run(tmp_path)
    assert (tmp_path / "model.keras").read_bytes() == b"of an earlier run"
    assert "result.json" not in names(tmp_path)


def test_other_settings_do_not_resume(tmp_path, interrupt):
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    slower = RECIPE.changed({"schedule.learning_rate": 0.01})
    wider = RECIPE.changed({"network.classes": 4})
    for changes, message in (
        (
            {"recipe": slower},
            r"settings: recipe.schedule.learning_rate 0.05 \(now 0.01\)\. Give",
        ),
        ({"seed": 4}, r"seed 3 \(now 4\)"),
        ({"augment_on": "device"}, r"augment_on 'host' \(now 'device'\)"),
        ({"validation_fraction": 0.0}, r"images.validation 12 \(now 0\)"),
        ({"recipe": wider}, r"recipe.network.classes 3 \(now 4\)"),
    ):
        with pytest.raises(InterruptedRunError, match=message):
            run(tmp_path, **changes)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_the_best_model_is_that_of_the_best_epoch(tmp_path):
    # The rate rises from epoch to epoch until nothing is learned any more.
    recipe = RECIPE.changed({"schedule": StepDecay(1e-9, warmup_steps=8, warmup_learning_rate=0.1)})
    result = run(tmp_path, recipe)
    best = result["best"]
    rows = [row["val_accuracy"] for row in result["history"]]
    assert best["by"] == "val_accuracy"
    assert best["val_accuracy"] == max(rows)
    assert best["epoch"] == rows.index(max(rows))
    model = keras.saving.load_model(tmp_path / "best.keras")
    assert int(model.optimizer.iterations) == 4 * (best["epoch"] + 1)
    again = evaluate(tmp_path, tmp_path / "best.keras", split="validation")
    assert again["figures"]["accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-6)


def test_batches_that_were_trained_on_are_not_made_again():
    class Data(keras.utils.PyDataset):
        epoch, made = 0, []

        def __len__(self):
            return 5

        def __getitem__(self, index):
            self.made.append((self.epoch, index))
            return index

        def on_epoch_end(self):
            self.epoch += 1

    unread = Unread(Data(), 1, 3)
    assert len(unread) == 5
    assert unread[0] == 0
    unread.on_epoch_end()
    unread.data.made.clear()
    assert [unread[i] for i in range(5)] == [3, 3, 3, 3, 4]
    assert unread.data.made == [(1, 3), (1, 3), (1, 4)]
    unread.on_epoch_end()
    assert [unread[i] for i in range(5)] == [0, 1, 2, 3, 4]


def test_goals():
    rows = [{"epoch": i, "val_loss": v} for i, v in enumerate([2.0, float("nan"), 1.0, 1.0])]
    lowest = goal_of(dataclasses.replace(RECIPE, metrics=()))
    assert lowest.best(rows)["epoch"] == 2
    assert lowest.best(rows[1:2]) is None
    assert goal_of(RECIPE).figure == "val_accuracy"
    assert Goal("val_loss", 1).best(rows)["epoch"] == 0


def test_files_of_another_run_do_not_stay(tmp_path):
    (tmp_path / "best.keras").write_bytes(b"of an earlier run")
    run(tmp_path, validation_fraction=0.0)
    assert names(tmp_path) == sorted(set(TRAINED) - {"best.keras"})


@pytest.mark.parametrize(("terminal", "verbose"), [(True, 1), (False, 2)])
def test_a_bar_is_for_terminals(tmp_path, monkeypatch, terminal, verbose):
    asked = []

    def fit(self, *args, **kwargs):
        asked.append(kwargs["verbose"])
        raise ValueError("no more")

    monkeypatch.setattr(keras.Model, "fit", fit)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    with pytest.raises(ValueError, match="no more"):
        run(tmp_path, verbose="auto")
    assert asked == [verbose]


def test_logs_for_tensorboard(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = run(tmp_path, tensorboard=True)
    for part, prefix in (("train", ""), ("validation", "val_")):
        events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / part))
        events.Reload()
        losses = [row[f"{prefix}loss"] for row in result["history"]]
        assert [each.value for each in events.Scalars("loss")] == pytest.approx(losses)
        assert [each.step for each in events.Scalars("loss")] == [1, 2, 3, 4]


def test_missing_tensorboard_is_noticed_before_training(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else real(name)
    )
    with pytest.raises(ImportError, match=r'not installed: pip install "keras-mg\[tensorboard\]"'):
        run(tmp_path, tensorboard=True)
    assert not names(tmp_path)


def test_without_validation(tmp_path):
    result = run(tmp_path, validation_fraction=0.0)
    assert result["validation"] == {}
    assert result["images"]["validation"] == 0
    assert set(result["history"][0]) == {"epoch", "accuracy", "loss"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_leaves_no_model_and_nothing_to_resume(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"of an earlier run")
    recipe = RECIPE.changed({"schedule.learning_rate": 1e30})
    with pytest.raises(FloatingPointError, match=r"diverged: the loss is not finite .* No model"):
        run(tmp_path, recipe)
    assert names(tmp_path) == ["history.csv", "model.keras"]
    assert (tmp_path / "model.keras").read_bytes() == b"of an earlier run"


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def acquire(self, *args, **kwargs):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    with pytest.warns(UserWarning, match="has no locks: a second run in it is not noticed"):
        run(tmp_path, RECIPE.shortened(1))
    assert names(tmp_path) == TRAINED


def test_a_run_in_another_thread_leaves_signals_alone(tmp_path):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    results = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path, RECIPE.shortened(1))))
    thread.start()
    thread.join()
    assert len(results) == 1
    run(tmp_path, RECIPE.shortened(1))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_models_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r"must give logits: build it with classifier_activation"):
        run(tmp_path, RECIPE.changed({"network.classifier_activation": "softmax"}))
    message = r"tells 2 classes apart. Received data of 3: build it with classes=3"
    with pytest.raises(ValueError, match=message):
        run(tmp_path, RECIPE.changed({"network.classes": 2}))
    assert not names(tmp_path)
