"""What happens beside training in several processes; each function asserts in all of them.

`python -m tests.support.parallel_events FOLDER NAME ...` runs all, and rows before them.
"""

import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg import distribution
from keras_mg.distribution import collectives
from keras_mg.training import Checkpoint, TrainingStopped
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
    distribution.set_distribution(None)
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


def the_first_writes(folder):
    model = rows.compiled(rows.network())
    x, y = rows.data()
    best, table = folder / "best.keras", folder / "table.csv"
    callbacks = [
        keras.callbacks.ModelCheckpoint(best, save_best_only=True, monitor="loss"),
        keras.callbacks.CSVLogger(table),
        keras.callbacks.BackupAndRestore(folder / "backup"),
        keras.callbacks.EarlyStopping("loss", patience=0, min_delta=100.0),
    ]
    history = model.fit(x, y, epochs=5, verbose=0, callbacks=callbacks)
    assert len(history.epoch) == 2, history.epoch
    assert len(table.read_text().splitlines()) == 3
    collectives.of_all(0)
    loaded = keras.saving.load_model(best)
    np.testing.assert_array_equal(
        model.evaluate(x, y, verbose=0)[0] < 10, loaded.evaluate(x, y, verbose=0)[0] < 10
    )


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


def broken_off_it_goes_on(folder):
    whole = _train(folder / "whole")
    refused("broken off", lambda: _train(folder / "parts", BackAgain()), OSError)
    _same(whole, _train(folder / "parts"))


def stopped_by_one_it_goes_on(folder):
    whole = _train(folder / "unstopped")
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


EVENTS = (
    refusals,
    weights_that_differ_are_noticed,
    the_first_writes,
    broken_off_it_goes_on,
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
