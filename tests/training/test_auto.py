"""`jit_compile="auto"`: when it measures, and what it remembers."""

import json

import keras
import pytest

from keras_mg.training import _choices, measured_steps
from keras_mg.training._choice import FIRST_STEPS, TRIAL, Choice, Measured, Phase
from tests.support import compiled as support
from tests.support import small_model as small
from tests.support.auto import (
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

# What a choice is, without a model


def noted(choice, eager, compiled, compiling, steps):
    """Run `steps` steps of a choice, that take these times; how they ran."""
    ran = []
    for _ in range(steps):
        ran.append(choice.compiled)
        had_graph = choice.compiled and bool(choice.graph or choice.compiling)
        seconds = compiled if choice.compiled else eager
        seconds += compiling if choice.compiled and not had_graph else 0
        if choice.phase is not Phase.SETTLED:
            choice.note(seconds, had_graph, failed=False)
    return ran


def test_a_trial_takes_a_few_steps_of_each_and_its_fastest_ones_count():
    choice = Choice()
    assert noted(choice, 2.0, 1.0, 30.0, FIRST_STEPS) == [False] * FIRST_STEPS
    assert choice.is_due
    assert choice.seconds == 2.0
    choice.begin()
    assert noted(choice, 2.0, 1.0, 30.0, len(TRIAL) - 1) == list(TRIAL[:-1])
    assert choice.note(7.0, False, False) == Measured(2.0, 1.0, 30.0)
    assert choice.phase is Phase.SETTLED
    assert choice.compiled
    assert max(TRIAL.count(True), TRIAL.count(False)) <= 4


@pytest.mark.parametrize("stopped", range(SETTLES_AFTER + 2))
def test_a_choice_that_was_saved_goes_on_alike(stopped):
    def run(choice, begin, end):
        ran = []
        for _ in range(begin, end):
            if choice.is_due:
                choice.begin()
            ran += noted(choice, 2.0, 1.0, 30.0, 1)
        return ran

    choice = Choice()
    ran = run(choice, 0, stopped)
    again = Choice.of(json.loads(json.dumps(choice.state())))
    ran += run(again, stopped, SETTLES_AFTER + 2)
    assert ran == [*FORMS, True, True]


@pytest.mark.parametrize(
    ("eager", "compiled", "compiling", "steps", "pays"),
    [
        (2.0, 1.0, 30.0, 31, True),
        (2.0, 1.0, 30.0, 30, False),
        (1.0, 2.0, 30.0, 10**6, False),
        (2.0, None, None, 10**6, False),
    ],
)
def test_compiling_pays_where_it_earns_back_its_time(eager, compiled, compiling, steps, pays):
    assert Measured(eager, compiled, compiling).pays(steps) is pays


# When it measures

# Seconds of an eager step, steps to come, what was measured before; what comes of it.
VERDICTS = [
    (0.01, 100, None, Phase.WATCHED, False),
    (1.0, 100, None, Phase.WATCHED, False),
    (1.0, 10_000, None, Phase.TRIED, False),
    (1.0, None, None, Phase.WATCHED, False),
    (200.0, None, None, Phase.TRIED, False),  # as many again as there were
    (1.0, 100, (1.0, 2.0, 30.0), Phase.SETTLED, False),
    (1.0, 100, (1.0, 0.5, 30.0), Phase.SETTLED, True),
    (1.0, 50, (1.0, 0.5, 30.0), Phase.WATCHED, False),
    (1.0, 100, (1.0, None, None), Phase.SETTLED, False),
    (0.01, 100, (0.01, 0.001, 0.1), Phase.WATCHED, False),  # nothing is worth it
]


@pytest.mark.parametrize(("seconds", "left", "known", "phase", "compiled"), VERDICTS)
def test_when_it_measures(kept, monkeypatch, seconds, left, known, phase, compiled):
    model = make()
    choices, key = model._choices, ("train", (ROWS, 8, 8, 3))
    args = (tuple(a[:ROWS] for a in data()),)
    if known is not None:
        measured_steps.keep(choices._digest("train", args[0]), Measured(*known), "a day", {})
    monkeypatch.setattr(_choices.lazy_logs, "steps_left", lambda model, kind: left)
    choice = choices.choices[key] = Choice()
    noted(choice, seconds, 1.0, 1.0, FIRST_STEPS)
    verdict = choices._verdict(key, choice, args)
    assert (verdict.phase, verdict.compiled) == (phase, compiled)
    assert bool(verdict.said) is (phase is Phase.SETTLED)


def test_a_short_fit_measures_nothing(kept, capsys, forms):
    before = support.unique_graphs()
    model = make()
    fit(model, verbose=2)
    model.predict(data()[0], verbose=0)
    assert support.unique_graphs() == before
    assert not any(forms)
    assert not kept.exists()
    assert "jit_compile" not in capsys.readouterr().out
    assert choice_of(model).phase is Phase.WATCHED


def test_steps_to_come_are_those_of_the_fit(clock, monkeypatch):
    asked = []
    original = _choices.Choices._steps_to_come

    def steps_to_come(self, key, choice):
        asked.append((choice.done, original(self, key, choice)))
        return 0.0  # nothing is worth it, so it asks again

    monkeypatch.setattr(_choices.Choices, "_steps_to_come", steps_to_come)
    model = make()
    fit(model, epochs=2)
    model.fit(*data(), batch_size=ROWS, epochs=4, initial_epoch=2, verbose=0)
    for _ in range(8):
        model.train_on_batch(*(a[:ROWS] for a in data()))
    # of two epochs, of the other two, and of nobody knows how many
    assert asked == [(3, 5), (6, 6), (12, 12), (24, 24)][: len(asked)]
    assert len(asked) >= 3


def test_where_runs_must_repeat_it_is_eager(clock, forms, monkeypatch):
    import torch

    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    fit(make())
    assert not any(forms)


def test_without_a_compiler_it_is_eager(clock, forms, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    model = make()
    model.torch_backend = "inductor"
    fit(model)
    assert not any(forms)
    assert choice_of(model).phase is Phase.SETTLED


def test_off(clock, forms, monkeypatch, kept):
    monkeypatch.setenv(measured_steps.VARIABLE, "off")
    model = make()
    fit(model)
    assert model._choices is None
    assert not any(forms)
    assert not kept.exists()
    monkeypatch.setenv(measured_steps.VARIABLE, "never")
    with pytest.raises(ValueError, match="must be off, new, or nothing. Received: never"):
        make()


# What it remembers


@pytest.mark.parametrize(
    ("content", "is_ours"),
    [
        ("", True),
        ('{"format": "keras-mg measured steps 1", "st', True),
        ('{"format": "keras-mg measured steps 1", "steps": [1]}', True),
        ('{"format": "keras-mg measured steps 2", "steps": {}}', False),
        ("[]", False),
    ],
)
def test_a_broken_file_is_written_anew_and_one_of_others_is_left(kept, content, is_ours):
    kept.parent.mkdir(parents=True)
    kept.write_text(content)
    assert measured_steps.find("key") is None
    assert measured_steps.keep("key", Measured(2.0, 1.0, 3.0), "2026-01-02", {}) is is_ours
    found = measured_steps.find("key")
    assert found == ((Measured(2.0, 1.0, 3.0), "2026-01-02") if is_ours else None)
    assert is_ours or kept.read_text() == content


@pytest.mark.parametrize(
    "entry",
    [1, {}, {"eager": "1"}, {"eager": 1.0, "compiled": 1.0}, {"eager": -1.0, "compiled": None}],
)
def test_an_entry_that_is_none_is_passed_over(kept, entry):
    assert measured_steps.keep("other", Measured(2.0, None, None), "", {})
    content = json.loads(kept.read_text())
    content["steps"]["key"] = entry
    kept.write_text(json.dumps(content))
    assert measured_steps.find("key") is None
    assert measured_steps.find("other") == (Measured(2.0, None, None), "")


def test_what_steps_are_told_apart_by(kept):
    def key(build=small.plain, rows=ROWS, kind="train", optimizer="sgd", dtype="float32", **more):
        keras.config.set_dtype_policy(dtype)
        model = make(build, optimizer, **more)
        x, y = data(rows)
        return model._choices._digest(kind, (x.astype("float32"), y))

    def frozen():
        model = small.plain()
        model.layers[1].trainable = False
        return model

    keras.layers.Dense(1)  # one more automatic name
    assert key() == key()
    others = [
        key(rows=4),
        key(kind="test"),
        key(kind="predict"),
        key(optimizer="adam"),
        key(dtype="mixed_bfloat16"),
        key(small.regularized),
        key(frozen),
        key(metrics=[]),
        key(remat=True),
        key(weighted_metrics=["accuracy"]),
    ]
    same = [i for i, other in enumerate(others) if [key(), *others].count(other) > 1]
    assert not same
