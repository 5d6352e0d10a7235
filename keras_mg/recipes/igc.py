"""Interleaved group convolutions: Zhang, Qi, Xiao, Wang, ICCV 2017, as released for MXNet."""

from __future__ import annotations

import dataclasses
from functools import partial

from keras_mg.applications import igc_cifar
from keras_mg.datasets.augmentation import ShiftAndFlip
from keras_mg.datasets.images import DATASETS
from keras_mg.datasets.normalization import ChannelStatistics
from keras_mg.recipes.data import LabelledImages
from keras_mg.recipes.recipe import Recipe
from keras_mg.recipes.schedules import StepDecay, WarmUpCosine
from keras_mg.training.coupled_sgd import CoupledSGD

SOURCE = (
    "Zhang, Qi, Xiao, Wang, ICCV 2017, https://arxiv.org/abs/1707.02725; "
    "https://github.com/hellozting/InterleavedGroupConvolutions"
)
OPTIMIZER = partial(CoupledSGD, momentum=0.9, nesterov=True, weight_decay=1e-4)

NETWORKS = {
    "igc-resnet": partial(
        igc_cifar.IGCResNet, depth=20, primary_partitions=24, secondary_partitions=2
    ),
    "igc-plain": partial(
        igc_cifar.IGCPlain, depth=38, primary_partitions=24, secondary_partitions=2
    ),
    "igc-resnet-baseline": partial(igc_cifar.IGCResNetBaseline, depth=20, width=48),
    "igc-plain-baseline": partial(igc_cifar.IGCPlainBaseline, depth=38, width=48),
}


def _recipe(network: str, dataset: str) -> Recipe:
    statistics = ChannelStatistics(
        *igc_cifar.STATISTICS[dataset if dataset in igc_cifar.STATISTICS else "cifar10"]
    )
    # The frame is of the mean colour, in whole pixel values: close to 0 once it is normalised.
    augmentation = ShiftAndFlip(
        shift=4, flip=DATASETS[dataset].mirrors, fill=tuple(round(m) for m in statistics.mean)
    )
    recipe = Recipe(
        name=f"{network}-{dataset}",
        source=SOURCE,
        network=partial(
            NETWORKS[network], classes=DATASETS[dataset].classes, classifier_activation=None
        ),
        data=LabelledImages(dataset, statistics, None if dataset == "svhn" else augmentation),
        epochs=400,
        batch_size=64,
        schedule=StepDecay(0.1, drops=(200, 300, 350), factor=0.1),  # 1/2, 3/4, 7/8 of the epochs
        optimizer=OPTIMIZER,
    )
    return recipe.shortened({"svhn": 40, "digits": 10}.get(dataset, recipe.epochs))


# Of ours, for one core of a CPU: what `IGCResNet(20, 24, 2, weights="cifar10")` is trained by.
_SHORT = dataclasses.replace(
    _recipe("igc-resnet", "cifar10"),
    name="igc-resnet-short-cifar10",
    epochs=12,
    schedule=WarmUpCosine(peak=0.1, warmup=0.2),
    optimizer=partial(OPTIMIZER, weight_decay=5e-4),
    differs=(
        "12 epochs, the rate half a cosine, instead of 400 and steps",
        "weight decay 5e-4 instead of 1e-4",
    ),
)

RECIPES = (
    *(
        _recipe(network, dataset)
        for network in NETWORKS
        for dataset in ("cifar10", "cifar100", "svhn", "digits")
    ),
    _SHORT,
)
