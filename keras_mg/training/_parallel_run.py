"""What several processes do together while a model trains, is tested or predicts (torch)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import torch

from keras_mg._private import keras as private_keras
from keras_mg.distribution import collectives
from keras_mg.distribution.data_parallel import distribution
from keras_mg.distribution.processes import num_processes
from keras_mg.distribution.shares import Share, state
from keras_mg.training._parallel_data import Parts, part_ways
from keras_mg.training._parallel_gradients import Reducer
from keras_mg.training._parallel_norms import (
    has_batch_norms,
    instance_attribute,
    statistics_of,
    synchronized,
)


class Run:
    """What the processes do together while a model trains, is tested or predicts.

    Args:
        model: a `keras_mg.Model`.
        trains: whether it is `fit`.
    """

    def __init__(self, model: keras.Model, trains: bool):
        current = distribution()
        assert current is not None
        self.model = model
        self.trains = trains
        self.synchronizes = current.batch_norm == "synchronized" and has_batch_norms(model)
        self.averages = current.batch_norm == "local"
        self.wishes: list[Callable[[], bool]] = []  # to stop and to be saved, of checkpoints
        self.stop_and_save = False  # what all have agreed on
        self.in_epoch = False
        self._stops = False  # likewise: no further batch
        self._held = False  # whether a callback here wants that
        self._reducers: dict[tuple, Reducer] = {}
        # All weights, whether each trains, and the variables of those that do.
        self._weights: list[torch.Tensor] = []
        self._trains: list[bool] = []
        self._trained: list[keras.Variable] = []
        self._base: list[torch.Tensor] | None = None  # what metrics have of all processes
        self._base_is_whole = False
        self._not_counted: list[torch.Tensor] | None = None

    # Data

    def parts(self, adapter, trains: bool, steps: int | None, name: str) -> Parts:
        """This process's part of the batches of an adapter."""
        return Parts(adapter, trains, steps, self._batch_begins, name)

    def _count_from_here(self) -> None:
        self._base = [private_keras.tensor_of(v).clone() for v in self.model.metrics_variables]

    def _batch_begins(self, share: Share) -> None:
        self.batch_is_over()
        state.share = share
        # Metrics are built at the first batch of all, which is only looked at. Later there are no
        # more, and to ask for them walks all layers.
        if not self._base_is_whole:
            known, self._base_is_whole = self._base, True
            if known is None or len(known) != len(self.model.metrics_variables):
                self._count_from_here()
                self._base_is_whole = False
        if not share.rows:
            self._not_counted = [
                private_keras.tensor_of(v).clone() for v in self.model.metrics_variables
            ]

    def batch_is_over(self) -> None:
        """Take out of the metrics what a row that does not count has added."""
        if self._not_counted is not None:
            for variable, value in zip(
                self.model.metrics_variables, self._not_counted, strict=True
            ):
                variable.assign(value)
            self._not_counted = None

    def steps_are_eager(self) -> bool:
        """Whether the step that goes on must not be captured.

        Processes with parts of different shapes have different graphs, which may sum over the
        processes in different orders.
        """
        share = state.share
        return share is not None and (not share.rows or (state.synchronizes and not share.is_even))

    # Training

    def training_begins(self) -> None:
        """Let all processes begin with what the first one has, whatever callbacks restored."""
        model = self.model
        begun = collectives.from_first(private_keras.initial_epoch(model))
        private_keras.set_initial_epoch(model, begun)
        optimizers = [o.variables for o in _optimizers(model)]
        variables = [*model.variables, *(v for each in optimizers for v in each)]
        collectives.give([private_keras.tensor_of(v) for v in variables])

    def epoch_begins(self) -> None:
        """Before the first batch of an epoch."""
        part_ways()
        self.in_epoch = True
        state.synchronizes = self.synchronizes

    def batches_end(self) -> None:
        """After the last batch of an epoch, before it is measured on other data."""
        self.gather_metrics()
        self._base = state.share = None
        self._base_is_whole = False
        if self.in_epoch:
            self.in_epoch = state.synchronizes = False
            self.average_statistics()

    def reduce(self, gradients: Sequence, variables: Sequence) -> list:
        """The gradients of the whole batch."""
        return self._reducer(variables)(list(gradients))

    def _reducer(self, variables: Sequence) -> Reducer:
        key = tuple(id(v) for v in variables)
        reducer = self._reducers.get(key)
        if reducer is None or not reducer.fits(variables):
            if reducer is not None:
                reducer.close()
            self._reducers[key] = reducer = Reducer(variables)
        return reducer

    def eagerly(self, step: Callable, *args):
        """Keras's own training step, which has one backward pass."""
        with self._reducer(self._trained_weights()).during_backward():
            return step(*args)

    def _trained_weights(self) -> list[keras.Variable]:
        """The model's, whose own property walks all layers to find them."""
        trains = [weight.requires_grad for weight in self._weights]
        if not self._weights or trains != self._trains:
            self._trained = self.model.trainable_weights
            self._weights = [private_keras.tensor_of(v) for v in self.model.weights]
            self._trains = [weight.requires_grad for weight in self._weights]
        return self._trained

    def average_statistics(self) -> None:
        """Let the batch norms of all processes have the mean of their statistics."""
        if not self.averages:
            return
        tensors = [private_keras.tensor_of(v) for v in statistics_of(self.model)]
        for tensor, sum_ in zip(tensors, collectives.total(tensors), strict=True):
            with torch.no_grad():
                tensor.copy_(sum_ / num_processes())

    # Metrics

    def gather_metrics(self) -> None:
        """Let the metrics of all processes have counted what each of them has."""
        self.batch_is_over()
        variables = self.model.metrics_variables
        own = [private_keras.tensor_of(v) for v in variables]
        if self._base is None or len(self._base) != len(own):
            return  # no batch has come
        added = [a.double() - b.double() for a, b in zip(own, self._base, strict=True)]
        first = [collectives.from_first(a) for a in self._of_first_alone(own, variables)]
        for variable, base, sum_ in zip(
            variables, self._base, collectives.total(added), strict=True
        ):
            if variable.aggregation == "only_first_replica":
                variable.assign(first.pop(0))
                continue
            if variable.aggregation == "mean":
                sum_ = sum_ / num_processes()
            value = base.to("cpu", torch.float64) + sum_
            variable.assign(value.to(base.device, base.dtype))
        self._count_from_here()

    @staticmethod
    def _of_first_alone(own: list, variables: list) -> list[torch.Tensor]:
        pairs = zip(own, variables, strict=True)
        return [a.clone() for a, v in pairs if v.aggregation == "only_first_replica"]

    def mean(self, logs: dict) -> dict:
        """The means over the processes of what a step of the user's own returned."""
        numbers = {k: torch.as_tensor(v) for k, v in sorted(logs.items()) if _is_number(v)}
        sums = collectives.total(list(numbers.values()))
        means = {k: float(s) / num_processes() for k, s in zip(numbers, sums, strict=True)}
        return {k: means.get(k, v) for k, v in logs.items()}

    # Stopping and saving

    def hold_stop(self) -> None:
        """Let training go on until all processes know that it is to stop."""
        self._held = self._held or bool(self.model.stop_training)
        self.model.stop_training = self._stops

    def agree_on_stop(self, number: float = 0.0) -> float:
        """Stop all processes where one wants to; the largest of their numbers."""
        saves = any(wish() for wish in self.wishes)
        self._held = self._held or bool(self.model.stop_training)
        stop, save, largest = collectives.largest(float(self._held), float(saves), number)
        self.model.stop_training = self._stops = bool(stop)
        self.stop_and_save = bool(save)
        return largest

    def before_saving(self) -> None:
        """What the first process saves is then that of all."""
        if self.in_epoch:
            self.gather_metrics()
            self.average_statistics()

    def after_saving(self, failure: Exception | None = None) -> None:
        """What follows a checkpoint depends on it alone; where it failed, all raise.

        Args:
            failure: what went wrong in this process.
        """

        def written() -> None:
            if failure is not None:
                raise failure

        collectives.in_turn(written)
        part_ways()

    def compare_weights(self, whole: bool = False) -> None:
        """Raise where the processes have different weights.

        Args:
            whole: bool, whether to compare what does not train, too. Defaults to False.

        Raises:
            RuntimeError: naming the first variable that differs.
        """
        variables = self.model.weights if whole else self.model.trainable_variables
        if not variables:
            return
        sums = torch.stack([_checksum(private_keras.tensor_of(v)) for v in variables])
        different = [set(each) for each in zip(*collectives.of_all(sums.tolist()), strict=True)]
        names = [v.path for v, sums in zip(variables, different, strict=True) if len(sums) > 1]
        if names and whole:
            raise RuntimeError(
                f"The processes have different models: {len(names)} weights differ, first "
                f"{names[0]!r}. Make it from one seed, and load or train it in all of them."
            )
        if names:
            raise RuntimeError(
                f"The processes have trained apart: {len(names)} weights differ, first "
                f"{names[0]!r}. A train_step of one's own must update weights by a Keras optimizer "
                "that is an attribute of the model, and draw nothing that differs between them."
            )

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Inside, the model's steps are those of this run."""
        model: Any = self.model
        before, share = model._parallel_run, state.share
        object.__setattr__(model, "_parallel_run", self)
        try:
            with contextlib.ExitStack() as stack:
                if self.trains:
                    for optimizer in _optimizers(model):
                        stack.enter_context(self._reduced(optimizer))
                    if self.synchronizes:
                        for layer in private_keras.flatten_layers(model):
                            stack.enter_context(synchronized(layer))
                yield
        finally:
            object.__setattr__(model, "_parallel_run", before)
            state.share = share
            if self.trains:
                state.synchronizes = False
            for reducer in self._reducers.values():
                reducer.close()

    @contextlib.contextmanager
    def _reduced(self, optimizer) -> Iterator[None]:
        alone = optimizer.apply

        @functools.wraps(alone)
        def apply(grads, trainable_variables=None):
            variables = trainable_variables
            if variables is None:
                variables = self.model.trainable_variables
            return alone(self.reduce(list(grads), list(variables)), trainable_variables)

        apply.alone = alone  # type: ignore[attr-defined]
        with instance_attribute(optimizer, "apply", apply):
            yield


def _optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """The optimizer that a model was compiled with, and those that it holds beside it."""
    held = [model.optimizer, *vars(model).values()]
    unique = {id(o): o for o in held if isinstance(o, keras.optimizers.Optimizer)}
    return list(unique.values())


def _checksum(tensor: torch.Tensor) -> torch.Tensor:
    """A number that differs where a bit does; nearly always."""
    held = tensor.detach()
    if held.dtype == torch.float32:
        return held.view(torch.int32).sum(dtype=torch.int64).cpu()
    return held.double().sum().view(torch.int64).cpu()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or getattr(value, "shape", None) == ()
