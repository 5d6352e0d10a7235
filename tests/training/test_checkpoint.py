"""`Checkpoint` with `model.fit`: training that was broken off ends as one that was not."""

import os
import random
import struct

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.training import Checkpoint, CheckpointError, TrainingStopped, _checkpoint_files
from tests.support.compiled import MARKS
from tests.support.jax_process import run_on_jax

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(70, 6)).astype("float32"), np.arange(70) % 3
BATCHES = 9
EPOCHS = 3


def make(units=16, jit_compile=False, optimizer="adam"):
    """Random numbers of torch, of a layer's own and of NumPy all matter."""
    keras.utils.set_random_seed(1)
    x = keras.Input((6,))
    seed = None if jit_compile else 5  # a layer with a seed of its own is not captured
    y = keras.layers.Dense(units, activation="relu")(x)
    y = keras.layers.BatchNormalization()(keras.layers.Dropout(0.3, seed=seed)(y))
    model = keras_mg.Model(x, keras.layers.Dense(3)(keras.layers.Dropout(0.3)(y)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=jit_compile)
    return model


class Noise(keras.callbacks.Callback):
    """Draws from the global generators, and moves weights by what it draws."""

    def on_train_batch_end(self, batch, logs=None):
        bias = self.model.layers[-1].bias
        drawn = np.random.rand() + random.random()  # noqa: NPY002
        bias.assign_add(0.01 * drawn + 0.01 * keras.random.normal((3,)))


class At(keras.callbacks.Callback):
    """Calls something after a step, or while validation goes on."""

    def __init__(self, epoch, batch, call, hook="train"):
        super().__init__()
        self.place, self.call, self.hook = (epoch, batch), call, hook

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.hook == "train" and (self.epoch, batch) == self.place:
            self.call()

    def on_test_batch_begin(self, batch, logs=None):
        if self.hook == "test" and (self.epoch, batch) == self.place:
            self.call()


def fit(directory, *callbacks, every_steps=None, model=None, epochs=EPOCHS, **options):
    model = make(**options) if model is None else model
    checkpoint = Checkpoint(directory, every_steps=every_steps)
    history = model.fit(
        *(X, Y, 8),
        epochs=epochs,
        verbose=0,
        validation_data=(X[:20], Y[:20]),
        callbacks=[Noise(), checkpoint, *callbacks],
        initial_epoch=checkpoint.saved_epoch,
    )
    return model, history, checkpoint


def broken(directory, epoch, batch, **options):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(directory, At(epoch, batch, fail), **options)


def assert_same(ours, theirs):
    for one, other in zip(ours[0].variables, theirs[0].variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)))
    for one, other in zip(ours[0].optimizer.variables, theirs[0].optimizer.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)))
    assert ours[1].history == theirs[1].history
    assert ours[1].epoch == theirs[1].epoch == list(range(EPOCHS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("epoch", "batch", "every_steps", "place"),
    [
        (1, 4, None, (1, 0)),
        (0, 3, 1, (0, 4)),
        (2, 5, 2, (2, 6)),
        (2, 0, 4, (2, 0)),
        (2, 8, 3, (2, BATCHES)),  # all of the epoch but the validation
    ],
)
def test_it_goes_on_where_it_was(tmp_path, whole, epoch, batch, every_steps, place):
    broken(tmp_path, epoch, batch, every_steps=every_steps)
    again = fit(tmp_path, every_steps=every_steps)
    assert (again[2].saved_epoch, again[2].saved_step) == place
    assert_same(again, whole)


def test_it_goes_on_as_often_as_it_has_to(tmp_path, whole):
    for epoch, batch in ((0, 5), (0, 7), (1, 0), (1, 4), (2, 1)):
        broken(tmp_path, epoch, batch, every_steps=2)
    assert_same(fit(tmp_path), whole)
    assert fit(tmp_path)[1].history == whole[1].history  # and when nothing is left
    assert len(os.listdir(tmp_path)) == 2


def test_a_finished_training_is_trained_further(tmp_path, whole):
    fit(tmp_path, epochs=2)
    assert_same(fit(tmp_path), whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"jit_compile": True}, marks=MARKS),
        {"optimizer": "SGD"},
        {"optimizer": keras.optimizers.AdamW(use_ema=True, ema_overwrite_frequency=5)},
        {"optimizer": keras.optimizers.SGD(0.1, 0.9, gradient_accumulation_steps=2)},
    ],
)
def test_whatever_trains(tmp_path, options):
    def fresh():
        optimizer = options.get("optimizer")
        if isinstance(optimizer, keras.optimizers.Optimizer):
            return options | {"optimizer": type(optimizer).from_config(optimizer.get_config())}
        return options

    undisturbed = fit(tmp_path / "whole", **fresh())
    broken(tmp_path / "parts", 1, 4, every_steps=3, **fresh())
    assert_same(fit(tmp_path / "parts", **fresh()), undisturbed)


@pytest.mark.parametrize("hook", ["train", "test"])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_a_request_to_stop_saves_the_step(tmp_path, whole, hook, batch):
    checkpoint = Checkpoint(tmp_path)
    model = make()
    with pytest.raises(TrainingStopped):
        model.fit(
            *(X, Y, 8),
            epochs=EPOCHS,
            verbose=0,
            validation_data=(X[:20], Y[:20]),
            callbacks=[At(1, batch, checkpoint.request_stop, hook), Noise(), checkpoint],
        )
    place = (1, batch + 1 if hook == "train" else BATCHES)
    assert checkpoint.last_saved == place
    again = fit(tmp_path)
    assert (again[2].saved_epoch, again[2].saved_step) == place
    assert_same(again, whole)


def test_a_model_can_be_used_after_its_training_was_broken_off(tmp_path):
    broken(tmp_path, 1, 6, every_steps=5)
    model = make()

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, At(1, 2, fail), model=model)  # among the steps that are not repeated
    other = make()
    other.fit(X, Y, verbose=0)
    for group in (lambda m: m.variables, lambda m: m.optimizer.variables):
        for one, two in zip(group(model), group(other), strict=True):
            two.assign(one)
    before = model.get_weights()
    for each in (model, other):
        keras.utils.set_random_seed(2)
        each.fit(X, Y, verbose=0)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(before[0], model.get_weights()[0])


def test_settings_and_arrays_are_kept(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.settings = {"rate": 0.1, "names": ["a", None]}
    checkpoint.arrays = {"mean": np.arange(3.0), "count": np.int64(4)}
    make().fit(X, Y, verbose=0, callbacks=[checkpoint])
    found = Checkpoint(tmp_path)
    assert found.settings == checkpoint.settings
    np.testing.assert_array_equal(found.arrays["mean"], [0, 1, 2])
    assert found.arrays["count"] == 4
    assert found.history[0]["epoch"] == 0


@pytest.mark.parametrize("place", [3, 40, 1000, -3])
def test_any_damage_is_noticed_and_the_one_before_is_taken(tmp_path, whole, place):
    broken(tmp_path, 1, 6, every_steps=3)
    before, last = sorted(tmp_path.iterdir())
    content = bytearray(last.read_bytes())
    content[place] ^= 1
    last.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"damaged checkpoint is passed over, .*{last.name}: .*"):
        again = fit(tmp_path)
    assert (again[2].saved_epoch, again[2].saved_step) == (1, 3)
    assert before.name.endswith("step-00000003.safetensors")
    assert_same(again, whole)
    assert last not in tmp_path.iterdir()
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"No checkpoint can be read: .* to begin anew"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("metadata", [None, {}, {"format": "x"}])
def test_a_file_without_a_checkpoints_metadata(tmp_path, metadata):
    from safetensors.numpy import save_file

    path = _checkpoint_files.path_of(tmp_path, 1, 0)
    save_file({"a": np.ones(3)}, path, metadata)
    with pytest.raises(CheckpointError, match="No checkpoint can be read: .*it is no checkpoint"):
        Checkpoint(tmp_path)
    header = b'{"__metadata__":null}'  # as no library writes it, and one reads it
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match="it is no checkpoint"):
        Checkpoint(tmp_path)


def test_what_does_not_belong_together(tmp_path):
    fit(tmp_path, epochs=1)
    model = make(units=17)
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=r"is of another model: .*kernel \(6, 17\) differs"):
        fit(tmp_path, model=model)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"initial_epoch=checkpoint.saved_epoch. Received: .*=0"):
        make().fit(X, Y, verbose=0, callbacks=[Checkpoint(tmp_path)])
    with pytest.raises(ValueError, match="every_steps must be a positive integer"):
        Checkpoint(tmp_path, every_steps=0)


def test_fewer_data_than_before(tmp_path):
    broken(tmp_path, 0, 6, every_steps=6)
    with pytest.raises(CheckpointError, match="holds 6 steps of an epoch, and this one is over"):
        make().fit(X[:20], Y[:20], 8, verbose=0, callbacks=[Checkpoint(tmp_path)])


def test_one_of_several_processes_writes(tmp_path):
    make().fit(X, Y, verbose=0, callbacks=[Checkpoint(tmp_path / "none", writes=False)])
    assert not (tmp_path / "none").exists()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_training_that_diverges_leaves_what_it_was_before(tmp_path):
    class Diverge(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.layers[-1].bias.assign(np.full(3, np.nan))

    fit(tmp_path, Diverge())
    assert Checkpoint(tmp_path).saved_epoch == 1


def test_what_a_killed_save_leaves_is_removed(tmp_path):
    (tmp_path / ".partial-abc").mkdir()
    (tmp_path / ".partial-abc" / "epoch-000001-step-00000000.safetensors").write_bytes(b"half")
    fit(tmp_path, epochs=1)
    assert os.listdir(tmp_path) == ["epoch-000001-step-00000000.safetensors"]


def test_on_jax(tmp_path):
    code = """
import sys
import keras, numpy as np
from keras_mg.training import Checkpoint

def fit(directory, epochs):
    keras.utils.set_random_seed(1)
    x = keras.Input((3,))
    y = keras.layers.Dropout(0.5)(keras.layers.Dense(8)(x))
    model = keras.Model(x, keras.layers.Dense(1)(y))
    model.compile("adam", "mse")
    checkpoint = Checkpoint(directory)
    data = np.random.default_rng(0).normal(size=(16, 3))
    history = model.fit(data, data[:, :1], 4, epochs=epochs, verbose=0, shuffle=False,
        callbacks=[checkpoint], initial_epoch=checkpoint.saved_epoch)
    return model.get_weights(), history.history

one, two = sys.argv[1:]
whole = fit(one, 3)
fit(two, 1)
parts = fit(two, 3)
print(all((a == b).all() for a, b in zip(whole[0], parts[0])), whole[1] == parts[1])
try:
    Checkpoint(one, every_steps=2)
except ValueError as error:
    print(error)
"""
    said = run_on_jax(code, tmp_path / "one", tmp_path / "two")
    assert said.startswith("True True\nevery_steps needs the torch backend")
