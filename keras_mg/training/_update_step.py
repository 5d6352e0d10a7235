"""An optimizer's update as a captured torch graph."""

from __future__ import annotations

from collections.abc import Callable

import keras

from keras_mg._private import keras as private_keras
from keras_mg.training._by_shape import MAX_SHAPES


class UpdateStep:
    """The update of a model's variables, captured anew where the optimizer's settings change.

    It runs eagerly where Keras decides by a value (loss scaling, gradient accumulation, some
    schedules): it is a small part of a step.

    Args:
        model: a compiled Keras model on the torch backend.
        variables: those that it trains.
        backend: the name of a `torch.compile` backend.
    """

    def __init__(self, model: keras.Model, variables: list, backend: str):
        self.model = model
        self.variables = variables
        self.backend = backend
        self.graph: Callable | None = None
        self.settings: list = []  # that the graph holds as constants
        self.captures = 0
        self.ran = False  # whether the graph has run since it was captured

    def run(self, gradients: list) -> None:
        """Update the variables, by None where a variable has no gradient."""
        from keras_mg.training import _torch_graph as torch_graph

        missing = [gradient is None for gradient in gradients]
        settings = _settings(self.model.optimizer) + missing
        if self.graph is not None and settings == self.settings:
            try:
                self.graph(gradients)
            except torch_graph.GraphIsGone:
                self.captures -= self.ran  # one that was good does not count
            else:
                self.ran = True
                return
        self.ran = False
        self._capture(gradients, missing)

    def _capture(self, gradients: list, missing: list[bool]) -> None:
        from keras_mg.training import _torch_graph as torch_graph

        optimizer, variables = self.model.optimizer, self.variables
        kept = list(range(len(gradients)))
        if any(missing) and optimizer.built and _applies_as_keras(optimizer):
            # Keras leaves these variables out with a warning, which cannot be captured.
            private_keras.filter_empty_gradients(optimizer, gradients, variables)
            kept = [i for i in kept if not missing[i]]

        # In several processes, the gradients are those of all of them already.
        apply = getattr(optimizer.apply, "alone", optimizer.apply)

        def update(gradients):
            apply([gradients[i] for i in kept], [variables[i] for i in kept])

        self.captures += 1
        before = _settings(optimizer)
        self.graph = update
        if self.captures > MAX_SHAPES:
            update(gradients)
        else:
            try:
                self.graph, _ = torch_graph.capture(update, (gradients,), self.backend)
            except Exception as error:
                if not torch_graph.is_capture_error(error):
                    raise
                update(gradients)
        if _settings(optimizer) != before:
            # It counts in Python, which no graph repeats.
            self.graph, self.captures = update, MAX_SHAPES
        self.settings = _settings(optimizer) + missing


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
