"""The forward passes of training, test and prediction steps as captured torch graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import keras
from keras import tree

from keras_mg._private import keras as private_keras
from keras_mg.training._by_shape import MAX_SHAPES, ByShape, CannotCapture, Uncaptured
from keras_mg.training._extent import Extent, Part
from keras_mg.training._python_state import PythonState


class Step:
    """A part of a step as graphs, which are captured anew where Python attributes have changed.

    `settled` has the callable for batches of a kind that has been met, where nothing needs to be
    watched. Whoever runs a step looks there first, and calls `run` where there is none.

    Args:
        model: a Keras model on the torch backend.
        backend: the name of a `torch.compile` backend.
        training: whether it is a training step.
        extent: how much of the step is to be in the graph.
    """

    def __init__(self, model: keras.Model, backend: str, training: bool, extent: Extent):
        self.model = model
        self.backend = backend
        self.training = training
        self.extent = extent
        self.settled: dict[tuple, Callable] = {}
        self.last: tuple | None = None  # the key of the batch before
        self.last_settled: tuple | None = None  # the key of the last that a settled graph ran for
        self.graph: ByShape | Uncaptured = self._captured(extent)
        self.captures = 1
        self.moved = False  # whether a layer has changed in a step
        self.python_state = PythonState(model)

    def key(self, batch: tuple) -> tuple:
        """What tells batches of one graph from those of another."""
        from keras_mg.training import _torch_graph as torch_graph

        return torch_graph.describe(batch)

    def has_graph(self, batch: tuple) -> bool:
        """Whether a batch runs as a graph that is there."""
        return self.key(batch) in self.graph.compiled

    def run(self, key: tuple, batch: tuple):
        """What the step gives for a batch, which may be the first of its kind.

        Raises:
            CannotCapture: where not even the network can be captured.
        """
        if self.python_state.parts:
            result = self._watched(key, batch)
            self.last = key
            return result
        result = self._largest_extent(key, batch)
        self.last = key
        graph = self.graph.compiled.get(key)
        if graph is not None:
            self.settled[key] = self._completed(self.extent, graph)
        return result

    def forget(self, key: tuple, ran: bool) -> None:
        """Let the next `run` capture anew, since torch has lost a graph, which `ran` once more."""
        self.settled.pop(key, None)  # another thread may have met the loss first
        if ran and isinstance(self.graph, ByShape):
            self.graph.lost = 0

    def _options(self) -> dict:
        """Those of `torch_graph.capture`."""
        return {"training": self.training}

    def _part(self, extent: Extent) -> Callable:
        """What is captured."""
        return self._network

    def _completed(self, extent: Extent, graph: Callable) -> Callable:
        """A function of a batch that runs a graph, and what is not in it."""
        return graph

    def _captured(self, extent: Extent) -> ByShape:
        part = self._part(extent)

        def captured(*arguments):
            # A function of its own per step: torch keys its graphs by them.
            return part(*arguments)

        return ByShape(captured, self.backend, **self._options())

    def _network(self, x):
        if private_keras.takes_training(self.model):
            return self.model(x, training=self.training)
        return self.model(x)

    def _largest_extent(self, key: tuple, batch: tuple):
        failure: CannotCapture | None = None
        for extent in self.extent.and_smaller():
            graph = self.graph if extent is self.extent else self._captured(extent)

            def run(*arguments, graph=graph):
                return graph.run(key, arguments, repeated=key == self.last)

            try:
                result = self._completed(extent, run)(*batch)
            except CannotCapture as error:
                failure = failure or error
            else:
                # A lesser extent is taken for good once it has worked where the larger one failed.
                self.extent, self.graph = extent, graph
                return result
        assert failure is not None
        raise failure

    def _watched(self, key: tuple, batch: tuple):
        """As `run`, where code of the user's may change its attributes.

        Attributes of one's own layers, losses and metrics are constants of a graph, and so is what
        its code makes of them.
        """
        part, changed = self.python_state.changed(self.extent)
        if part is not None and isinstance(self.graph, ByShape):
            self.captures += 1
            if self.captures > MAX_SHAPES:
                self._give_up(changed, "between steps again and again")
            else:
                self.graph = self._captured(self.extent)
        result = self._largest_extent(key, batch)
        part, changed = self.python_state.changed(self.extent)
        if part is None or not isinstance(self.graph, ByShape):
            return result
        if part is not Part.NETWORK:
            self.extent = self.extent.without(part)  # what counts in Python stays out of the graph
        elif self.moved:
            self._give_up(changed, "in each step")
            return result
        else:
            self.moved = True  # perhaps only once, at its first batch
        self.graph = self._captured(self.extent)
        return result

    def _give_up(self, changed, when: str) -> None:
        self.graph = Uncaptured(self._part(self.extent))
        warnings.warn(
            f"jit_compile={self.model._jit_compile_request!r}: {changed!r} changes "
            f"its Python attributes {when}, which a graph holds as constants, so forward passes of "
            f"model '{self.model.name}' run eagerly. "
            "Numbers that change belong in variables.",
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
        self.versions: tuple | None = None
        super().__init__(model, backend, training=False, extent=Extent.NETWORK)

    def _options(self) -> dict:
        # Ordered weights are what a CPU's convolutions gain from.
        on_cpu = all(v.value.device.type == "cpu" for v in self.constants)
        return {"constant_weights": bool(self.constants) and on_cpu}

    def key(self, batch: tuple) -> tuple:
        from keras_mg.training import _torch_graph as torch_graph

        return super().key(batch), torch_graph.versions(self.constants)

    def run(self, key: tuple, batch: tuple):
        _, versions = key
        if self.versions is not None and versions != self.versions:
            self.constants, versions = [], ()
            self.settled.clear()
            if isinstance(self.graph, ByShape):
                self.graph = self._captured(self.extent)
            key = self.key(batch)
        self.versions = versions
        return super().run(key, batch)


class ForwardStep(Step):
    """Forward pass, loss and metrics of a training or test step, as much of it captured as can be.

    Args:
        model: a Keras model on the torch backend.
        backend: the name of a `torch.compile` backend.
        training: whether it is a training step.
    """

    def __init__(self, model: keras.Model, backend: str, training: bool):
        super().__init__(model, backend, training, extent=Extent.WHOLE_STEP)

    def _part(self, extent: Extent) -> Callable:
        if extent is Extent.WHOLE_STEP:
            return self._whole_step
        return (
            self._network_and_loss if extent is Extent.NETWORK_AND_LOSS else self._network_and_masks
        )

    def _completed(self, extent: Extent, graph: Callable) -> Callable:
        def with_metrics(x, y, sample_weight):
            y_pred, masks, loss = graph(x, y, sample_weight)
            private_keras.set_masks(y_pred, masks)
            return loss, self._logs(x, y, y_pred, sample_weight)

        def with_loss_and_metrics(x, y, sample_weight):
            y_pred, masks = graph(x)
            private_keras.set_masks(y_pred, masks)
            loss = self._loss(x, y, y_pred, sample_weight)
            return loss, self._logs(x, y, y_pred, sample_weight)

        if extent is Extent.WHOLE_STEP:
            return graph
        return with_metrics if extent is Extent.NETWORK_AND_LOSS else with_loss_and_metrics

    def _loss(self, x, y, y_pred, sample_weight):
        loss = private_keras.compute_loss(self.model, x, y, y_pred, sample_weight, self.training)
        samples = next(t for t in tree.flatten(x) if t is not None).shape[0]
        private_keras.track_loss(self.model, loss.detach(), samples)
        # Those of one step would be inputs of the next one's graph.
        private_keras.clear_losses(self.model)
        return self.model.optimizer.scale_loss(loss) if self.training else loss

    def _logs(self, x, y, y_pred, sample_weight):
        detached = tree.map_structure(lambda t: t.detach(), y_pred)
        private_keras.set_masks(detached, private_keras.masks_of(y_pred))
        return self.model.compute_metrics(x, y, detached, sample_weight=sample_weight)

    def _network_and_masks(self, x):
        y_pred = self._network(x)
        return y_pred, private_keras.masks_of(y_pred)

    def _network_and_loss(self, x, y, sample_weight):
        y_pred = self._network(x)
        loss = self._loss(x, y, y_pred, sample_weight)
        return y_pred, private_keras.masks_of(y_pred), loss

    def _whole_step(self, x, y, sample_weight):
        y_pred = self._network(x)
        loss = self._loss(x, y, y_pred, sample_weight)
        return loss, self._logs(x, y, y_pred, sample_weight)
