"""Multigrid networks on CIFAR: Ke, Maire, Yu, CVPR 2017, as released for Torch7.

The paper has CIFAR-100; on CIFAR-10 and on the embedded digits the same is done.
"""

from __future__ import annotations

from functools import partial

from keras_mg import applications
from keras_mg.datasets.images import DATASETS
from keras_mg.datasets.scale_and_crop import ScaleAndCrop
from keras_mg.datasets.whitening import ContrastAndZCA
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


def _recipe(name: str, construct, dataset: str) -> Recipe:
    # Residual networks accumulate two batches into one update of the weights.
    batches = 2 if name in RESIDUAL else 1
    optimizer = OPTIMIZER
    if batches > 1:
        optimizer = partial(OPTIMIZER, gradient_accumulation_steps=batches)
    known = DATASETS[dataset]
    network = partial(construct, classes=known.classes, classifier_activation=None)
    crops = ScaleAndCrop(scaled=36, offsets=(1, 3), flip=known.mirrors)
    return Recipe(
        name=f"{name}-{dataset}",
        source=SOURCE,
        network=network,
        data=LabelledImages(
            dataset,
            ContrastAndZCA("bgr"),
            crops,
            sampling="balanced",
            steps_per_epoch=STEPS * batches,
            evaluation=crops.evaluation,
        ),
        epochs=200,
        batch_size=128 // batches,
        schedule=(
            StepDecay(0.1, drops=(60, 120, 160), factor=0.2)
            if batches > 1
            # 10 ** -(1 + 3 (e - 1) / 199) in epoch e = 1 to 200.
            else GeometricDecay(0.1, 1e-4)
        ),
        optimizer=optimizer,
        restarts_velocity=True,
        claims=published_accuracy(network, dataset),
    )


_ALL = PLAIN | RESIDUAL
RECIPES = (
    *(_recipe(name, network, "cifar100") for name, network in _ALL.items()),
    *(_recipe(name, network, "cifar10") for name, network in _ALL.items()),
    *(_recipe(name, _ALL[name], "digits").shortened(5) for name in ("mg6", "rmg12")),
)
