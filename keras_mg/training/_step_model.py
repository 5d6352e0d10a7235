"""The steps of a `keras_mg.Model`, each run eagerly or compiled."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import keras

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras
from keras_mg.training._by_shape import MAX_SHAPES
from keras_mg.training._compiled_steps import CompiledSteps
from keras_mg.training._processes import check_processes
from keras_mg.training.stored_in_order import is_turned

if TYPE_CHECKING:
    from keras_mg.training._choices import Choices
    from keras_mg.training._parallel_run import Run


class StepModel(keras.Model):
    """A `keras.Model` whose three steps run compiled where they can and shall."""

    # The `torch.compile` backend that makes code of the captured graphs.
    torch_backend = "inductor"

    jit_compile: bool  # of Keras's

    # Until `compile()` sets them.
    _compiled_steps: CompiledSteps | None = None
    _known_steps: dict[tuple, CompiledSteps] = {}  # noqa: RUF012 (replaced, never changed)
    _slots_laid_out = False

    # The ids of what the last eager step has trained.
    _last_trained: tuple[int, ...] = ()

    # What decides under `jit_compile="auto"`; otherwise None, and `jit_compile` says it.
    _choices: Choices | None = None

    # While several processes train it, test it, or predict.
    _parallel_run: Run | None = None

    def _make(self, make, force: bool):
        """Make one of Keras's three functions, of which Keras itself compiles none on torch.

        Its own compiling breaks a step apart, and would wrap a compiled one once more.
        """
        compiles = self.jit_compile
        if is_torch():
            self.jit_compile = False
        try:
            return make(force)
        finally:
            self.jit_compile = compiles

    def make_train_function(self, force=False):
        result = self._make(super().make_train_function, force)
        if is_torch():
            own = type(self).train_step is not StepModel.train_step
            check_processes(self, self._is_distributed(), not own)
        return result

    def make_test_function(self, force=False):
        return self._make(super().make_test_function, force)

    def make_predict_function(self, force=False):
        return self._make(super().make_predict_function, force)

    def _is_distributed(self) -> bool:
        """Whether Keras trains through a wrapper of the model that synchronises processes."""
        return getattr(self, "ddp_model", None) is not None

    def _can_compile(self) -> bool:
        """Whether the step that goes on may be a compiled one."""
        if self.run_eagerly or not self.built or self._is_distributed() or is_turned(self):
            return False
        return self._parallel_run is None or not self._parallel_run.steps_are_eager()

    def _steps(self) -> CompiledSteps | None:
        """The compiled steps, where they may run."""
        if not self._can_compile():
            return None
        if self._compiled_steps is None or len(self._known_steps) > MAX_SHAPES:
            object.__setattr__(self, "_known_steps", {})
        if self._compiled_steps is None or self._compiled_steps.are_stale():
            # Layers that are frozen and released in turn come back to graphs that are there.
            steps = CompiledSteps(self, self.torch_backend)
            steps = self._known_steps.setdefault(tuple(steps.trainability), steps)
            self._compiled_steps = steps
        return None if self._compiled_steps.failed else self._compiled_steps

    @property
    def trains_compiled(self) -> bool:
        """Whether the training steps run compiled: chosen by `jit_compile`, or measured by it."""
        if not is_torch():
            return bool(self.jit_compile)
        if self._choices is not None and not self._choices.training_compiles():
            return False
        return self._compiled_steps is not None and not self._compiled_steps.failed

    def _run_step(self, kind: str, step, args):
        """What `step` gives, called with the compiled steps, or None, and the arguments."""
        if self._choices is not None:
            return self._choices.run(kind, step, args)
        return step(self._steps() if is_torch() and self.jit_compile else None, args)

    def _lay_out_slots(self):
        from keras_mg.training import _torch_graph as torch_graph

        if self.optimizer is not None and self.optimizer.built:
            torch_graph.match_layout(self.trainable_variables, self.optimizer.variables)
            self._slots_laid_out = True

    def train_step(self, *args):
        if not is_torch():
            return super().train_step(*args)
        if not self._slots_laid_out:
            self._lay_out_slots()
        return self._run_step("train", self._train, args)

    def _train(self, steps: CompiledSteps | None, args):
        if steps is not None and steps.variables and self.optimizer is not None:
            logs = steps.train(*args)
            if logs is not None:
                return logs
        step = super().train_step
        if self._trains_as_keras(step):
            step = self._keras_step
        else:
            self.zero_grad()
        if self._parallel_run is not None:
            step = functools.partial(self._parallel_run.eagerly, step)
        return _eagerly(steps, step, args)

    def _trains_as_keras(self, step) -> bool:
        """Whether `step` is Keras's own, of a model that is ready for it."""
        return (
            getattr(step, "__func__", None) is keras.Model.train_step
            and self.built
            and not self._is_distributed()
            and not missing(Feature.COMPILED_STEPS)
        )

    def _keras_step(self, data):
        from keras_mg.training import _eager_step as eager_step

        variables = self.trainable_weights
        # Keras frees the old gradients after the forward pass, whose activations need the memory.
        eager_step.clear_gradients(self, variables)
        return eager_step.train(self, data, variables)

    def test_step(self, *args):
        return self._run_step("test", self._test, args)

    def _test(self, steps: CompiledSteps | None, args):
        logs = None if steps is None else steps.test(*args)
        return _eagerly(steps, super().test_step, args) if logs is None else logs

    def predict_step(self, *args):
        return self._run_step("predict", self._predict, args)

    def _predict(self, steps: CompiledSteps | None, args):
        outputs = None if steps is None else steps.predict(*args)
        return _eagerly(steps, super().predict_step, args) if outputs is None else outputs


def _eagerly(steps: CompiledSteps | None, step, args):
    """Keras's own step; where it had to replace a compiled one, with a warning."""
    worked = False
    try:
        result = step(*args)
        worked = True
    finally:
        if steps is not None:
            steps.settle(worked)
    return result


def on_cuda(model: keras.Model) -> bool:
    """Whether a model computes on a GPU of NVIDIA's."""
    # A model without weights computes where Keras puts tensors.
    tensors = [private_keras.tensor_of(weight) for weight in model.weights]
    return (tensors or [keras.ops.zeros(())])[0].device.type == "cuda"


def is_torch() -> bool:
    """Whether Keras runs on torch."""
    return keras.backend.backend() == "torch"
