"""Multigrid networks on CIFAR-100: Ke, Maire, Yu, CVPR 2017, optimizers as released for Torch7."""

from __future__ import annotations

from functools import partial

from keras_mg import applications
from keras_mg.applications import igc_cifar
from keras_mg.datasets.augmentation import ShiftAndFlip
from keras_mg.datasets.normalization import ChannelStatistics
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

# By name: the constructor, and the published error in percent where there is one.
PLAIN = {
    "mg6": (applications.MG6, 32.08),
    "mg11": (applications.MG11, 28.39),
    "mg16": (applications.MG16, 29.91),
    "mg21": (applications.MG21, 30.03),
    "pmg9": (applications.PMG9, None),
    "pmg16": (applications.PMG16, None),
    "pmg23": (applications.PMG23, None),
    "pmg30": (applications.PMG30, None),
    "vgg6": (applications.CifarVGG6, None),
    "vgg11": (applications.CifarVGG11, None),
    "vgg16": (applications.CifarVGG16, None),
    "vgg21": (applications.CifarVGG21, None),
}
RESIDUAL = {
    "rmg12": (applications.RMG12, 27.84),
    "rmg22": (applications.RMG22, 26.79),
    "rmg32": (applications.RMG32, 25.29),
    "rmg42": (applications.RMG42, 26.32),
    "prmg16": (applications.PRMG16, None),
    "prmg30": (applications.PRMG30, None),
    "prmg44": (applications.PRMG44, None),
    "prmg58": (applications.PRMG58, None),
    "res12": (applications.CifarRES12, None),
    "res22": (applications.CifarRES22, None),
    "res32": (applications.CifarRES32, None),
    "res42": (applications.CifarRES42, None),
}


def _recipe(name: str, network, error: float | None, batches: int, schedule) -> Recipe:
    """One recipe; `batches` are accumulated into one update of the weights."""
    mean, std = igc_cifar.STATISTICS["cifar100"]
    optimizer = OPTIMIZER
    if batches > 1:
        optimizer = partial(OPTIMIZER, gradient_accumulation_steps=batches)
    return Recipe(
        name=f"{name}-cifar100",
        source=SOURCE,
        network=partial(network, classes=100, classifier_activation=None),
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
        claims={} if error is None else {"accuracy": round(1 - error / 100, 4)},
        differs=DIFFERS,
    )


RECIPES = (
    # 10 ** -(1 + 3 (e - 1) / 199) in epoch e = 1 to 200.
    *(_recipe(name, *row, 1, GeometricDecay(0.1, 1e-4)) for name, row in PLAIN.items()),
    *(
        _recipe(name, *row, 2, StepDecay(0.1, drops=(60, 120, 160), factor=0.2))
        for name, row in RESIDUAL.items()
    ),
)
