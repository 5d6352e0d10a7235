"""MgNet: He and Xu, 2019, and He, Chen, Zhang and Xu, 2019, as released for PyTorch."""

from __future__ import annotations

import dataclasses
from functools import partial

from keras_mg.applications import mgnet
from keras_mg.datasets.augmentation import ShiftAndFlip
from keras_mg.datasets.images import DATASETS
from keras_mg.datasets.normalization import ChannelStatistics
from keras_mg.recipes._claims import published_accuracy
from keras_mg.recipes.data import LabelledImages
from keras_mg.recipes.recipe import Recipe
from keras_mg.recipes.schedules import StepDecay, WarmUpCosine
from keras_mg.training.coupled_sgd import CoupledSGD

SOURCE = (
    "He, Chen, Zhang, Xu, 2019, https://arxiv.org/abs/1911.10428; "
    "https://github.com/XuTeam/MgNet_Code"
)
OPTIMIZER = partial(CoupledSGD, momentum=0.9, nesterov=False, weight_decay=5e-4)
# 0.1 ** (1 + epoch // 50), the epochs counted from 1: the last drop comes at the last epoch.
SCHEDULE = StepDecay(0.1, drops=(49, 99, 149, 199, 249, 299), factor=0.1)


def _recipe(dataset: str, share_smoother: bool = True) -> Recipe:
    known = dataset if dataset in mgnet.STATISTICS else "cifar10"
    mean, std = (tuple(255 * x for x in values) for values in mgnet.STATISTICS[known])
    mirrors = DATASETS[dataset].mirrors
    network = partial(
        mgnet.MgNet,
        iterations=(2, 2, 2, 2),
        filters=256,
        share_smoother=share_smoother,
        stem="mnist" if dataset == "mnist" else "cifar",
        classes=DATASETS[dataset].classes,
        classifier_activation=None,
    )
    return Recipe(
        name=f"{'mgnet' if share_smoother else 'mgnet-own'}-{dataset}",
        source=SOURCE,
        network=network,
        data=LabelledImages(
            dataset,
            ChannelStatistics(mean, std),
            # The frame is black: the authors crop before they normalise.
            None if dataset == "mnist" else ShiftAndFlip(shift=4, flip=mirrors, fill=0),
        ),
        epochs=300,
        batch_size=128,
        schedule=SCHEDULE,
        optimizer=OPTIMIZER,
        claims=published_accuracy(network, dataset),
    )


_PUBLISHED = ("cifar10", "cifar100", "mnist")

# Of ours, for one core of a CPU: what `MgNet(filters=64, weights="cifar10")` is trained by.
_SHORT = dataclasses.replace(
    _recipe("cifar10").changed({"network.filters": 64}),
    name="mgnet-short-cifar10",
    epochs=20,
    schedule=WarmUpCosine(peak=0.1, warmup=0.2),
    optimizer=partial(OPTIMIZER, nesterov=True),
    claims={},
    differs=(
        "64 filters instead of 256",
        "20 epochs, the rate half a cosine, instead of 300 and steps",
        "Nesterov's momentum",
    ),
)

RECIPES = (
    *map(_recipe, _PUBLISHED),
    # Each iteration has a smoother of its own, B^{l,i} of the papers.
    *(_recipe(dataset, share_smoother=False) for dataset in _PUBLISHED),
    _SHORT,
    # 256 channels take minutes per epoch on a CPU.
    _recipe("digits").shortened(10).changed({"network.filters": 32}),
)
