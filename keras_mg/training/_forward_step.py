"""The forward passes of training, test and prediction steps as captured torch graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import keras
from keras import tree

from keras_mg._private import keras as private_keras
from keras_mg.training._by_shape import MAX_SHAPES, ByShape, CannotCapture, Uncaptured
from keras_mg.training._python_state import LAYER, PythonState


class Step:
    """A part of a step as a graph, which is captured anew where Python attributes have changed.

    Args:
        model: a Keras model on the torch backend.
        backend: the name of a `torch.compile` backend.
        training: whether it is a training step.
        extent: how much of the step is in the graph, see `ForwardStep`.
    """

    def __init__(self, model: keras.Model, backend: str, training: bool, extent: int):
        self.model = model
        self.backend = backend
        self.training = training
        self.extent = extent
        self.graph: ByShape | Uncaptured = self._captured(extent)
        self.captures = 1
        self.moved = False  # whether a layer has changed in a step
        self.python_state = PythonState(model)

    def _options(self) -> dict:
        """Those of `compile_graph`."""
        return {"training": self.training}

    def _part(self, extent: int) -> Callable:
        return self._network

    def _captured(self, extent: int) -> ByShape:
        part = self._part(extent)

        def captured(*arguments):
            # A function of its own per step: torch keys its graphs by them.
            return part(*arguments)

        return ByShape(captured, self.backend, **self._options())

    def _network(self, x):
        if private_keras.takes_training(self.model):
            return self.model(x, training=self.training)
        return self.model(x)

    def _watched(self, run: Callable):
        """What `run` returns, which runs the graph.

        Attributes of one's own layers, losses and metrics are constants of a graph, and so is what
        its code makes of them.
        """
        kind, part = self.python_state.changed(self.extent)
        if kind is not None and isinstance(self.graph, ByShape):
            self.captures += 1
            if self.captures > MAX_SHAPES:
                self._give_up(part, "between steps again and again")
            else:
                self.graph = self._captured(self.extent)
        result = run()
        kind, part = self.python_state.changed(self.extent)
        if kind is None or not isinstance(self.graph, ByShape):
            return result
        if kind == LAYER and self.moved:
            self._give_up(part, "in each step")
            return result
        if kind == LAYER:
            self.moved = True  # perhaps only once, at its first batch
        else:
            self.extent = kind + 1  # what counts in Python stays out of the graph
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


class PredictStep(Step):
    """The network alone; in a model without trainable weights, weights are constants of it.

    Where such a model is given other weights, the step is captured once more, without constants
    this time.

    Args:
        model: a Keras model on the torch backend.
        backend: the name of a `torch.compile` backend.
    """

    def __init__(self, model: keras.Model, backend: str):
        # The weights that are constants of the graph, and what tells that they have changed.
        self.constants = [] if model.trainable_variables else list(model.weights)
        self.versions: list | None = None
        super().__init__(model, backend, training=False, extent=LAYER)

    def _options(self) -> dict:
        # Ordered weights are what a CPU's convolutions gain from.
        on_cpu = all(v.value.device.type == "cpu" for v in self.constants)
        return {"constant_weights": bool(self.constants) and on_cpu}

    def run(self, x):
        """The predictions for a batch.

        Raises:
            CannotCapture: where the network cannot be captured.
        """
        from keras_mg.training import _torch_graph as torch_graph

        versions = torch_graph.versions(self.constants)
        if self.versions is not None and versions != self.versions:
            self.constants = versions = []
            if isinstance(self.graph, ByShape):
                self.graph = self._captured(self.extent)
        self.versions = versions
        return self._watched(lambda: self.graph.run(x))


class ForwardStep(Step):
    """Forward pass, loss and metrics of a training or test step, as much of it captured as can be.

    Some losses and metrics of Keras (precision, AUC, hinge losses) need values on the host, so a
    step has three extents: all three parts in the graph, all but the metrics, the network alone.

    Args:
        model: a Keras model on the torch backend.
        backend: the name of a `torch.compile` backend.
        training: whether it is a training step.
    """

    def __init__(self, model: keras.Model, backend: str, training: bool):
        super().__init__(model, backend, training, extent=0)

    def _part(self, extent: int) -> Callable:
        return (self._all, self._network_and_loss, self._network)[extent]

    def _loss(self, x, y, y_pred, sample_weight):
        loss = private_keras.compute_loss(self.model, x, y, y_pred, sample_weight, self.training)
        samples = next(t for t in tree.flatten(x) if t is not None).shape[0]
        private_keras.track_loss(self.model, loss.detach(), samples)
        # Those of one step would be inputs of the next one's graph.
        private_keras.clear_losses(self.model)
        return self.model.optimizer.scale_loss(loss) if self.training else loss

    def _logs(self, x, y, y_pred, sample_weight):
        y_pred = tree.map_structure(lambda t: t.detach(), y_pred)
        return self.model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

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
        return self._watched(lambda: self._largest_extent(x, y, sample_weight))

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
