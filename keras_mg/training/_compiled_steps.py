"""Training, test and prediction steps of a Keras model as captured torch graphs."""

from __future__ import annotations

import warnings

import keras

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras
from keras_mg.distribution.shares import synchronizes
from keras_mg.training._blame import blame
from keras_mg.training._by_shape import CannotCapture
from keras_mg.training._forward_step import ForwardStep, PredictStep, Step
from keras_mg.training._update_step import UpdateStep


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
        self.update = UpdateStep(model, self.variables, backend)
        _make_lists_capturable(model)
        _make_graph_runs(self.layers)
        private_keras.clear_losses(model)

    def are_stale(self) -> bool:
        """Whether layers were frozen or released since, which Keras's own steps notice, too."""
        return self._trainability() != self.trainability

    def _trainability(self) -> list[bool]:
        # A layer has its own without weights, too: a batch norm moves its statistics by it.
        # What batch norms do in several processes, a graph holds as well.
        trainable = [x.trainable for x in self.layers] + [w.requires_grad for w in self.weights]
        return [*trainable, synchronizes()]

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
            f"jit_compile={self.model._jit_compile_request!r}: {blame(self.model, x, training)} of "
            f"model '{self.model.name}' cannot be captured as one graph, so the model runs eagerly."
            f" Reason: {torch_graph.reason(error)}",
            stacklevel=2,
        )

    def has_graph(self, kind: str, data) -> bool:
        """Whether there is a graph for a batch.

        Args:
            kind: "train", "test" or "predict".
            data: the batch.
        """
        steps = {"train": self.train_step, "test": self.test_step, "predict": self.predict_step}
        batch = self._unpack(data)
        return steps[kind].has_graph(batch[:1] if kind == "predict" else batch)

    def _unpack(self, data):
        from keras_mg.training import _torch_graph as torch_graph

        data = torch_graph.to_tensors(data, self.device)
        return keras.utils.unpack_x_y_sample_weight(data)

    def _run(self, step: Step, batch: tuple):
        """What a step gives for a batch; None where the eager step has to take over."""
        from keras_mg.training import _torch_graph as torch_graph

        private_keras.prepare_thread()
        key = step.key(batch)
        graph = step.settled.get(key)
        if graph is None:
            return self._run_unsettled(step, key, batch)
        try:
            result = graph(*batch)
        except torch_graph.GraphIsGone:
            step.forget(key, ran=step.last_settled == key)
            step.last_settled = None
            return self._run_unsettled(step, key, batch)
        step.last = step.last_settled = key
        return result

    def _run_unsettled(self, step: Step, key: tuple, batch: tuple):
        try:
            return step.run(key, batch)
        except CannotCapture as error:
            self.failure = (error.__cause__, batch[0], step.training)
            return None

    def train(self, data):
        """One training step; None where it cannot be captured."""
        import torch

        x, y, sample_weight = self._unpack(data)
        for parameter in self.parameters:
            parameter.grad = None
        result = self._run(self.train_step, (x, y, sample_weight))
        if result is None:
            return None
        loss, logs = result
        loss.backward()
        gradients = [parameter.grad for parameter in self.parameters]
        if self.model._parallel_run is not None:
            gradients = self.model._parallel_run.reduce(gradients, self.variables)
        with torch.no_grad():
            self.update.run(gradients)
        return logs

    def test(self, data):
        """One test step; None where it cannot be captured."""
        result = self._run(self.test_step, self._unpack(data))
        return None if result is None else result[1]

    def predict(self, data):
        """The predictions of one batch; None where the step cannot be captured."""
        import torch

        if torch.is_grad_enabled():
            return None  # the graphs have no backward pass
        return self._run(self.predict_step, self._unpack(data)[:1])


def _make_graph_runs(layers) -> None:
    """Make what runs the graphs of functional models before it is traced.

    Otherwise torch would make it once more in each step, as what the traced code left behind.
    """
    if missing(Feature.OWN_GRAPH_RUN):
        return
    for layer in layers:
        if isinstance(layer, private_keras.Functional) and hasattr(layer, "graph_run"):
            layer.graph_run()


def _make_lists_capturable(model: keras.Model) -> None:
    for layer in private_keras.flatten_layers(model):
        for kind, names in private_keras.TRACKED_LISTS.items():
            for name in names if isinstance(layer, kind) else ():
                value = getattr(layer, name, None)
                if isinstance(value, list):
                    object.__setattr__(layer, name, list(value))
