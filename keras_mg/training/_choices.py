"""What `jit_compile="auto"` decides by: the steps of a model that were timed, here or before."""

from __future__ import annotations

import datetime
import logging
import os
import shutil
import sys
import threading
import time
from typing import Any, NamedTuple

import keras

from keras_mg._private import keras as private_keras
from keras_mg.distribution.processes import process_id
from keras_mg.distribution.shares import state as shares
from keras_mg.training import _lazy_logs as lazy_logs
from keras_mg.training import measured_steps
from keras_mg.training._choice import LEAST, MOST, Choice, Measured, Phase

_MOST_SHAPES = 64  # of batches; the steps on others run eagerly
_NAMES = {"train": "training", "test": "evaluation", "predict": "prediction"}

# Seconds that the first compiled training step took on two CPU cores with an empty cache, about: of
# any network, and for each of its layers (36 s with 16 layers, 54 with 42, 91 with 55, 64 with 82).
# Without a backward pass, of the first: a quarter.
_COMPILING, _COMPILING_LAYER = 25.0, 0.7
_WITHOUT_BACKWARD = 0.25

_lock = threading.RLock()


class _Verdict(NamedTuple):
    """What comes of asking."""

    phase: Phase
    compiled: bool = False
    said: str = ""


class Choices:
    """How the steps of one compiled model run, by kind and shape of batch.

    On a CPU, steps are eager until the work that is left is worth measuring; then a few are run and
    timed in either form, and the faster one stays. They are steps like any others. On a GPU, where
    eager steps wait for the host to launch one small kernel after another, they are compiled, and
    nothing is measured unless the environment asks for it.

    Args:
        model: a `keras_mg.Model` on the torch backend.
        on_cuda: whether it computes on such a GPU.
    """

    def __init__(self, model, on_cuda: bool):
        self.model = model
        self.on_cuda = on_cuda
        self.choices: dict[tuple, Choice] = {}
        self._remembered: dict[tuple, tuple[Measured, str] | None] = {}
        self._unsaid: list[tuple] = []
        self._news = False

    def run(self, kind: str, step, args: tuple):
        """What `step` gives, called with the compiled steps, or None, and the arguments.

        Args:
            kind: "train", "test" or "predict".
            step: the model's, of that kind.
            args: the batch is the first of them.
        """
        if self._unsaid:
            self.settle_up()
        key = kind, None if self.on_cuda else _shape(args)
        choice = self.choices.get(key) or self._new(key, args)
        if choice.phase is Phase.SETTLED:
            return step(self.model._steps() if choice.settled_on else None, args)
        if not self._takes_part(kind):
            follows = kind != "train" and self.training_compiles()
            return step(self.model._steps() if follows else None, args)
        return self._run_unsettled(key, choice, step, args)

    def _new(self, key: tuple, args: tuple) -> Choice:
        choice = Choice()
        with _lock:
            if len(self.choices) >= _MOST_SHAPES:
                choice.settle(False)
                return choice
            if self.on_cuda and not measured_steps.is_anew():
                if not self._takes_part(key[0]):
                    choice.settle(self.training_compiles())
                    return choice
                self._apply(choice, key, self._agreed(self._on_a_gpu(key, args)))
            return self.choices.setdefault(key, choice)

    def _takes_part(self, kind: str) -> bool:
        """Whether the step that goes on is one that all processes run alike."""
        if not self.model._can_compile():
            return False
        if self.model._parallel_run is None:
            return True
        # Of what they test and predict, processes need not have as many batches.
        return kind == "train" and (shares.share is None or shares.share.is_even)

    def training_compiles(self) -> bool:
        """Whether training steps are compiled ones, as far as it is settled."""
        settled = [c.settled_on for (kind, _), c in self.choices.items() if kind == "train"]
        return any(settled) if settled else self.on_cuda

    def _run_unsettled(self, key: tuple, choice: Choice, step, args: tuple):
        with _lock:
            if choice.is_due:
                self._apply(choice, key, self._ask(key, choice, args))
            compiled, others = choice.compiled, choice.busy
            phase = choice.phase
            tried = phase is Phase.TRIED and not others
            choice.busy = choice.busy or tried
        if others:  # in another thread, a step of the trial goes on
            return step(None, args)
        try:
            steps = self.model._steps() if compiled else None
            had_graph = steps is not None and steps.has_graph(key[0], args[0])
            result, seconds = self._timed(steps, step, args)
        except BaseException:
            if tried:
                choice.busy = False
            raise
        with _lock:
            # Together with the note: a step begun in between would run in the form of this one.
            if tried:
                choice.busy = False
            if choice.phase is not phase:  # in another thread, the trial has begun meanwhile
                return result
            failed = compiled and (steps is None or steps.failed)
            found = choice.note(seconds, had_graph, failed)
            if found is not None:
                found = self._agreed(found)
                choice.settle(found.compiled_is_faster)
                self._news = self._news or key[0] == "train"
                # Said and remembered before the next step, when a checkpoint can hold it.
                self._unsaid.append((key, args[0], found))
        return result

    def _timed(self, steps, step, args: tuple) -> tuple[Any, float]:
        """What a step gives, and the seconds that it took."""
        self._wait()
        begin = time.perf_counter()
        result = step(steps, args)
        self._wait()
        return result, time.perf_counter() - begin

    def _wait(self) -> None:
        if self.on_cuda:
            import torch

            torch.cuda.synchronize()

    def _agreed(self, own: Any) -> Any:
        """What the first process says, in all of those that train together."""
        if self.model._parallel_run is None:
            return own
        from keras_mg.distribution import collectives

        return collectives.from_first(own)

    # Decisions

    def _ask(self, key: tuple, choice: Choice, args: tuple) -> _Verdict:
        parallel = self.model._parallel_run is not None
        own = self._verdict(key, choice, args) if not parallel or process_id() == 0 else None
        return self._agreed(own)

    def _apply(self, choice: Choice, key: tuple, verdict: _Verdict) -> None:
        if verdict.phase is Phase.WATCHED:
            choice.ask_later()
        elif verdict.phase is Phase.TRIED:
            choice.begin()
        else:
            choice.settle(verdict.compiled)
        if verdict.said:
            self._say(key[0], verdict.said)

    def _verdict(self, key: tuple, choice: Choice, args: tuple) -> _Verdict:
        import torch

        steps = self._steps_to_come(key, choice)
        work = choice.seconds * steps
        if work < LEAST:
            return _Verdict(Phase.WATCHED)
        if torch.are_deterministic_algorithms_enabled() and not self.on_cuda:
            return _Verdict(Phase.SETTLED, False, "eager, as runs are to repeat exactly")
        if not all(layer.supports_jit for layer in private_keras.flatten_layers(self.model)):
            return _Verdict(Phase.SETTLED, False)
        if self.model.torch_backend == "inductor" and not self.on_cuda and not _has_compiler():
            return _Verdict(Phase.SETTLED, False, "eager, as there is no C++ compiler")
        found, day = self._known(key, args) or (None, "")
        if found is not None:
            if not found.compiled_is_faster or found.pays(steps):
                said = _said(found, _rows(args), f"measured on {day}")
                return _Verdict(Phase.SETTLED, found.compiled_is_faster, said)
            return _Verdict(Phase.WATCHED)
        worth = MOST * work >= self._compiling(key[0])
        return _Verdict(Phase.TRIED if worth else Phase.WATCHED)

    def _on_a_gpu(self, key: tuple, args: tuple) -> _Verdict:
        known = self._known(key, args)
        if known is None:
            said = "compiled, as eager steps wait for the host on a GPU (not measured)"
            return _Verdict(Phase.SETTLED, True, "" if self.choices else said)
        found, day = known
        said = _said(found, _rows(args), f"measured on {day}")
        return _Verdict(Phase.SETTLED, found.compiled_is_faster, said)

    def _steps_to_come(self, key: tuple, choice: Choice) -> float:
        """How many more steps on such batches there will be.

        As many as there are left by what `fit` was told, or else as there have been.
        """
        left = lazy_logs.steps_left(self.model, key[0]) or 0
        of_kind = sum(c.done for (kind, _), c in self.choices.items() if kind == key[0])
        return max(left * choice.done / of_kind, choice.done)

    def _known(self, key: tuple, args: tuple) -> tuple[Measured, str] | None:
        if measured_steps.is_anew():
            return None
        if key not in self._remembered:
            self._remembered[key] = measured_steps.find(self._digest(key[0], args[0]))
        return self._remembered[key]

    def _digest(self, kind: str, data) -> str:
        from keras_mg.training._step_key import key_of

        if kind == "predict":
            data = keras.utils.unpack_x_y_sample_weight(data)[0]
        return key_of(self.model, kind, data)

    def _compiling(self, kind: str) -> float:
        """Seconds that compiling is likely to take."""
        layers = len(private_keras.flatten_layers(self.model))
        seconds = _COMPILING + _COMPILING_LAYER * layers
        return seconds if kind == "train" else _WITHOUT_BACKWARD * seconds

    # What people and later processes are told

    def settle_up(self) -> None:
        """Say and remember what has been measured."""
        with _lock:
            due, self._unsaid = self._unsaid, []
        for (kind, shape), data, found in due:
            kept = False
            if self.model._parallel_run is None or process_id() == 0:
                from keras_mg.training._step_key import machine

                about = {
                    "machine": machine(self.model),
                    "model": self.model.name,
                    "steps": _NAMES[kind],
                    "batch": list(shape or ()),
                }
                day = datetime.date.today().isoformat()
                kept = measured_steps.keep(self._digest(kind, data), found, day, about)
            source = "measured now, remembered" if kept else "measured now"
            self._say(kind, _said(found, _rows((data,)), source))

    def _say(self, kind: str, what: str) -> None:
        line = f"jit_compile='auto': {_NAMES[kind]} of '{self.model.name}' {what}"
        logging.getLogger("keras_mg").info(line)
        verbose = lazy_logs.verbosity(self.model)
        if verbose and keras.config.is_interactive_logging_enabled():
            begin = "" if verbose == 2 else "\n"  # behind a progress bar
            sys.stdout.write(f"{begin}{line}\n")
            sys.stdout.flush()

    # Checkpoints

    def take_news(self) -> bool:
        """Whether a trial of training steps has ended since this was asked last."""
        news, self._news = self._news, False
        return news

    def state(self) -> dict[str, Any]:
        """What goes into a checkpoint, in JSON's types."""
        from keras_mg.training._step_key import machine

        return {
            "machine": machine(self.model),
            "choices": [[*key, choice.state()] for key, choice in self.choices.items()],
        }

    def set_state(self, state: dict[str, Any] | None) -> None:
        """Go on as the training that a checkpoint holds, where it was one on such a machine."""
        from keras_mg.training._step_key import machine

        if state is None or state["machine"] != machine(self.model):
            return
        self.choices = {
            (kind, None if shape is None else tuple(shape)): Choice.of(choice)
            for kind, shape, choice in state["choices"]
        }


def _has_compiler() -> bool:
    """Whether torch's compiler finds what it needs on a CPU, as far as one can tell."""
    names = (os.environ.get("CXX"), "g++", "clang++", "c++", "cl")
    return any(shutil.which(name) for name in names if name)


def _shape(args: tuple) -> tuple | None:
    """The shape of the first tensor of a batch."""
    data: Any = args
    while not hasattr(data, "shape"):
        if isinstance(data, dict):
            data = tuple(data.values())
        if not isinstance(data, tuple | list) or not data:
            return None
        data = data[0]
    return tuple(data.shape)


def _rows(args: tuple) -> int:
    return next(iter(_shape(args) or ()), 1) or 1


def _said(found: Measured, rows: int, source: str) -> str:
    if found.compiled is None:
        return f"eager, as it cannot be captured ({source})"
    seconds = found.eager, found.compiled
    eager, compiled = (f"{1000 * each / rows:.3g}" for each in seconds)
    if found.compiled_is_faster:
        return f"compiled, {compiled} ms an image against {eager} eager ({source})"
    return f"eager, {eager} ms an image against {compiled} compiled ({source})"
