"""The published training recipes of the IGC, MgNet and Torch residual networks.

A `Recipe` holds every setting that a run depends on besides the network, the data and the seed.
"""

from __future__ import annotations

import dataclasses
import itertools

import keras

from keras_mg.layers.arguments import positive_int
from keras_mg.training.coupled_sgd import CoupledSGD


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that a training run is made of, network, data and seed apart.

    The learning rate is constant between drops, the loss is the cross-entropy, and the optimizer is
    `CoupledSGD`: weight decay in the gradient, of all trainable variables (kernels, biases, gammas
    and betas).

    Raises:
        ValueError: for a value out of its range; for drops that do not rise.

    Example:

    >>> quick = dataclasses.replace(MGNET, epochs=3, drops=(2,), batch_size=64)
    >>> [round(float(quick.schedule(10)(step)), 3) for step in (0, 19, 20, 29)]
    [0.1, 0.1, 0.01, 0.01]
    """

    name: str
    reference: str  # the publication
    epochs: int  # passes over the training images
    batch_size: int  # images per step
    learning_rate: float  # per step, of the mean loss over a batch
    drops: tuple[int, ...]  # epochs, counted from 0: from the start of each the rate is ...
    drop_factor: float  # ... multiplied by this
    momentum: float  # fraction of the velocity that a step keeps
    nesterov: bool  # whether a step looks ahead along the velocity
    weight_decay: float  # added to the gradient per unit of weight
    shift: int  # pixels, the largest displacement of a random crop; 0 for none
    flip: bool  # whether images are mirrored with probability 1/2
    warmup_steps: int = 0  # steps at the start that are taken ...
    warmup_learning_rate: float = 0.0  # ... at this rate instead

    def __post_init__(self):
        positive_int("epochs", self.epochs)
        positive_int("batch_size", self.batch_size)
        ranges = {
            "learning_rate": self.learning_rate > 0,
            "drop_factor": 0 < self.drop_factor < 1,
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": self.weight_decay >= 0,
            "shift": self.shift >= 0,
            "warmup_steps": self.warmup_steps >= 0,
            "warmup_learning_rate": self.warmup_learning_rate > 0 or not self.warmup_steps,
            "drops": all(a < b for a, b in itertools.pairwise((0, *self.drops, self.epochs))),
        }
        for field, fits in ranges.items():
            if not fits:
                rule = "rise, from 1 to epochs - 1" if field == "drops" else "be in its range"
                raise ValueError(
                    f"Recipe {self.name!r}: {field} must {rule}. "
                    f"Received: {field}={getattr(self, field)!r}, epochs={self.epochs}"
                )

    def shortened(self, epochs: int) -> Recipe:
        """This recipe in another number of epochs; drops and warm-up keep their fractions.

        Drops move to the nearest whole epoch. Those that thereby meet the start, the end or an
        earlier drop are left out: with fewer epochs than drops not all rates can be trained at.

        Args:
            epochs: int, at least 1.

        Example:

        >>> IGC_CIFAR.shortened(40).drops
        (20, 30, 35)
        """
        factor = positive_int("epochs", epochs) / self.epochs
        moved = {round(drop * factor) for drop in self.drops}
        return dataclasses.replace(
            self,
            epochs=epochs,
            drops=tuple(sorted(drop for drop in moved if 0 < drop < epochs)),
            warmup_steps=round(self.warmup_steps * factor),
        )

    def schedule(self, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
        """The learning rate of each step, counted from 0.

        Args:
            steps_per_epoch: int, batches per epoch.
        """
        starts = {0: self.learning_rate}
        for i, drop in enumerate(self.drops, 1):
            starts[drop * positive_int("steps_per_epoch", steps_per_epoch)] = (
                self.learning_rate * self.drop_factor**i
            )
        if self.warmup_steps:
            after = max(start for start in starts if start <= self.warmup_steps)
            later = {start: rate for start, rate in starts.items() if start > self.warmup_steps}
            starts = {0: self.warmup_learning_rate, self.warmup_steps: starts[after], **later}
        # PiecewiseConstantDecay keeps a value up to and including its boundary, and cannot do
        # without one: the last step before a start is the boundary of what is before.
        boundaries, rates = [start - 1 for start in list(starts)[1:]], list(starts.values())
        if not boundaries:
            boundaries, rates = [0], rates * 2
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)

    def optimizer(self, steps_per_epoch: int) -> CoupledSGD:
        """The optimizer with its schedule.

        Args:
            steps_per_epoch: int, batches per epoch.
        """
        return CoupledSGD(
            self.schedule(steps_per_epoch),
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )


IGC_CIFAR = Recipe(
    name="igc-cifar",
    reference="Zhang, Qi, Xiao, Wang, ICCV 2017, https://arxiv.org/abs/1707.02725",
    epochs=400,
    batch_size=64,
    learning_rate=0.1,
    drops=(200, 300, 350),  # after 1/2, 3/4 and 7/8 of the epochs
    drop_factor=0.1,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-4,
    shift=4,
    flip=True,
)
IGC_SVHN = dataclasses.replace(
    IGC_CIFAR, name="igc-svhn", epochs=40, drops=(20, 30, 35), shift=0, flip=False
)
MGNET = Recipe(
    name="mgnet",
    reference="He, Chen, Zhang, Xu, 2019, https://arxiv.org/abs/1911.10428",
    epochs=300,
    batch_size=128,
    learning_rate=0.1,
    drops=(50, 100, 150, 200, 250),
    drop_factor=0.1,
    momentum=0.9,
    nesterov=False,
    weight_decay=5e-4,
    shift=4,
    flip=True,
)
RESNET = Recipe(
    name="resnet",
    reference="He, Zhang, Ren, Sun, 2015, https://arxiv.org/abs/1512.03385, as the Torch7 study "
    "https://github.com/gcr/torch-residual-networks trains it",
    epochs=200,
    batch_size=128,
    learning_rate=0.1,
    drops=(80, 120),
    drop_factor=0.1,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-4,
    shift=4,
    flip=True,
)
# He et al. find 0.1 slightly too large for 110 layers to begin with.
RESNET_110 = dataclasses.replace(
    RESNET, name="resnet-110", warmup_steps=400, warmup_learning_rate=0.001
)

RECIPES = {recipe.name: recipe for recipe in (IGC_CIFAR, IGC_SVHN, MGNET, RESNET, RESNET_110)}
