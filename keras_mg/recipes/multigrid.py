"""Multigrid networks on CIFAR-100: Ke, Maire, Yu, CVPR 2017, optimizers as released for Torch7."""

from __future__ import annotations

from functools import partial

from keras_mg import applications
from keras_mg.applications import igc_cifar
from keras_mg.datasets.augmentation import ShiftAndFlip
from keras_mg.datasets.normalization import ChannelStatistics
from keras_mg.recipes._claims import published_accuracy
from keras_mg.recipes.data import LabelledImages
from keras_mg.recipes.recipe import Recipe
from keras_mg.recipes.schedules import GeometricDecay, StepDecay
from keras_mg.training.coupled_sgd import CoupledSGD

SOURCE = (
    "Ke, Maire, Yu, CVPR 2017, https://arxiv.org/abs/1611.07661; "
    "https://github.com/buttomnutstoast/Multigrid-Neural-Architectures"
)
OPTIMIZER = partial(CoupledSGD, momentum=0.9, nesterov=False, weight_decay=5e-4)
STEPS = 300  # updates of the weights per epoch
DIFFERS = (
    "images are normalised per channel, not contrast-normalised per image and whitened",
    "they are shifted by up to 4 pixels, not scaled to 36 and cropped at 1 to 3",
    "the channels are RGB, not BGR",
)

PLAIN = {
    "mg6": applications.MG6,
    "mg11": applications.MG11,
    "mg16": applications.MG16,
    "mg21": applications.MG21,
    "pmg9": applications.PMG9,
    "pmg16": applications.PMG16,
    "pmg23": applications.PMG23,
    "pmg30": applications.PMG30,
    "vgg6": applications.CifarVGG6,
    "vgg11": applications.CifarVGG11,
    "vgg16": applications.CifarVGG16,
    "vgg21": applications.CifarVGG21,
}
RESIDUAL = {
    "rmg12": applications.RMG12,
    "rmg22": applications.RMG22,
    "rmg32": applications.RMG32,
    "rmg42": applications.RMG42,
    "prmg16": applications.PRMG16,
    "prmg30": applications.PRMG30,
    "prmg44": applications.PRMG44,
    "prmg58": applications.PRMG58,
    "res12": applications.CifarRES12,
    "res22": applications.CifarRES22,
    "res32": applications.CifarRES32,
    "res42": applications.CifarRES42,
}


def _recipe(name: str, construct, batches: int, schedule) -> Recipe:
    """One recipe; `batches` are accumulated into one update of the weights."""
    mean, std = igc_cifar.STATISTICS["cifar100"]
    optimizer = OPTIMIZER
    if batches > 1:
        optimizer = partial(OPTIMIZER, gradient_accumulation_steps=batches)
    network = partial(construct, classes=100, classifier_activation=None)
    return Recipe(
        name=f"{name}-cifar100",
        source=SOURCE,
        network=network,
        data=LabelledImages(
            "cifar100",
            ChannelStatistics(mean, std),
            ShiftAndFlip(shift=4, flip=True, fill=tuple(round(m) for m in mean)),
            # A class is drawn, then an image of it; CIFAR-100 has as many of each.
            sampling="replacement",
            steps_per_epoch=STEPS * batches,
        ),
        epochs=200,
        batch_size=128 // batches,
        schedule=schedule,
        optimizer=optimizer,
        restarts_velocity=True,
        claims=published_accuracy(network, "cifar100"),
        differs=DIFFERS,
    )


RECIPES = (
    # 10 ** -(1 + 3 (e - 1) / 199) in epoch e = 1 to 200.
    *(_recipe(name, network, 1, GeometricDecay(0.1, 1e-4)) for name, network in PLAIN.items()),
    *(
        _recipe(name, network, 2, StepDecay(0.1, drops=(60, 120, 160), factor=0.2))
        for name, network in RESIDUAL.items()
    ),
)
