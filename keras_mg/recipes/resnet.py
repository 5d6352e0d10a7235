"""The residual networks of a Torch7 study of He, Zhang, Ren and Sun, 2015, as released."""

from __future__ import annotations

import dataclasses
from functools import partial

from keras_mg.applications import resnet
from keras_mg.datasets.augmentation import ShiftAndFlip
from keras_mg.datasets.normalization import MeanImage
from keras_mg.recipes.data import LabelledImages
from keras_mg.recipes.recipe import Recipe
from keras_mg.recipes.schedules import StepDecay
from keras_mg.training.coupled_sgd import CoupledSGD

SOURCE = (
    "He, Zhang, Ren, Sun, 2015, https://arxiv.org/abs/1512.03385, as the Torch7 study "
    "https://github.com/gcr/torch-residual-networks trains it"
)
OPTIMIZER = partial(CoupledSGD, momentum=0.9, nesterov=True, weight_decay=1e-4)
SCHEDULE = StepDecay(0.1, drops=(80, 120), factor=0.1)
# He et al. find 0.1 slightly too large for 110 layers to begin with.
SCHEDULE_110 = dataclasses.replace(SCHEDULE, warmup_steps=400, warmup_learning_rate=0.001)

# Network, arguments, printed test error.
ROWS: tuple[tuple, ...] = (
    ("resnet20", resnet.ResNet20, {}, 0.084473),
    ("resnet20-bn-after-add", resnet.ResNet20, {"block": "bn_after_add"}, 0.083496),
    ("resnet20-no-relu", resnet.ResNet20, {"final_relu": False}, 0.089355),
    (
        "resnet20-bn-after-add-no-relu",
        resnet.ResNet20,
        {"block": "bn_after_add", "final_relu": False},
        0.079102,
    ),
    ("resnet32", resnet.ResNet32, {}, 0.079102),
    ("resnet44", resnet.ResNet44, {}, 0.075684),
    ("resnet56", resnet.ResNet56, {}, 0.063477),
    ("resnet110", resnet.ResNet110, {}, 0.067871),
)


def _recipe(name: str, network, arguments: dict, test_error: float) -> Recipe:
    return Recipe(
        name=f"{name}-cifar10",
        source=SOURCE,
        network=partial(network, **arguments, classes=10, classifier_activation=None),
        data=LabelledImages(
            "cifar10",
            MeanImage(),
            # Normalised images are moved, so the frame is the mean.
            ShiftAndFlip(shift=4, flip=True, fill=0, on="normalized"),
            sampling="replacement",
        ),
        epochs=200,
        batch_size=128,
        schedule=SCHEDULE_110 if network is resnet.ResNet110 else SCHEDULE,
        optimizer=OPTIMIZER,
        claims={"accuracy": round(1 - test_error, 6)},
    )


_CIFAR10 = tuple(_recipe(*row) for row in ROWS)
_DIGITS = dataclasses.replace(
    _CIFAR10[0].shortened(10).changed({"data.dataset": "digits", "data.augmentation.flip": False}),
    name="resnet20-digits",
    claims={},
)

RECIPES = (*_CIFAR10, _DIGITS)
