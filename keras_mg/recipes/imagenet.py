"""ImageNet: the multigrid, IGC and MgNet networks, as far as their authors released how."""

from __future__ import annotations

from functools import partial

from keras_mg import applications
from keras_mg.applications import igc as igc_networks
from keras_mg.datasets.normalization import ChannelStatistics
from keras_mg.datasets.photo_colors import ColorJitter, HSLJitter, PCALighting
from keras_mg.datasets.photo_crops import RandomAreaCrop, RandomAspectCrop
from keras_mg.recipes import igc, mgnet, multigrid
from keras_mg.recipes._claims import published_accuracy
from keras_mg.recipes.photo_data import Photographs
from keras_mg.recipes.recipe import Recipe
from keras_mg.recipes.schedules import StepDecay
from keras_mg.training.coupled_sgd import CoupledSGD

UPDATES = 10_000  # of the weights, per epoch of the multigrid networks
_EVERY_30 = tuple(range(30, 200, 30))
_SGD = partial(CoupledSGD, momentum=0.9, weight_decay=1e-4)

# The constructor, photographs per step, and steps that are accumulated into one update.
MULTIGRID = {
    "rmg18": (partial(applications.RMG18), 64, 4),
    "rmg34": (partial(applications.RMG34), 64, 4),
    "prmg-seg30": (partial(applications.PRMGSeg30, shortcut="A"), 16, 16),
    "prmg-seg52": (partial(applications.PRMGSeg52, shortcut="A"), 16, 16),
}
IGC = {
    "igc-l100m2": applications.IGC_L100M2,
    "igc-l16m16": applications.IGC_L16M16,
    "igc-l4m32": applications.IGC_L4M32,
    "igc-resnet18-c64": applications.IGCResNet18_C64,
    "igc-resnet18-c69": applications.IGCResNet18_C69,
}
MGNET = partial(
    applications.MgNet,
    iterations=(3, 4, 6, 3),
    filters=(128, 256, 512, 1024),
    share_smoother=False,
    stem="imagenet",
)


def _as_multigrid(
    name: str, network: partial, batch: int, steps: int, source: str, *differs: str
) -> Recipe:
    network = partial(network, classes=1000, classifier_activation=None)
    return Recipe(
        name=f"{name}-imagenet",
        source=source,
        network=network,
        data=Photographs(
            crop=RandomAreaCrop(224),
            colors=(ColorJitter(0.4, 0.4, 0.4), PCALighting(0.1)),
            steps_per_epoch=UPDATES * steps,
        ),
        epochs=200,
        batch_size=batch,
        schedule=StepDecay(0.1, drops=_EVERY_30, factor=0.1),
        optimizer=partial(_SGD, nesterov=False, gradient_accumulation_steps=steps),
        restarts_velocity=True,
        claims=published_accuracy(network, "imagenet"),
        differs=differs,
    )


def _igc(name: str, construct) -> Recipe:
    network = partial(construct, classes=1000, classifier_activation=None)
    return Recipe(
        name=f"{name}-imagenet",
        source=igc.SOURCE,
        network=network,
        data=Photographs(
            crop=RandomAspectCrop(224, packed=480, scale=(0.533, 1.0), aspect=0.25),
            colors=(HSLJitter(36, 50, 50),),
            statistics=ChannelStatistics(igc_networks.IMAGENET_MEAN, igc_networks.IMAGENET_STD),
        ),
        epochs=120,
        batch_size=256,
        schedule=StepDecay(0.1, drops=(30, 60, 90), factor=0.1),
        optimizer=partial(_SGD, nesterov=True),
        claims=published_accuracy(network, "imagenet"),
        differs=(
            "photographs are scaled once, from their files, not packed at a shorter side of 480 "
            "with JPEG quality 95 before",
        ),
    )


RECIPES = (
    *(_as_multigrid(name, *row, multigrid.SOURCE) for name, row in MULTIGRID.items()),
    *(_igc(name, network) for name, network in IGC.items()),
    _as_multigrid(
        "mgnet",
        MGNET,
        64,
        4,
        mgnet.SOURCE,
        "the authors released no training on ImageNet: it is that of the multigrid networks",
    ),
)
