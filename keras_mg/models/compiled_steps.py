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

    def __init__(self, function: Callable, backend: str, **options):
        self.function = function
        self.backend = backend
        self.options = options  # of `compile_graph`
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
        self.compiled[key] = torch_graph.compile_graph(self.function, self.backend, **self.options)
        return self.compiled[key], True


class CannotCapture(Exception):
    """Torch could not capture a step as one graph; nothing of it has run."""


def _run(graph: ByShape, arguments):
    """The result of a step.

    Raises:
        CannotCapture: if torch fails while it captures; the cause is torch's error.
    """
    import torch

    step, is_new = graph.choose(arguments)
    if not is_new:
        return step(*arguments)
    try:
        return step(*arguments)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # Torch's tracer raises whatever it meets. If the step itself is at fault, the eager step
        # that follows raises the plain error.
        raise CannotCapture from error


class ForwardStep:
    """Forward pass, loss and metrics of a training or test step, as much of it captured as can be.

    Some losses and metrics of Keras (precision, AUC, hinge losses) need values on the host, so a
    step has three extents: all three parts in the graph, all but the metrics, the network alone.

    Args:
        model: a Keras model on the torch backend.
        backend: the name of a `torch.compile` backend.
        training: whether it is a training step.
    """

    def __init__(self, model: keras.Model, backend: str, training: bool):
        self.model = model
        self.backend = backend
        self.training = training
        self.takes_training = "training" in inspect.signature(model.compute_loss).parameters
        self.tracker: Any = next(iter(model.metrics), None)  # Keras's mean of the loss comes first
        self._use(0)

    def _use(self, extent: int) -> None:
        self.extent = extent
        parts = (self._all, self._network_and_loss, self._network)
        part = parts[extent]

        def captured(*arguments):
            # A function of its own per step: torch keys its graphs by them.
            return part(*arguments)

        self.graph = ByShape(captured, self.backend, training=self.training)

    def _loss(self, x, y, y_pred, sample_weight):
        options = {"training": self.training} if self.takes_training else {}
        loss = self.model.compute_loss(x, y, y_pred, sample_weight, **options)
        samples = tree.flatten(x)[0].shape[0]
        self.tracker.update_state(loss.detach(), sample_weight=samples)
        _clear_losses(self.model)
        return self.model.optimizer.scale_loss(loss) if self.training else loss

    def _logs(self, x, y, y_pred, sample_weight):
        y_pred = tree.map_structure(lambda t: t.detach(), y_pred)
        return self.model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _network(self, x):
        return self.model(x, training=self.training)

    def _network_and_loss(self, x, y, sample_weight):
        y_pred = self._network(x)
        return y_pred, self._loss(x, y, y_pred, sample_weight)

    def _all(self, x, y, sample_weight):
        y_pred, loss = self._network_and_loss(x, y, sample_weight)
        return loss, self._logs(x, y, y_pred, sample_weight)

    def run(self, x, y, sample_weight):
        """Loss and logs of a batch.

        Raises:
            CannotCapture: where not even the network can be captured.
        """
        try:
            result = _run(self.graph, (x,) if self.extent == 2 else (x, y, sample_weight))
        except CannotCapture:
            if self.extent == 2:
                raise
            self._use(self.extent + 1)
            return self.run(x, y, sample_weight)
        if self.extent == 0:
            return result
        if self.extent == 1:
            y_pred, loss = result
        else:
            y_pred = result
            loss = self._loss(x, y, y_pred, sample_weight)
        return loss, self._logs(x, y, y_pred, sample_weight)


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
        self.backend = backend
        self.device = None if not model.weights else model.weights[0].value.device
        self.train_step = ForwardStep(model, backend, training=True)
        self.test_step = ForwardStep(model, backend, training=False)
        self.predict_graph: ByShape | None = None
        # The weights that are constants of that graph, and what tells that they have changed.
        self.constants = [] if self.variables else list(model.weights)
        self.versions: list = []
        self.update_graph: Callable | None = None
        _make_axes_capturable(model)
        _clear_losses(model)

    def _predict_graph(self) -> ByShape:
        """The prediction step; in a model without trainable weights, weights are constants of it.

        Where such a model is given other weights, the step is captured once more, without constants
        this time.
        """
        from keras_mg.ops import torch_graph

        model = self.model
        versions = torch_graph.versions(self.constants)
        if self.predict_graph is not None and versions == self.versions:
            return self.predict_graph
        if self.predict_graph is not None:
            self.constants = versions = []
        self.versions = versions

        def predict(x):
            return model(x, training=False)

        self.predict_graph = ByShape(
            predict, self.backend, constant_weights=_is_on_cpu(self.constants)
        )
        return self.predict_graph

    def _or_none(self, x, training: bool, step: Callable):
        """The step's result, or None where the network cannot be captured."""
        try:
            return step()
        except CannotCapture as error:
            self.failed = True
            self.failure = (error.__cause__, x, training)
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

    def _unpack(self, data):
        from keras_mg.ops import torch_graph

        if self.device is not None:
            data = torch_graph.on_device(data, self.device)
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
        x, y, sample_weight = self._unpack(data)
        result = self._or_none(x, False, lambda: self.test_step.run(x, y, sample_weight))
        return None if result is None else result[1]

    def predict(self, data):
        """The predictions of one batch; None where the step cannot be captured."""
        x, _, _ = self._unpack(data)
        return self._or_none(x, False, lambda: _run(self._predict_graph(), (x,)))


def _is_on_cpu(variables) -> bool:
    """Whether there are any and they are on a CPU, whose convolutions gain from ordered weights."""
    return bool(variables) and all(v.value.device.type == "cpu" for v in variables)


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
        return "the whole"
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
    # Keras takes a list of one output for the output itself.
    outputs = {str(i): calls[layer] for i, layer in enumerate(layers)}
    feeds = keras.Model(model.inputs, outputs)(x, training=False)
    for i, layer in enumerate(layers):
        feed = feeds[str(i)]
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
