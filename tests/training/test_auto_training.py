"""`jit_compile="auto"`: training goes on with the faster steps, and is the same."""

import json
import logging
import threading

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.training import Checkpoint, _choices, forget_measured_steps, measured_steps
from keras_mg.training._choice import FIRST_STEPS, TRIAL, Measured, Phase
from tests.support import compiled as support
from tests.support import small_model as small
from tests.support.auto import (
    BATCHES,
    EPOCHS,
    FORMS,
    ROWS,
    SETTLES_AFTER,
    choice_of,
    data,
    fit,
    make,
)
from tests.support.auto import clock as clock
from tests.support.auto import forms as forms
from tests.support.auto import kept as kept

pytestmark = [*support.MARKS, pytest.mark.filterwarnings("error:jit_compile")]

# What it chooses


@pytest.mark.parametrize("faster", [True, False])
def test_it_goes_on_with_what_was_faster_and_trains_the_same(clock, kept, forms, capsys, faster):
    clock(100.0, 50.0 if faster else 125.0)
    model = make()
    result = fit(model, verbose=2)
    later = [faster] * (EPOCHS * BATCHES - SETTLES_AFTER)
    assert forms == FORMS + later
    assert model.trains_compiled is faster
    said = [line for line in capsys.readouterr().out.splitlines() if "jit_compile" in line]
    figures = (
        "compiled, 6.25e+03 ms an image against 1.25e+04 eager"
        if faster
        else "eager, 1.25e+04 ms an image against 1.56e+04 compiled"
    )
    assert said == [f"jit_compile='auto': training of 'small' {figures} (measured now, remembered)"]
    (entry,) = json.loads(kept.read_text())["steps"].values()
    assert (entry["eager"], entry["compiled"], entry["compiling"]) == (
        *(100.0, 50.0 if faster else 125.0, 30.0),
    )
    forms.clear()
    support.assert_same(result, fit(make(jit_compile=False)), tolerance=1e-6)
    assert not any(forms)

    # Another model of this kind, whose layers have other names, need not try.
    forms.clear()
    fit(make())
    assert forms == [False] * FIRST_STEPS + [faster] * (len(forms) - FIRST_STEPS)


def test_what_is_remembered_can_be_forgotten(clock, kept, forms, monkeypatch):
    clock(100.0, 125.0)
    fit(make())
    monkeypatch.setenv(measured_steps.VARIABLE, "new")
    clock(100.0, 50.0)
    fit(make())
    assert forms[-SETTLES_AFTER - 1 :].count(True) > TRIAL.count(True) - 1
    (entry,) = json.loads(kept.read_text())["steps"].values()
    assert entry["compiled"] == 50.0
    monkeypatch.setenv(measured_steps.VARIABLE, "")
    forget_measured_steps()
    assert not kept.exists()
    forget_measured_steps()


def test_a_folder_that_cannot_be_written_to_is_no_fault(clock, kept, forms, capsys):
    kept.parent.parent.mkdir()
    kept.parent.write_text("a file")
    fit(make(), verbose=2)
    assert forms[-1]
    assert "(measured now)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("default:jit_compile")
def test_what_cannot_be_captured_is_tried_once(clock, kept, forms):
    clock(captures=True)

    class Looks(keras.layers.Layer):
        def call(self, x):
            return x if keras.ops.sum(x) > 1e9 else 2.0 * x

    def build():
        return small.with_head(Looks)()

    with pytest.warns(
        UserWarning, match="^jit_compile='auto': layer 'looks' .*be captured"
    ) as said:
        result = fit(make(build))
    assert len([w for w in said if "cannot be captured" in str(w.message)]) == 1
    support.assert_same(result, fit(make(build, jit_compile=False)), tolerance=0)
    (entry,) = json.loads(kept.read_text())["steps"].values()
    assert entry["compiled"] is None
    forms.clear()
    fit(make(build))
    assert not any(forms)


SCENARIOS = {
    "accumulation": {"optimizer": lambda: small.sgd(gradient_accumulation_steps=2)},
    "remat": {"remat": True},
    "prefetched": {"prefetched": True},
    "own step": {"own": True},
    "run eagerly": {"run_eagerly": True},
}


@pytest.mark.parametrize(
    ("name", "captures"),
    [
        *((name, False) for name in SCENARIOS),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in SCENARIOS),
    ],
)
def test_training_is_the_same(clock, forms, name, captures):
    clock(captures=captures)

    class Own(keras_mg.Model):
        def train_step(self, data):
            return {**super().train_step(data), "mine": keras.ops.ones(())}

    options = dict(SCENARIOS[name])
    optimizer = options.pop("optimizer", small.sgd)
    prefetched, own = options.pop("prefetched", False), options.pop("own", False)

    def build():
        images, x = small.trunk()
        kind = Own if own else keras_mg.Model
        return kind(images, keras.layers.Dense(small.CLASSES)(x), name="small")

    def train(**more):
        given = data()
        if prefetched:
            import torch

            tensors = torch.utils.data.TensorDataset(*map(torch.from_numpy, given))
            loader = torch.utils.data.DataLoader(tensors, ROWS)
            given = (keras_mg.training.prefetch(loader),)
        return fit(make(build, optimizer(), **options, **more), given=given, shuffle=False)

    support.assert_same(train(), train(jit_compile=False), tolerance=1e-6)
    if name == "run eagerly":
        assert not any(forms)
    else:
        assert forms[:SETTLES_AFTER] == FORMS
        assert forms[SETTLES_AFTER]


def test_partial_batches_stay_eager_and_threads_predict_the_same(clock):
    model = make(jit_compile=False)
    x = data(ROWS + 3)[0]
    wanted = model.predict(x, batch_size=ROWS, verbose=0)
    model.compile(jit_compile="auto")
    results = []

    def work():
        for _ in range(SETTLES_AFTER):
            results.append(model.predict(x[:ROWS], batch_size=ROWS, verbose=0))  # noqa: PERF401

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 * SETTLES_AFTER
    for result in results:
        np.testing.assert_allclose(result, wanted[:ROWS], rtol=0, atol=1e-6)
    assert choice_of(model, "predict").settled_on
    np.testing.assert_allclose(model.predict(x, batch_size=ROWS, verbose=0), wanted, atol=1e-6)
    partial = model._choices.choices["predict", (3, 8, 8, 3)]
    assert partial.done == 1
    assert partial.phase is Phase.WATCHED


def test_evaluation_chooses_for_itself(clock):
    model = make()
    x, y = data()
    scores = [model.evaluate(x, y, batch_size=ROWS, verbose=0) for _ in range(4)]
    assert choice_of(model, "test").settled_on
    np.testing.assert_allclose(scores, [scores[0]] * 4, rtol=1e-6)


def test_a_gpu_compiles_unless_it_is_remembered_otherwise(clock, kept, forms, monkeypatch, caplog):
    monkeypatch.setattr(keras_mg.Model, "_on_cuda", lambda self: True)
    caplog.set_level(logging.INFO, "keras_mg")
    model = make()
    assert model.jit_compile
    fit(model, epochs=1)
    assert forms == [True] * BATCHES
    assert "compiled, as eager steps wait for the host on a GPU (not measured)" in caplog.text
    digest = model._choices._digest("train", tuple(a[:ROWS] for a in data()))
    measured_steps.keep(digest, Measured(1.0, 2.0, 3.0), "2026-01-02", {})
    forms.clear()
    fit(make(), epochs=1)
    assert not any(forms)
    assert "eager, 125 ms an image against 250 compiled (measured on 2026-01-02)" in caplog.text


# Training that goes on


class Stop(keras.callbacks.Callback):
    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("every_steps", [1, None])
def test_a_training_that_goes_on_runs_the_steps_that_it_would_have_run(
    clock, kept, forms, tmp_path, every_steps
):
    def train(folder, stop_after=None):
        forget_measured_steps()
        checkpoint = Checkpoint(folder, every_steps=every_steps)
        callbacks = [checkpoint] if stop_after is None else [checkpoint, Stop(stop_after)]
        return fit(make(), callbacks=callbacks, initial_epoch=checkpoint.saved_epoch, shuffle=False)

    whole = train(tmp_path / "whole")
    wanted = list(forms)
    assert wanted[:SETTLES_AFTER] == FORMS
    # in the trial, where it has just ended, and later
    for after in (5, SETTLES_AFTER, SETTLES_AFTER + 1):
        clock()
        folder = tmp_path / str(after)
        with pytest.raises(KeyboardInterrupt):
            train(folder, stop_after=after)
        clock(100.0, 500.0)  # were it to measure anew, it would choose otherwise
        forms.clear()
        result = train(folder)
        if every_steps is not None or after >= SETTLES_AFTER:
            assert forms == wanted[-len(forms) :]
        if every_steps is not None:
            assert len(forms) == len(wanted) - after
        if after >= SETTLES_AFTER:
            assert len(forms) <= len(wanted) - SETTLES_AFTER
            support.assert_same(result, whole)


def test_a_choice_of_another_machine_does_not_count(clock):
    model = make()
    fit(model)
    state = model._choices.state()
    for machine, settled in ((state["machine"], True), ("another", False)):
        other = make()
        other._choices.set_state({**state, "machine": machine})
        assert any(c.settled_on for c in other._choices.choices.values()) is settled


# In earnest


@pytest.mark.slow
def test_with_the_real_clock(kept, monkeypatch, capsys):
    monkeypatch.setattr(_choices, "LEAST", 0.0)
    monkeypatch.setattr(_choices, "MOST", 1e9)
    result = fit(make(), verbose=2)
    support.assert_same(result, fit(make(jit_compile=False)), tolerance=1e-6)
    (entry,) = json.loads(kept.read_text())["steps"].values()
    assert all(0 < entry[name] < 600 for name in ("eager", "compiled", "compiling"))
    form = "compiled" if entry["compiled"] < entry["eager"] else "eager"
    assert f"training of 'small' {form}, " in capsys.readouterr().out
