"""`jit_compile="auto"`: when it measures, what it chooses, and that training is the same."""

import json
import logging
import math
import threading

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.training import Checkpoint, _choices, forget_measured_steps, measured_steps
from keras_mg.training._choice import FIRST_STEPS, TRIAL, Choice, Measured, Phase
from keras_mg.training._step_model import StepModel
from tests.support import compiled as support
from tests.support import small_model as small

pytestmark = [*support.MARKS, pytest.mark.filterwarnings("error:jit_compile")]

ROWS = 8
BATCHES = 4
SETTLES_AFTER = FIRST_STEPS + len(TRIAL)
# 15 steps: all of a trial, and some after it.
EPOCHS = math.ceil((SETTLES_AFTER + 3) / BATCHES)
FORMS = [False] * FIRST_STEPS + list(TRIAL)


class Clock:
    """Stands in for the clock: each step takes what the test says.

    Args:
        eager: seconds of an eager step.
        compiled: of a compiled one.
        compiling: of what compiles, beside the step.
    """

    def __init__(self, eager, compiled, compiling=30.0):
        self.eager, self.compiled, self.compiling = eager, compiled, compiling
        self.captured = 0

    def __call__(self, steps, step, args):
        before = self.captured
        result = step(steps, args)
        compiling = self.compiling if self.captured > before else 0.0
        return result, compiling + (self.eager if steps is None else self.compiled)

    def capture(self, function, arguments, *args, **kwargs):
        """In place of `torch_graph.capture`, which takes seconds: a graph that is the function."""
        result = function(*arguments)
        self.captured += 1
        return function, result


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """The file that remembers, where nothing is in it yet."""
    monkeypatch.setenv(measured_steps.VARIABLE, "")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return measured_steps.path()


@pytest.fixture
def clock(monkeypatch, kept):
    """Sets what steps take; the default is worth measuring, and compiled steps are faster."""

    from keras_mg.training import _torch_graph

    real = _torch_graph.capture

    def set_clock(eager=100.0, compiled=50.0, compiling=30.0, captures=False):
        measured = Clock(eager, compiled, compiling)
        monkeypatch.setattr(_choices.Choices, "_timed", lambda self, *a: measured(*a))
        monkeypatch.setattr(_torch_graph, "capture", real if captures else measured.capture)

    set_clock()
    return set_clock


@pytest.fixture
def forms(monkeypatch):
    """How training steps have run, True where the compiled ones were there."""
    noted = []
    original = StepModel._train

    def train(self, steps, args):
        noted.append(steps is not None)
        return original(self, steps, args)

    monkeypatch.setattr(StepModel, "_train", train)
    return noted


def data(rows=ROWS * BATCHES):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 8, 8, 3)).astype("float32")
    return x, generator.integers(small.CLASSES, size=rows)


def make(build=small.plain, optimizer=None, **options):
    keras.utils.set_random_seed(1)
    model = build()
    model.torch_backend = "aot_eager"
    options = {"metrics": ["accuracy"], **options}
    model.compile(optimizer or small.sgd(), small.crossentropy(), **options)
    return model


def fit(model, epochs=EPOCHS, verbose=0, given=None, **options):
    given = given or data()
    if len(given) == 2:
        options["batch_size"] = ROWS
    history = model.fit(*given, epochs=epochs, verbose=verbose, **options)
    return support.left_behind(model, history)


def choice_of(model, kind="train"):
    (found,) = (c for (k, _), c in model._choices.choices.items() if k == kind)
    return found


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


# What it chooses


@pytest.mark.parametrize("faster", [True, False])
def test_it_goes_on_with_what_was_faster_and_trains_the_same(clock, kept, forms, capsys, faster):
    clock(100.0, 50.0 if faster else 125.0)
    model = make()
    result = fit(model, verbose=2)
    later = [faster] * (EPOCHS * BATCHES - SETTLES_AFTER)
    assert forms == FORMS + later
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


def test_a_folder_that_cannot_be_written_to_is_no_fault(clock, kept, forms, capsys):
    kept.parent.parent.mkdir()
    kept.parent.write_text("a file")
    fit(make(), verbose=2)
    assert forms[-1]
    assert "(measured now)" in capsys.readouterr().out


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
