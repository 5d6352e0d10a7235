"""What happens beside training in several processes; each function asserts in all of them.

`python -m tests.support.parallel_events FOLDER NAME ...` runs all, and rows before them.
"""

import functools
import resource
import sys
import time
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg import distribution
from keras_mg.distribution import collectives
from keras_mg.training import Checkpoint, CheckpointError, TrainingStopped
from tests.support import parallel_rows as rows


def refused(said, call, kind=ValueError):
    with pytest.raises(kind, match=said):
        call()
    collectives.of_all(0)  # none is left behind in a call of another


def refusals(folder):
    model = rows.compiled(rows.network())
    x, y = rows.data()
    me = distribution.process_id()
    refused("a row for each. Received: batch_size=1", lambda: model.fit(x, y, batch_size=1))
    refused("Received: 1 rows", lambda: model.fit(x[:1], y[:1], verbose=0))
    refused("must say how many batches", lambda: model.fit(each for each in [(x, y)]))
    refused("a call of train_on_batch", lambda: model.train_on_batch(x, y))
    refused("a plain list", lambda: model.fit(x, y, callbacks=keras.callbacks.CallbackList([])))
    refused("differ in: epochs", lambda: model.fit(x, y, epochs=1 + me))
    part = slice(8 + 8 * me)
    refused("differ in: batches of", lambda: model.fit(x[part], y[part], batch_size=8))
    other = rows.InBatches()
    other.x = other.x + me
    refused("have different data", lambda: model.fit(other, verbose=0))
    own = slice(me, len(x) // 2 * 2, 2)  # as many rows in each process, but others
    refused("have different data", lambda: model.fit(x[own], y[own], verbose=0))
    refused("have different data", lambda: model.predict(x[own], verbose=0))
    assert len(model.predict(x[:1], verbose=0)) == 1
    before = model.get_weights()
    model.set_weights([weight + me for weight in before])
    refused("have different models", lambda: model.predict(x, verbose=0), RuntimeError)
    model.set_weights(before)
    summed = keras.losses.MeanSquaredError(reduction="sum")
    model.compile("sgd", summed)
    refused("reduction='sum'", lambda: model.fit(x, y))
    rows.compiled(model)
    images = keras.Input((6, 6, 3))
    plain = keras.Model(images, keras.layers.Flatten()(images), name="plain")
    plain.compile("sgd", "mse")
    refused(
        "'plain': .* a keras_mg.Model trains.* Received: a model of type Functional",
        (lambda: plain.fit(x, y, verbose=0)),
    )
    distribution.set_distribution(None)
    assert "fit" not in vars(keras.Model)
    refused("2 processes have met, but nothing", lambda: model.fit(x, y, verbose=0))
    distribution.set_distribution(distribution.DataParallel())


class Apart(rows.Own):
    """An optimizer that nobody knows of."""

    def train_step(self, data):
        import torch

        x, y = data
        loss = keras.ops.mean(self.loss(y, self(x, training=True)))
        self.zero_grad()
        loss.backward()
        with torch.no_grad():
            for variable in self.trainable_variables:
                variable.value.sub_(variable.value.grad)
        return {"mine": loss}


def weights_that_differ_are_noticed(folder):
    model = rows.compiled(rows.network(Apart), metrics=[])
    refused("have trained apart", lambda: model.fit(*rows.data(), verbose=0), RuntimeError)


class Kept(keras.callbacks.Callback):
    """The weights after each epoch."""

    def on_train_begin(self, logs=None):
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())


def the_first_writes(folder):
    model = rows.compiled(rows.network())
    x, y = rows.data()
    own = folder / f"written by {distribution.process_id()}"
    own.mkdir()
    kept = Kept()
    callbacks = [
        keras.callbacks.ModelCheckpoint(own / "best.keras", save_best_only=True, monitor="loss"),
        keras.callbacks.CSVLogger(own / "table.csv"),
        keras.callbacks.BackupAndRestore(own / "backup", delete_checkpoint=False),
        keras.callbacks.EarlyStopping("loss", patience=0, min_delta=100.0),
        kept,
    ]
    history = model.fit(x, y, epochs=5, verbose=0, callbacks=callbacks)
    assert len(history.epoch) == 2, history.epoch
    assert len(set(collectives.of_all(repr(history.history)))) == 1
    if distribution.process_id():
        assert not list(own.iterdir())
        return
    assert len((own / "table.csv").read_text().splitlines()) == 3
    assert (own / "backup").is_dir()
    best = int(np.argmin(history.history["loss"]))
    loaded = keras.saving.load_model(own / "best.keras")
    for one, other in zip(loaded.get_weights(), kept.weights[best], strict=True):
        np.testing.assert_array_equal(one, other)


class BackAgain(keras.callbacks.Callback):
    """Breaks off in the second epoch, in all processes."""

    def on_train_batch_end(self, batch, logs=None):
        if self.params["epochs"] == 3 and len(self.model.history.epoch) == 1 and batch == 2:
            raise OSError("broken off")


class StopsOne(keras.callbacks.Callback):
    """The second process alone wants to stop."""

    def __init__(self, stop):
        super().__init__()
        self.stop, self.batches = stop, 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if distribution.process_id() == 1 and self.batches == 2:
            self.stop(self.model)


def _dropping():
    keras.utils.set_random_seed(1)
    return rows.compiled(rows.network(between=[lambda: keras.layers.Dropout(0.5)]))


def _train(folder, *callbacks, data=None, **options):
    """As `rows.fit`, with checkpoints; whatever is in the folder is gone on from."""
    checkpoint = Checkpoint(folder, every_steps=2)
    model = _dropping()
    result = rows.fit(
        model,
        *(data or rows.data(23)),
        initial_epoch=checkpoint.saved_epoch,
        callbacks=[checkpoint, *callbacks],
        **options,
    )
    return result


def _same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        np.testing.assert_array_equal(other[key], value, err_msg=key)


@functools.cache
def _whole(folder):
    return _train(folder / "whole")


def broken_off_it_goes_on(folder):
    whole = _whole(folder)
    refused("broken off", lambda: _train(folder / "parts", BackAgain()), OSError)
    _same(whole, _train(folder / "parts"))


class FullDisk(keras.callbacks.Callback):
    """From the second epoch on, the first process can write no file to speak of."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1 and distribution.process_id() == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


def _place(folder):
    """Where training would go on."""
    checkpoint = Checkpoint(folder)
    return checkpoint.saved_epoch, checkpoint.saved_step


def a_full_disk_ends_all(folder):
    whole, own = _whole(folder), folder / "full"
    try:
        refused("checkpoint .* cannot be written: ", lambda: _train(own, FullDisk()), OSError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert _place(own) == (1, 0)
    assert all(path.suffix == ".safetensors" for path in own.iterdir())
    collectives.of_all(0)
    _same(whole, _train(own))


def a_damaged_checkpoint_is_passed_over_by_all(folder):
    whole, own, first = _whole(folder), folder / "damaged", distribution.process_id() == 0
    refused("broken off", lambda: _train(own, BackAgain()), OSError)
    _, last = sorted(own.glob("*.safetensors"))
    collectives.of_all(0)
    if first:
        last.write_bytes(last.read_bytes()[:-9])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert _place(own) == (1, 0)
    said = [str(w.message) for w in caught if "is passed over" in str(w.message)]
    assert len(said) == first, said  # one of them says so
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _same(whole, _train(own))
    collectives.of_all(0)
    if first:
        for path in own.glob("*.safetensors"):
            path.write_bytes(b"")
    refused("No checkpoint can be read", lambda: Checkpoint(own), CheckpointError)


def stopped_by_one_it_goes_on(folder):
    whole = _whole(folder)
    checkpoints = []

    def ask(model):
        checkpoints[0].request_stop()

    checkpoint = Checkpoint(folder / "stopped", every_steps=2)
    checkpoints.append(checkpoint)
    model = _dropping()
    counts = StopsOne(ask)
    with pytest.raises(TrainingStopped):
        rows.fit(model, *rows.data(23), callbacks=[counts, checkpoint, Slow()])
    assert len(set(collectives.of_all(counts.batches))) == 1
    _same(whole, _train(folder / "stopped"))


class Slow(keras.callbacks.Callback):
    """Steps that take half a second: the processes ask each other after each of them."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.6)


def a_callback_of_one_stops_all(folder):
    model = rows.compiled(rows.network())
    counts = StopsOne(lambda model: setattr(model, "stop_training", True))
    model.fit(*rows.data(40), batch_size=4, epochs=2, verbose=0, callbacks=[counts, Slow()])
    batches = collectives.of_all(counts.batches)
    assert len(set(batches)) == 1, batches
    assert batches[0] == 4, batches


def bytes_of_a_step_are_those_of_the_gradients(folder):
    from keras_mg.training._parallel_gradients import Reducer

    model = rows.compiled(rows.network())
    before = Reducer.sent
    model.fit(*rows.data(), batch_size=8, verbose=0)
    weights = sum(4 * int(np.prod(v.shape)) for v in model.trainable_variables)
    assert Reducer.sent - before == 3 * weights


def faults_of_ones_own_keep_their_words(folder):
    import torch

    def too_much():
        with collectives._together():
            torch.empty(2**60, dtype=torch.uint8)

    def of_another_shape():
        with collectives._together():
            outputs = [torch.ones(2), torch.ones(3)]
            torch.distributed.all_gather(outputs, torch.ones(2))

    faults = {
        "Invalid scalar type": lambda: collectives.add(torch.ones(2, dtype=torch.int16)),
        "can't allocate memory": too_much,
        "invalid tensor size": of_another_shape,
        "SparseCsr": lambda: collectives.add(torch.eye(2).to_sparse_csr()),
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR")
        for said, call in faults.items():
            with pytest.raises(RuntimeError, match=said) as raised:
                call()
            assert not isinstance(raised.value, collectives.ProcessLostError)
            collectives.of_all(0)  # the processes still have each other


EVENTS = (
    faults_of_ones_own_keep_their_words,
    refusals,
    weights_that_differ_are_noticed,
    the_first_writes,
    broken_off_it_goes_on,
    a_full_disk_ends_all,
    a_damaged_checkpoint_is_passed_over_by_all,
    stopped_by_one_it_goes_on,
    a_callback_of_one_stops_all,
    bytes_of_a_step_are_those_of_the_gradients,
)


def main(folder, names):
    rows.main(folder, names)
    for event in EVENTS:
        keras.utils.clear_session()
        keras.utils.set_random_seed(1)
        begun = time.monotonic()
        event(folder)
        sys.stderr.write(f"{event.__name__}: {time.monotonic() - begun:.2f} s\n")
    assert keras_mg.distribution.num_processes() == 2


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
