"""The residual networks of a Torch7 study of He, Zhang, Ren and Sun, 2015, as released."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras

from keras_mg.applications import resnet
from keras_mg.datasets.augmentation import ShiftAndFlip
from keras_mg.datasets.normalization import MeanImage
from keras_mg.recipes._claims import published_accuracy
from keras_mg.recipes.data import LabelledImages
from keras_mg.recipes.recipe import Recipe
from keras_mg.recipes.schedules import StepDecay, WarmUpCosine
from keras_mg.training.average_statistics import AverageStatistics
from keras_mg.training.coupled_sgd import CoupledSGD

SOURCE = (
    "He, Zhang, Ren, Sun, 2015, https://arxiv.org/abs/1512.03385, as the Torch7 study "
    "https://github.com/gcr/torch-residual-networks trains it"
)
OPTIMIZER = partial(CoupledSGD, momentum=0.9, nesterov=True, weight_decay=1e-4)
SCHEDULE = StepDecay(0.1, drops=(80, 120), factor=0.1)
# He et al. find 0.1 slightly too large for 110 layers to begin with.
SCHEDULE_110 = dataclasses.replace(SCHEDULE, warmup_steps=400, warmup_learning_rate=0.001)

# Constructors of optimizers, all of them without weight decay. Keras adds epsilon under the root,
# Torch its own, 1e-8 of RMSprop and 1e-10 of Adagrad, outside.
OPTIMIZERS: dict[str, Callable] = {
    "rmsprop": partial(keras.optimizers.RMSprop, rho=0.9, epsilon=1e-16),
    "adagrad": partial(keras.optimizers.Adagrad, initial_accumulator_value=0.0, epsilon=1e-20),
    "adadelta": partial(keras.optimizers.Adadelta, rho=0.3, epsilon=1e-6),
}
# With which the study's author trained which network, at which rate, and the error that he prints.
# Adadelta has no rate that would drop.
COMPARED = (
    ("resnet20", "rmsprop", "1e-4", 0.1677),
    ("resnet20", "rmsprop", "1e-3", 0.1055),
    ("resnet20", "rmsprop", "1e-2", 0.0945),
    ("resnet20", "adadelta", None, 0.1093),
    ("resnet20", "adagrad", "1e-3", 0.3536),
    ("resnet20", "adagrad", "1e-2", 0.1603),
    ("resnet20", "adagrad", "1e-1", 0.1255),
    ("resnet110", "rmsprop", "1e-4", 0.1482),
    ("resnet110", "rmsprop", "1e-3", 0.0821),
    ("resnet110", "rmsprop", "1e-2", 0.0768),
    ("resnet110", "rmsprop", "1e-1", 0.1098),
    ("resnet110", "adadelta", None, 0.0888),
    ("resnet110", "adagrad", "1e-3", 0.3022),
    ("resnet110", "adagrad", "1e-2", 0.1321),
    ("resnet110", "adagrad", "1e-1", 0.1145),
)

NETWORKS = {
    "resnet20": resnet.ResNet20,
    "resnet32": resnet.ResNet32,
    "resnet44": resnet.ResNet44,
    "resnet56": resnet.ResNet56,
    "resnet110": resnet.ResNet110,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "-bn-after-add": {"block": "bn_after_add"},
    "-no-relu": {"final_relu": False},
    "-bn-after-add-no-relu": {"block": "bn_after_add", "final_relu": False},
}


def _recipe(name: str, depth: str, **arguments) -> Recipe:
    network = partial(
        NETWORKS[depth], **{"classes": 10, "classifier_activation": None, **arguments}
    )
    return Recipe(
        name=f"{name}-cifar10",
        source=SOURCE,
        network=network,
        data=LabelledImages(
            "cifar10",
            MeanImage(),
            # Normalised images are moved, so the frame is the mean.
            ShiftAndFlip(shift=4, flip=True, fill=0, on="normalized"),
            sampling="replacement",
        ),
        epochs=200,
        batch_size=128,
        schedule=SCHEDULE_110 if depth == "resnet110" else SCHEDULE,
        optimizer=OPTIMIZER,
        claims=published_accuracy(network, "cifar10"),
    )


def _with_optimizer(depth: str, kind: str, rate: str | None, error: float) -> Recipe:
    name = "-".join(filter(None, (depth, "corrected", kind, rate)))
    return dataclasses.replace(
        _recipe(name, depth, corrected=True),
        optimizer=OPTIMIZERS[kind],
        schedule=(
            StepDecay(1.0)
            if rate is None
            else dataclasses.replace(SCHEDULE, learning_rate=float(rate))
        ),
        claims=_accuracy(error),
    )


def _momenta() -> Iterator[Recipe]:
    """How fast batch norm forgets, by the share that Torch's momentum lets a batch have."""
    for share, error in ((1.0, 0.0863), (0.01, 0.0835)):
        name = f"resnet20-corrected-bn-momentum-{share:g}"
        recipe = _recipe(name, "resnet20", corrected=True, momentum=1 - share)
        yield dataclasses.replace(recipe, claims=_accuracy(error))
    recipe = _recipe("resnet20-corrected-bn-average", "resnet20", corrected=True)
    yield dataclasses.replace(recipe, claims=_accuracy(0.0822), callbacks=(AverageStatistics,))


def _accuracy(error: float) -> dict[str, float]:
    return {"accuracy": round(1 - error, 6)}


_RELEASED = (
    *(_recipe(depth, depth) for depth in NETWORKS),
    *(_recipe(f"resnet20{name}", "resnet20", **own) for name, own in VARIANTS.items()),
)
# The study's author repeated it on a network that does not narrow, and on the whole test set.
_CORRECTED = (
    *(_recipe(f"{depth}-corrected", depth, corrected=True) for depth in NETWORKS),
    *(
        _recipe(f"{depth}-corrected{name}", depth, corrected=True, **own)
        for depth in ("resnet20", "resnet110")
        for name, own in VARIANTS.items()
    ),
    *(_with_optimizer(*row) for row in COMPARED),
    *_momenta(),
)
_DIGITS = dataclasses.replace(
    _RELEASED[0].shortened(10).changed({"data.dataset": "digits", "data.augmentation.flip": False}),
    name="resnet20-digits",
    claims={},
)
# Of ours, for one core of a CPU: what `ResNet20(weights="cifar10")` is trained by.
_SHORT = dataclasses.replace(
    _RELEASED[0].changed({"data.sampling": "shuffle"}),
    name="resnet20-short-cifar10",
    epochs=30,
    schedule=WarmUpCosine(peak=0.2, warmup=0.15),
    optimizer=partial(OPTIMIZER, weight_decay=5e-4),
    differs=(
        "30 epochs, the rate half a cosine, instead of 200 and steps",
        "weight decay 5e-4 instead of 1e-4",
        "an epoch is every image once instead of draws with replacement",
    ),
)

RECIPES = (*_RELEASED, *_CORRECTED, _SHORT, _DIGITS)
