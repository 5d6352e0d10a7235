"""The residual networks of a Torch7 study of He, Zhang, Ren and Sun, 2015, as released."""

from __future__ import annotations

import dataclasses
from functools import partial

from keras_mg.applications import resnet
from keras_mg.datasets.augmentation import ShiftAndFlip
from keras_mg.datasets.normalization import MeanImage
from keras_mg.recipes._claims import published_accuracy
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

NETWORKS = {
    "resnet20": partial(resnet.ResNet20),
    "resnet20-bn-after-add": partial(resnet.ResNet20, block="bn_after_add"),
    "resnet20-no-relu": partial(resnet.ResNet20, final_relu=False),
    "resnet20-bn-after-add-no-relu": partial(
        resnet.ResNet20, block="bn_after_add", final_relu=False
    ),
    "resnet32": partial(resnet.ResNet32),
    "resnet44": partial(resnet.ResNet44),
    "resnet56": partial(resnet.ResNet56),
    "resnet110": partial(resnet.ResNet110),
}


def _recipe(name: str) -> Recipe:
    network = partial(NETWORKS[name], classes=10, classifier_activation=None)
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
        schedule=SCHEDULE_110 if name == "resnet110" else SCHEDULE,
        optimizer=OPTIMIZER,
        claims=published_accuracy(network, "cifar10"),
    )


_CIFAR10 = tuple(map(_recipe, NETWORKS))
_DIGITS = dataclasses.replace(
    _CIFAR10[0].shortened(10).changed({"data.dataset": "digits", "data.augmentation.flip": False}),
    name="resnet20-digits",
    claims={},
)

RECIPES = (*_CIFAR10, _DIGITS)
