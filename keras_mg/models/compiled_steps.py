"""Training, test and prediction steps of a Keras model as captured torch graphs."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import tree

# A model that meets more batch shapes than this runs the further ones eagerly.
MAX_SHAPES = 8


def signature(arguments) -> tuple:
    """What a graph of these arguments depends on: their nesting, shapes and types."""
    return tuple(
        None if leaf is None else (tuple(leaf.shape), leaf.dtype)
        for leaf in tree.flatten(arguments)
    )


class ByShape:
    """Runs a step compiled for the batch shapes that recur, eagerly for the others.

    The first shape is compiled at once, a further one when it comes twice in a row: a partial last
    batch never does, and a graph of its own would cost more than it saves.
    """

    def __init__(self, function: Callable, backend: str):
        self.function = function
        self.backend = backend
        self.compiled: dict[tuple, Callable] = {}
        self.last: tuple | None = None

    def choose(self, arguments) -> tuple[Callable, bool]:
        """The compiled or the eager form of the step, and whether it was compiled just now."""
        from keras_mg.ops import torch_graph

        key = signature(arguments)
        repeated, self.last = key == self.last, key
        if key in self.compiled:
            return self.compiled[key], False
        if self.compiled and not (repeated and len(self.compiled) < MAX_SHAPES):
            return self.function, False
        self.compiled[key] = torch_graph.compile_graph(self.function, self.backend)
        return self.compiled[key], True


class CompiledSteps:
    """The three steps of a compiled Keras model, each captured as one graph.

    A training step is two graphs: forward pass, loss and metrics (with its backward pass), and the
    optimizer's update. Where a part cannot be captured, `failed` says so and the model's own steps
    take over.

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
        self.backend = backend
        self.loss_has_training = "training" in inspect.signature(model.compute_loss).parameters
        self.train_graph = ByShape(self._forward(training=True), backend)
        self.test_graph = ByShape(self._forward(training=False), backend)
        self.predict_graph = ByShape(self._predict(), backend)
        self.update_graph: Callable | None = None
        _make_axes_capturable(model)
        _clear_losses(model)

    def _forward(self, training: bool) -> Callable:
        model, has_training = self.model, self.loss_has_training
        optimizer = model.optimizer if training else None
        tracker: Any = next(iter(model.metrics), None)  # Keras's mean of the loss comes first

        def forward(x, y, sample_weight):
            y_pred = model(x, training=training)
            if has_training:
                loss = model.compute_loss(x, y, y_pred, sample_weight, training=training)
            else:
                loss = model.compute_loss(x, y, y_pred, sample_weight)
            tracker.update_state(loss.detach(), sample_weight=tree.flatten(x)[0].shape[0])
            y_pred = tree.map_structure(lambda t: t.detach(), y_pred)
            logs = model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
            _clear_losses(model)
            return loss if optimizer is None else optimizer.scale_loss(loss), logs

        return forward

    def _predict(self) -> Callable:
        model = self.model

        def predict(x):
            return model(x, training=False)

        return predict

    def _run(self, graph: ByShape, training: bool, *arguments):
        """The step's result, or None where it cannot be captured."""
        import torch

        step, is_new = graph.choose(arguments)
        if not is_new:
            return step(*arguments)
        try:
            return step(*arguments)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            # Torch's tracer raises whatever it meets. If the step itself is at fault, the eager
            # step that follows raises the plain error.
            self.failed = True
            self.failure = (error, arguments[0], training)
            return None

    def warn(self) -> None:
        """Say once which layer could not be captured."""
        if self.failure is None:
            return
        error, x, training = self.failure
        self.failure = None
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        warnings.warn(
            f"jit_compile=True: {blame(self.model, x, training)} of model '{self.model.name}' "
            f"cannot be captured as one graph, so the model runs eagerly. Reason: {reason}",
            stacklevel=2,
        )

    def train(self, data):
        """One training step; None where it cannot be captured."""
        import torch

        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        for parameter in self.parameters:
            parameter.grad = None
        result = self._run(self.train_graph, True, x, y, sample_weight)
        if result is None:
            return None
        loss, logs = result
        loss.backward()
        gradients = [parameter.grad for parameter in self.parameters]
        with torch.no_grad():
            self._update(gradients)
        return logs

    def _update(self, gradients) -> None:
        from keras_mg.ops import torch_graph

        model, variables = self.model, self.variables

        def update(gradients):
            model.optimizer.apply(gradients, variables)

        if self.update_graph is None:
            compiled = torch_graph.compile_graph(update, self.backend)
            try:
                compiled(gradients)
            except Exception:
                # Keras's conditions on values (loss scaling, gradient accumulation, some schedules)
                # need the host. The update is a small part of a step.
                self.update_graph = update
                update(gradients)
            else:
                self.update_graph = compiled
            return
        self.update_graph(gradients)

    def test(self, data):
        """One test step; None where it cannot be captured."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        result = self._run(self.test_graph, False, x, y, sample_weight)
        return None if result is None else result[1]

    def predict(self, data):
        """The predictions of one batch; None where the step cannot be captured."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._run(self.predict_graph, False, x)


def _clear_losses(model: keras.Model) -> None:
    # Activity losses of one step would be an input of the next one's graph.
    model._clear_losses()


def _make_axes_capturable(model: keras.Model) -> None:
    # Keras stores these axes in a list of its own kind, which torch's tracer does not know.
    for layer in _leaves(model):
        axes = getattr(layer, "_reduction_axes", None)
        if isinstance(layer, keras.layers.BatchNormalization) and axes is not None:
            object.__setattr__(layer, "_reduction_axes", tuple(axes))


def _leaves(model) -> list[keras.layers.Layer]:
    layers = []
    for layer in model.layers:
        layers += _leaves(layer) if isinstance(layer, keras.Model) else [layer]
    return layers


def blame(model: keras.Model, x, training: bool) -> str:
    """Name the first layer of `model` that cannot be captured, given a batch that it was fed."""
    layer = find_uncapturable(model, x, training)
    if layer is None:
        return "the loss, a metric or the whole"
    return f"layer '{layer.name}' ({type(layer).__name__})"


def find_uncapturable(model: keras.Model, x, training: bool) -> keras.layers.Layer | None:
    """The first layer that cannot be captured; None if there is none or it cannot be told."""
    from keras_mg.ops import torch_graph

    calls = {
        node.operation: node.arguments.args[0]
        for nodes in getattr(model, "_nodes_by_depth", {}).values()
        for node in nodes
        if not node.is_input and node.arguments.args
    }
    layers = [layer for layer in getattr(model, "layers", ()) if layer in calls]
    if not layers:
        return None
    feeds = keras.Model(model.inputs, [calls[layer] for layer in layers])(x, training=False)
    for layer, feed in zip(layers, feeds, strict=True):
        takes_training = "training" in inspect.signature(layer.call).parameters
        options = {"training": training} if takes_training else {}

        def call(feed, layer=layer, options=options):
            return layer(feed, **options)

        if torch_graph.capture_error(call, feed) is None:
            continue
        if isinstance(layer, keras.Model):
            return find_uncapturable(layer, feed, training) or layer
        return layer
    return None
