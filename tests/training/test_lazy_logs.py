"""Lazy logs are Keras's logs, whatever is done with them, and `fit` is Keras's `fit`."""

import copy
import inspect
import json
import pickle

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.training._lazy_logs import LazyCallbackList, LazyLogs

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch alone has lazy logs"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def raw():
    tensor = keras.ops.convert_to_tensor
    return {"loss": tensor(0.5), "b": {"y": tensor(2), "x": 3}, "a": tensor([1.0, 2.0]), "z": "no"}


def plain():
    from keras.src.utils.python_utils import pythonify_logs

    logs = pythonify_logs(raw())
    assert list(logs) == ["a", "x", "y", "loss", "z"]
    return {**logs, "a": logs["a"].tolist()}


def listed(logs):
    """The array's numbers instead of it, which has no single truth to compare."""
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in logs.items()}


@pytest.mark.parametrize(
    "look",
    [
        dict,
        lambda logs: {**logs},
        lambda logs: dict(logs.items()),
        lambda logs: dict(zip(logs, logs.values(), strict=True)),
        lambda logs: {key: logs[key] for key in logs},
        lambda logs: {key: logs.get(key) for key in logs.keys()},  # noqa: SIM118
        lambda logs: logs.copy(),
        copy.copy,
        copy.deepcopy,
        lambda logs: pickle.loads(pickle.dumps(logs)),
        lambda logs: logs | {},
        lambda logs: {} | logs,
        lambda logs: (lambda **kwargs: kwargs)(**logs),
        lambda logs: dict(sorted(logs.items())),
        lambda logs: {key: logs.pop(key) for key in list(logs)},
        lambda logs: dict(logs.popitem() for _ in range(len(logs))),
        lambda logs: {key: logs.setdefault(key, None) for key in logs},
        lambda logs: keras.tree.map_structure(lambda v: v, dict(logs)),
    ],
)
def test_every_way_to_look_gives_the_floats_of_keras(look):
    seen = look(LazyLogs(raw()))
    assert type(seen) is dict
    assert listed(seen) == plain()
    numbers = [v for v in listed(seen).values() if not isinstance(v, list | str)]
    assert {type(v) for v in numbers} == {float}


def test_other_looks():
    numbers = {"loss": keras.ops.convert_to_tensor(0.5), "n": keras.ops.convert_to_tensor(2)}
    assert "{loss:.2f} {n:.0f}".format(**LazyLogs(numbers)) == "0.50 2"
    assert "{loss}".format_map(LazyLogs(numbers)) == "0.5"
    assert "%(n)s" % LazyLogs(numbers) == "2.0"  # noqa: UP031
    assert repr(LazyLogs(numbers)) == "{'loss': 0.5, 'n': 2.0}"
    assert json.loads(json.dumps(LazyLogs(numbers))) == {"loss": 0.5, "n": 2.0}
    assert LazyLogs(numbers) == {"loss": 0.5, "n": 2.0}
    assert LazyLogs(numbers) != {"loss": 0.5, "n": 3.0}
    assert LazyLogs(numbers) == LazyLogs(numbers)
    match LazyLogs(numbers):
        case {"loss": loss}:
            assert loss == 0.5


def test_they_can_be_written_to():
    logs = LazyLogs(raw())
    logs["rate"] = 0.1
    logs |= {"more": 1}
    logs.update(loss=7)
    del logs["a"]
    assert logs == {"loss": 7, "rate": 0.1, "more": 1, "x": 3.0, "y": 2.0, "z": "no"}
    logs.clear()
    assert not logs


def test_keys_and_their_number_are_known_unread():
    class Unreadable:
        def __float__(self):
            raise AssertionError("read")

    logs = LazyLogs({"loss": Unreadable(), "a": Unreadable()})
    assert bool(logs)
    assert (len(logs), list(logs), "a" in logs, "b" in logs) == (2, ["a", "loss"], True, False)
    assert list(logs.keys()) == ["a", "loss"]
    assert isinstance(logs, dict)


# What `fit` does with callbacks.


class Recorder(keras.callbacks.Callback):
    """Everything that Keras tells a callback."""

    def __init__(self):
        super().__init__()
        self.heard = []
        for name in dir(keras.callbacks.Callback):
            if name.startswith("on_"):
                setattr(self, name, self._hear(name))

    def _hear(self, name):
        def hear(*args, logs=None):
            numbers = [a for a in args if isinstance(a, int)]
            logs = next((a for a in args if isinstance(a, dict)), logs) or {}
            self.heard.append(
                (name, *numbers, {k: np.asarray(v).tolist() for k, v in logs.items()})
            )

        return hear

    def set_params(self, params):
        self.heard.append(("params", dict(params)))

    def set_model(self, model):
        self.heard.append(("model", model.name, model.optimizer.built))


def make(kind=keras_mg.Model):
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    model = kind(x, keras.layers.Dense(2)(x), name="small")
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    return model


def data(count=10):
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, 4)).astype("float32"), np.ones((count, 2), "float32")


def histories(run):
    """What `run(model)` makes a callback hear, by Keras and by us."""
    heard = []
    for kind in (keras.Model, keras_mg.Model):
        recorder = Recorder()
        result = run(make(kind), [recorder])
        heard.append((recorder.heard, result))
    assert len(heard[0][0]) > 5
    return heard


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_fit_tells_callbacks_what_keras_tells_them(verbose):
    x, y = data()

    def run(model, callbacks):
        history = model.fit(
            x,
            y,
            batch_size=4,
            epochs=3,
            initial_epoch=1,
            shuffle=False,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=0.3,
            validation_freq=2,
        )
        assert history is model.history
        return history.history, history.epoch, history.params

    theirs, ours = histories(run)
    assert ours == theirs
    assert {type(v) for values in ours[1][0].values() for v in values} == {float}


def test_evaluate_and_predict_too():
    x, y = data()

    def run(model, callbacks):
        figures = model.evaluate(x, y, batch_size=4, callbacks=callbacks, verbose=0)
        named = model.evaluate(x, y, steps=2, callbacks=callbacks, return_dict=True, verbose=0)
        predicted = model.predict(x, batch_size=4, callbacks=callbacks, verbose=0)
        part = model.predict(x, steps=2, callbacks=callbacks, verbose=0)
        return figures, named, predicted.tolist(), part.tolist()

    theirs, ours = histories(run)
    assert ours == theirs


@pytest.mark.filterwarnings("ignore::UserWarning")  # the data end, and have an order of their own
def test_data_of_unknown_length_and_generators():
    x, y = data(8)

    def batches():
        while True:
            yield x[:4], y[:4]

    def run(model, callbacks):
        kept = model.fit(batches(), steps_per_epoch=2, epochs=2, verbose=0, callbacks=callbacks)
        outputs = model.predict(
            ((b[0],) for b in (data(3), data(2))), verbose=0, callbacks=callbacks
        )
        return kept.history, outputs.tolist()

    theirs, ours = histories(run)
    assert ours == theirs


@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras says that it keeps to the limits
def test_limits_of_keras_are_told():
    x, y = data()

    def run(model, callbacks):
        model.fit(x, y, epochs=4, batch_size=2, verbose=0, callbacks=callbacks)
        return model.predict(x, batch_size=2, verbose=0, callbacks=callbacks).tolist()

    keras.config.set_max_epochs(2)
    keras.config.set_max_steps_per_epoch(3)
    try:
        theirs, ours = histories(run)
    finally:
        keras.config.set_max_epochs(None)
        keras.config.set_max_steps_per_epoch(None)
    assert ours == theirs


def test_logs_that_are_kept_have_the_values_of_their_batch():
    kept = []

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kept.append(logs)

    x, y = data()
    losses = []
    seen = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(logs["loss"])
    )
    make().fit(x, y, batch_size=2, verbose=0, shuffle=False, callbacks=[Keep()])
    make().fit(x, y, batch_size=2, verbose=0, shuffle=False, callbacks=[seen])
    assert all(not logs._unread for logs in kept)  # read at once, not by the line below
    assert [logs["loss"] for logs in kept] == losses
    assert len(set(losses)) == 5


def test_callbacks_share_the_logs():
    class Write(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            logs["batch"] = batch

    seen = []
    read = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda b, logs: seen.append(logs["batch"])
    )
    make().fit(*data(), batch_size=2, verbose=0, callbacks=[Write(), read])
    assert seen == [0, 1, 2, 3, 4]


def test_callbacks_of_keras(tmp_path):
    x, y = data()
    path = tmp_path / "{epoch}-{batch}-{loss:.3f}.weights.h5"
    callbacks = [
        keras.callbacks.ModelCheckpoint(path, save_freq=2, save_weights_only=True),
        keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=1),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.ReduceLROnPlateau("loss", min_delta=1e9, patience=1),
        keras.callbacks.TerminateOnNaN(),
    ]
    history = make().fit(x, y, batch_size=2, epochs=9, verbose=0, callbacks=callbacks)
    assert history.epoch == [0, 1]  # stopped early
    saved = sorted(p.name.split("-")[:2] for p in tmp_path.glob("*.h5"))
    assert saved == [["1", "2"], ["1", "4"], ["2", "1"], ["2", "3"], ["2", "5"]]
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    column = header.split(",").index("loss")
    assert [float(row.split(",")[column]) for row in rows] == history.history["loss"]


def test_training_ends_at_a_nan():
    x, y = data()
    y[4] = np.nan  # in the third batch
    seen = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    callbacks = [keras.callbacks.TerminateOnNaN(), count]
    make().fit(x, y, batch_size=2, epochs=3, shuffle=False, verbose=0, callbacks=callbacks)
    assert seen == [0, 1, 2]


def test_a_list_of_the_users_own_is_left_as_it_is():
    class Own(keras.callbacks.CallbackList):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            assert type(logs) is dict
            self.batches += 1

    model = make()
    own = Own([], add_history=True, model=model, epochs=1, steps=5, verbose=0)
    model.fit(*data(), batch_size=2, callbacks=own)
    assert own.batches == 5


def test_a_bar_of_the_users_own_is_the_only_one(capsys):
    class Bar(keras.callbacks.ProgbarLogger):
        pass

    x, y = data()
    model = make()
    model.fit(x, y, callbacks=Bar())
    assert capsys.readouterr().out.count("1/1") >= 1
    (own,) = [c for c in _callbacks(model, [Bar()]) if isinstance(c, keras.callbacks.ProgbarLogger)]
    assert type(own) is Bar


def _callbacks(model, callbacks):
    return LazyCallbackList(model, callbacks, 1, 1, kind="train").callbacks


def test_the_bar_shows_the_last_figures(capsys):
    model = make()
    history = model.fit(*data(64), batch_size=2, verbose=1).history
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert f"loss: {history['loss'][0]:.4f}" in last
    assert "32/32" in last


def test_training_inside_of_callbacks():
    x, y = data()
    seen = []

    class Test(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.model.evaluate(x, y, verbose=0))
            self.model.predict(x, verbose=0)

    history = make().fit(x, y, epochs=2, verbose=0, callbacks=[Test()], validation_data=(x, y))
    assert [loss for loss, _ in seen] == history.history["val_loss"]


def test_an_error_leaves_nothing_behind():
    model = make()

    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        model.fit(*data(), verbose=0, callbacks=[Fail()])
    with pytest.raises(ValueError, match="Unrecognized data type"):
        model.fit(object())
    with pytest.raises(TypeError):
        model.fit(nonsense=1)
    assert model._lazy_callbacks is None
    assert len(model.fit(*data(), verbose=0).history["loss"]) == 1


@pytest.mark.parametrize("name", ["fit", "evaluate", "predict"])
def test_signatures_are_those_of_keras(name):
    ours, theirs = getattr(keras_mg.Model, name), getattr(keras.Model, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert ours.__doc__ == theirs.__doc__
