"""Training, test and prediction steps of a Keras model as captured torch graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import keras

from keras_mg._private import keras as private_keras
from keras_mg.training._blame import blame
from keras_mg.training._by_shape import MAX_SHAPES, CannotCapture
from keras_mg.training._forward_step import ForwardStep, PredictStep


class CompiledSteps:
    """The three steps of a compiled Keras model, each captured as one graph.

    A training step is two graphs: forward pass, loss and metrics (with its backward pass), and the
    optimizer's update. Where the network cannot be captured, `failed` says so and the model's own
    steps take over.

    Args:
        model: a Keras model on the torch backend; its variables, optimizer and trainable layers
            are read once.
        backend: the name of a `torch.compile` backend.
    """

    def __init__(self, model: keras.Model, backend: str):
        self.model = model
        self.failed = False
        self.failure: tuple | None = None
        self.variables = list(model.trainable_variables)
        self.parameters = [v.value for v in self.variables]
        self.weights = [w.value for w in model.weights]
        self.layers = private_keras.flatten_layers(model)
        self.trainability = self._trainability()
        self.backend = backend
        self.device = self.weights[0].device if self.weights else None
        self.train_step = ForwardStep(model, backend, training=True)
        self.test_step = ForwardStep(model, backend, training=False)
        self.predict_step = PredictStep(model, backend)
        self.update_graph: Callable | None = None
        self.update_settings: list = []
        self.updates = 0  # graphs of the update so far
        _make_lists_capturable(model)
        private_keras.clear_losses(model)

    def are_stale(self) -> bool:
        """Whether layers were frozen or released since, which Keras's own steps notice, too."""
        return self._trainability() != self.trainability

    def _trainability(self) -> list[bool]:
        # A layer has its own without weights, too: a batch norm moves its statistics by it.
        return [x.trainable for x in self.layers] + [w.requires_grad for w in self.weights]

    def _or_none(self, x, training: bool, step: Callable):
        """The step's result, or None where the eager step has to take over."""
        try:
            return step()
        except CannotCapture as error:
            self.failure = (error.__cause__, x, training)
            return None

    def settle(self, eager_step_worked: bool) -> None:
        """Once the eager step has run in place of a captured one: give up, or try again next time.

        If the eager step worked, the network cannot be captured, and a warning says once which
        layer is to blame. If it failed, too, the batch was at fault.
        """
        if self.failure is None:
            return
        error, x, training = self.failure
        self.failure = None
        if not eager_step_worked:
            return
        from keras_mg.training import _torch_graph as torch_graph

        self.failed = True
        warnings.warn(
            f"jit_compile=True: {blame(self.model, x, training)} of model '{self.model.name}' "
            "cannot be captured as one graph, so the model runs eagerly. "
            f"Reason: {torch_graph.reason(error)}",
            stacklevel=2,
        )

    def _unpack(self, data):
        from keras_mg.training import _torch_graph as torch_graph

        data = torch_graph.to_tensors(data, self.device)
        return keras.utils.unpack_x_y_sample_weight(data)

    def train(self, data):
        """One training step; None where it cannot be captured."""
        import torch

        x, y, sample_weight = self._unpack(data)
        for parameter in self.parameters:
            parameter.grad = None
        result = self._or_none(x, True, lambda: self.train_step.run(x, y, sample_weight))
        if result is None:
            return None
        loss, logs = result
        loss.backward()
        gradients = [parameter.grad for parameter in self.parameters]
        with torch.no_grad():
            self._update(gradients)
        return logs

    def _update(self, gradients) -> None:
        from keras_mg.training import _torch_graph as torch_graph

        optimizer, variables = self.model.optimizer, self.variables
        missing = [gradient is None for gradient in gradients]
        settings = _settings(optimizer) + missing
        if self.update_graph is not None and settings == self.update_settings:
            self.update_graph(gradients)
            return
        kept = list(range(len(gradients)))
        if any(missing) and optimizer.built and _applies_as_keras(optimizer):
            # Keras leaves these variables out with a warning, which cannot be captured.
            private_keras.filter_empty_gradients(optimizer, gradients, variables)
            kept = [i for i in kept if not missing[i]]

        def update(gradients):
            optimizer.apply([gradients[i] for i in kept], [variables[i] for i in kept])

        self.updates += 1
        before = _settings(optimizer)
        compiled = update
        if self.updates <= MAX_SHAPES:
            compiled = torch_graph.compile_graph(update, self.backend)
        try:
            compiled(gradients)
        except Exception as error:
            if not torch_graph.is_capture_error(error):
                raise
            # Keras's conditions on values (loss scaling, gradient accumulation, some schedules)
            # need the host. The update is a small part of a step.
            compiled = update
            update(gradients)
        if _settings(optimizer) != before:
            # It counts in Python, which no graph repeats.
            compiled, self.updates = update, MAX_SHAPES
        self.update_graph, self.update_settings = compiled, _settings(optimizer) + missing

    def test(self, data):
        """One test step; None where it cannot be captured."""
        x, y, sample_weight = self._unpack(data)
        result = self._or_none(x, False, lambda: self.test_step.run(x, y, sample_weight))
        return None if result is None else result[1]

    def predict(self, data):
        """The predictions of one batch; None where the step cannot be captured."""
        import torch

        if torch.is_grad_enabled():
            return None  # the graphs have no backward pass
        x, _, _ = self._unpack(data)
        return self._or_none(x, False, lambda: self.predict_step.run(x))


def _settings(optimizer) -> list:
    """The numbers of an optimizer that are constants of its captured update."""
    inner = [
        part
        for value in vars(optimizer).values()
        for part in (value if isinstance(value, (list, tuple)) else [value])
        if isinstance(part, keras.optimizers.Optimizer)
    ]
    own = [
        (name, value)
        for name, value in vars(optimizer).items()
        if value is None or isinstance(value, (bool, int, float, str))
    ]
    own.append(("learning rate", id(private_keras.rate_of(optimizer))))
    return own + [setting for part in inner for setting in _settings(part)]


def _applies_as_keras(optimizer) -> bool:
    """Whether `apply` is that of Keras's plain optimizers, not one that wraps another's."""
    return type(optimizer).apply is keras.optimizers.SGD.apply


def _make_lists_capturable(model: keras.Model) -> None:
    for layer in private_keras.flatten_layers(model):
        for kind, names in private_keras.TRACKED_LISTS.items():
            for name in names if isinstance(layer, kind) else ():
                value = getattr(layer, name, None)
                if isinstance(value, list):
                    object.__setattr__(layer, name, list(value))
