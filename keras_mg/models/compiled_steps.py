"""Training, test and prediction steps of a Keras model as captured torch graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import keras
from keras import tree

from keras_mg.models.blame import blame
from keras_mg.models.by_shape import MAX_SHAPES, ByShape, CannotCapture, Uncaptured
from keras_mg.models.python_state import LAYER, PythonState


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
        self.extent = 0
        self.graph: ByShape | Uncaptured = self._captured(0)
        self.captures = 1
        self.python_state = PythonState(model)

    def _captured(self, extent: int) -> ByShape:
        part = self._part(extent)

        def captured(*arguments):
            # A function of its own per step: torch keys its graphs by them.
            return part(*arguments)

        return ByShape(captured, self.backend, training=self.training)

    def _part(self, extent: int) -> Callable:
        return (self._all, self._network_and_loss, self._network)[extent]

    def _loss(self, x, y, y_pred, sample_weight):
        # As Keras's own steps do it: what a subclass overrides must be called the same way.
        loss = self.model._compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=self.training
        )
        samples = next(t for t in tree.flatten(x) if t is not None).shape[0]
        self.model._loss_tracker.update_state(loss.detach(), sample_weight=samples)
        _clear_losses(self.model)
        return self.model.optimizer.scale_loss(loss) if self.training else loss

    def _logs(self, x, y, y_pred, sample_weight):
        y_pred = tree.map_structure(lambda t: t.detach(), y_pred)
        return self.model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _network(self, x):
        if self.model._call_has_training_arg:
            return self.model(x, training=self.training)
        return self.model(x)

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
        kind, part = self.python_state.changed(self.extent)
        if kind is not None and isinstance(self.graph, ByShape):
            # Attributes of one's own layers, losses and metrics are constants of a graph.
            self.captures += 1
            if self.captures > MAX_SHAPES:
                self._give_up(part, "between steps again and again")
            else:
                self.graph = self._captured(self.extent)
        result = self._largest_extent(x, y, sample_weight)
        kind, part = self.python_state.changed(self.extent)
        if kind == LAYER and isinstance(self.graph, ByShape):
            self._give_up(part, "in each step")
        elif kind is not None and kind != LAYER:
            # What counts in Python stays out of the graph.
            self.extent = kind + 1
            self.graph = self._captured(self.extent)
        return result

    def _give_up(self, part, when: str) -> None:
        self.graph = Uncaptured(self._part(self.extent))
        warnings.warn(
            f"jit_compile=True: {part!r} changes its Python attributes {when}, which a graph holds "
            f"as constants, so forward passes of model '{self.model.name}' run eagerly. Numbers "
            "that change belong in variables.",
            stacklevel=2,
        )

    def _largest_extent(self, x, y, sample_weight):
        failure: CannotCapture | None = None
        for extent in range(self.extent, 3):
            graph = self.graph if extent == self.extent else self._captured(extent)
            try:
                result = self._run(graph, extent, x, y, sample_weight)
            except CannotCapture as error:
                failure = failure or error
            else:
                # A lesser extent is taken for good once it has worked where the larger one failed.
                self.extent, self.graph = extent, graph
                return result
        assert failure is not None
        raise failure

    def _run(self, graph: ByShape | Uncaptured, extent: int, x, y, sample_weight):
        if extent == 0:
            return graph.run(x, y, sample_weight)
        if extent == 1:
            y_pred, loss = graph.run(x, y, sample_weight)
        else:
            y_pred = graph.run(x)
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
        self.weights = [w.value for w in model.weights]
        self.layers = list(model._flatten_layers())
        self.trainability = self._trainability()
        self.backend = backend
        self.device = self.weights[0].device if self.weights else None
        self.train_step = ForwardStep(model, backend, training=True)
        self.test_step = ForwardStep(model, backend, training=False)
        self.predict_graph: ByShape | None = None
        # The weights that are constants of that graph, and what tells that they have changed.
        self.constants = [] if self.variables else list(model.weights)
        self.versions: list = []
        self.update_graph: Callable | None = None
        self.update_settings: list = []
        self.updates = 0  # graphs of the update so far
        _make_lists_capturable(model)
        _clear_losses(model)

    def are_stale(self) -> bool:
        """Whether layers were frozen or released since, which Keras's own steps notice, too."""
        return self._trainability() != self.trainability

    def _trainability(self) -> list[bool]:
        # A layer has its own without weights, too: a batch norm moves its statistics by it.
        return [x.trainable for x in self.layers] + [w.requires_grad for w in self.weights]

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
            return model(x, training=False) if model._call_has_training_arg else model(x)

        self.predict_graph = ByShape(
            predict, self.backend, constant_weights=_is_on_cpu(self.constants)
        )
        return self.predict_graph

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
        from keras_mg.ops import torch_graph

        self.failed = True
        warnings.warn(
            f"jit_compile=True: {blame(self.model, x, training)} of model '{self.model.name}' "
            "cannot be captured as one graph, so the model runs eagerly. "
            f"Reason: {torch_graph.reason(error)}",
            stacklevel=2,
        )

    def _unpack(self, data):
        from keras_mg.ops import torch_graph

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
        from keras_mg.ops import torch_graph

        optimizer, variables = self.model.optimizer, self.variables
        missing = [gradient is None for gradient in gradients]
        settings = _settings(optimizer) + missing
        if self.update_graph is not None and settings == self.update_settings:
            self.update_graph(gradients)
            return
        kept = list(range(len(gradients)))
        if any(missing) and optimizer.built and _applies_as_keras(optimizer):
            # Keras leaves these variables out with a warning, which cannot be captured.
            optimizer._filter_empty_gradients(gradients, variables)
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
        return self._or_none(x, False, lambda: self._predict_graph().run(x))


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
    own.append(("learning rate", id(getattr(optimizer, "_learning_rate", None))))
    return own + [setting for part in inner for setting in _settings(part)]


def _applies_as_keras(optimizer) -> bool:
    """Whether `apply` is that of Keras's plain optimizers, not one that wraps another's."""
    return type(optimizer).apply is keras.optimizers.SGD.apply


def _is_on_cpu(variables) -> bool:
    """Whether there are any and they are on a CPU, whose convolutions gain from ordered weights."""
    return bool(variables) and all(v.value.device.type == "cpu" for v in variables)


def _clear_losses(model: keras.Model) -> None:
    # Activity losses of one step would be an input of the next one's graph.
    model._clear_losses()


# Attributes that Keras stores in lists of its own kind, which torch's tracer does not know.
_LISTS = {
    keras.layers.BatchNormalization: ("_reduction_axes",),
    keras.layers.Rescaling: ("scale", "offset"),
}


def _make_lists_capturable(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        for kind, names in _LISTS.items():
            for name in names if isinstance(layer, kind) else ():
                value = getattr(layer, name, None)
                if isinstance(value, list):
                    object.__setattr__(layer, name, list(value))
