"""A recipe: everything that a training run depends on, in one record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import keras

from keras_mg.layers.arguments import positive_int
from keras_mg.recipes._changes import changed
from keras_mg.recipes.attribute_data import Attributes
from keras_mg.recipes.canvas_data import ClutteredMNIST
from keras_mg.recipes.data import DigitCanvases, LabelledImages
from keras_mg.recipes.photo_data import Photographs
from keras_mg.recipes.schedules import GeometricDecay, StepDecay, WarmUpCosine

CROSS_ENTROPY = partial(keras.losses.SparseCategoricalCrossentropy, from_logits=True)
ACCURACY = partial(keras.metrics.SparseCategoricalAccuracy, name="accuracy")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training run as a record: network, data, optimizer, schedule, loss, metrics.

    Network, optimizer, loss and metrics are constructors with their arguments, as
    `functools.partial` holds them; data and schedule are records of their own. So a variant is
    `dataclasses.replace(recipe, batch_size=64)` or, from names and values,
    `recipe.changed({"network.depth": 38})`.

    Raises:
        ValueError: for a number out of its range, a schedule that drops after the last epoch, or
            layers that mix labels beside a loss of unmixed ones.

    Example:

    >>> from keras_mg.recipes import get_recipe
    >>> quick = get_recipe("resnet20-digits").shortened(5)
    >>> quick.epochs, quick.schedule.drops
    (5, (2, 3))
    """

    name: str
    source: str  # the publication, and the code that it was released with
    network: Callable[[], keras.Model]
    data: LabelledImages | DigitCanvases | ClutteredMNIST | Photographs | Attributes
    epochs: int
    batch_size: int  # per step
    schedule: StepDecay | GeometricDecay | WarmUpCosine
    optimizer: Callable[[Any], keras.optimizers.Optimizer]  # called with the learning rate
    # Called with what the data say of themselves: `Splits.loss_arguments`.
    loss: Callable[..., keras.losses.Loss] = CROSS_ENTROPY
    metrics: tuple[Callable[[], keras.metrics.Metric], ...] = (ACCURACY,)
    restarts_velocity: bool = False  # at the beginning of every epoch
    callbacks: tuple[Callable[[], keras.callbacks.Callback], ...] = ()  # of training
    # Published figures, by metric.
    claims: Mapping[str, float] = dataclasses.field(default_factory=dict)
    differs: tuple[str, ...] = ()  # in what the run differs from the published one
    # By file: called with the path, the model, the test batches and their figures.
    pictures: Mapping[str, Callable] = dataclasses.field(default_factory=dict)
    remarks: Callable[[dict], str] | None = None  # on the result, for people

    def __post_init__(self):
        positive_int("epochs", self.epochs)
        positive_int("batch_size", self.batch_size)
        loss = getattr(self.loss, "func", self.loss)
        if getattr(self.data, "layers", ()) and loss is keras.losses.SparseCategoricalCrossentropy:
            raise ValueError(
                f"Recipe {self.name!r}: layers make vectors of labels, which need another loss and "
                "another metric: make the recipe with `with_layers` (`keras-mg train --layers`). "
                f"Received: data.layers={self.data.layers} beside {loss.__name__}"  # type: ignore[union-attr]
            )
        last = max(getattr(self.schedule, "drops", None) or (0,))
        if last >= self.epochs:
            raise ValueError(
                f"Recipe {self.name!r}: the rate must drop before the training ends. "
                f"Received: a drop after {last} of epochs={self.epochs}"
            )

    def shortened(self, epochs: int) -> Recipe:
        """This recipe in another number of epochs; the schedule keeps its fractions.

        `differs` says so, and with it the record of the run.

        Args:
            epochs: int, at least 1.
        """
        schedule = self.schedule.shortened(positive_int("epochs", epochs), of=self.epochs)
        said: tuple[str, ...] = ()
        if epochs < self.epochs:
            said = (f"{epochs} of {self.epochs} epochs",)
        elif epochs > self.epochs:
            said = (f"{epochs} epochs instead of {self.epochs}",)
        return dataclasses.replace(
            self, epochs=epochs, schedule=schedule, differs=(*self.differs, *said)
        )

    def changed(self, settings: Mapping[str, Any]) -> Recipe:
        """This recipe with other values, all at once: their order does not matter.

        Args:
            settings: values by dotted name: a field (`batch_size`), one of a record
                (`schedule.learning_rate`), or an argument of a constructor (`network.depth`).

        Raises:
            ValueError: for a name that is not there, or a value of another type or out of range.
        """
        return changed(self, settings)

    def record(self) -> dict:
        """The recipe in JSON's types, for the record of a run."""
        return _record(self)


def _record(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _record(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return fields if isinstance(value, Recipe) else {"kind": type(value).__name__, **fields}
    if isinstance(value, partial):
        arguments = {"args": _record(value.args)} if value.args else {}
        return {"call": value.func.__name__, **arguments, **_record(value.keywords)}
    if isinstance(value, Mapping):
        return {key: _record(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_record(each) for each in value]
    return value.__name__ if callable(value) else value
