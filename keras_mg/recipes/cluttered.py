"""Cluttered MNIST: Ke, Maire, Yu, CVPR 2017, four networks on six tasks, as released for Torch7."""

from __future__ import annotations

import dataclasses
from functools import partial

import keras

from keras_mg import applications
from keras_mg.datasets.cluttered_mnist import MEAN, STD, TASKS
from keras_mg.metrics.mean_iu import MeanIU
from keras_mg.recipes.canvas_data import ClutteredMNIST
from keras_mg.recipes.multigrid import OPTIMIZER, SOURCE
from keras_mg.recipes.pictures import draw_canvases
from keras_mg.recipes.recipe import Recipe
from keras_mg.recipes.schedules import GeometricDecay, StepDecay, WarmUpCosine

NETWORKS = {
    "pmg": applications.SegPMG,
    "prmg": applications.SegPRMG,
    "unet": applications.SegUNet,
    "umg": applications.SegUMG,
}


def _recipe(network: str, task: str) -> Recipe:
    # The residual network accumulates two batches into one update of the weights, and its epochs
    # have 800 updates in every task; those of the others have 150 where digits are segmented.
    batches = 2 if network == "prmg" else 1
    updates = 150 if task == "seg" and batches == 1 else 800
    optimizer = OPTIMIZER
    if batches > 1:
        optimizer = partial(OPTIMIZER, gradient_accumulation_steps=batches)
    return Recipe(
        name=f"{network}-mnist-{task}",
        source=SOURCE,
        network=partial(NETWORKS[network], outputs=TASKS[task].maps),
        data=ClutteredMNIST(task, steps_per_epoch=updates * batches),
        epochs=200,
        batch_size=64 // batches,
        schedule=(
            StepDecay(0.1, drops=(60, 120, 160), factor=0.2)
            if batches > 1
            else GeometricDecay(0.1, 1e-4)
        ),
        optimizer=optimizer,
        loss=keras.losses.BinaryCrossentropy,
        metrics=(MeanIU,),
        restarts_velocity=True,
        pictures={
            "segmentation.png" if task == "seg" else "transformation.png": partial(
                draw_canvases, mean=MEAN, std=STD
            )
        },
    )


def _trial(task: str) -> Recipe:
    """A recipe on few of the embedded digits: it runs anywhere, and is no experiment."""
    return dataclasses.replace(
        _recipe("pmg", task).shortened(5),
        name=f"pmg-digits-{task}",
        data=ClutteredMNIST(task, 50, kind="embedded", evaluated=100),
        differs=("the digits are scikit-learn's, of 8x8 pixels, enlarged", "epochs have 50 steps"),
    )


# The last batch norm's shift: sigmoid(-4) is 1.8 %, about the part of a canvas that a digit inks,
# so that networks start from "nothing here" instead of having to learn it.
_SHORT_NETWORKS = {
    "pmg": partial(applications.SegPMG, filters=(16, 16, 16, 16), output_bias=-4.0),
    # A plain U-Net of as many multiply-accumulates.
    "unet": partial(applications.SegUNet, filters=(24, 48, 96, 192), output_bias=-4.0),
}


def _short(network: str, task: str) -> Recipe:
    """Of ours, for one core of a CPU: two networks of equal arithmetic on 100,000 canvases."""
    return dataclasses.replace(
        _recipe(network, task),
        name=f"{network}-short-mnist-{task}",
        network=partial(_SHORT_NETWORKS[network], outputs=TASKS[task].maps),
        data=ClutteredMNIST(task, steps_per_epoch=1250),
        epochs=5,
        batch_size=16,
        schedule=WarmUpCosine(peak=1e-2, warmup=0.05),
        optimizer=partial(keras.optimizers.AdamW, weight_decay=0.004),
        restarts_velocity=False,
        differs=(
            "narrower networks",
            "100,000 canvases in batches of 16 instead of "
            f"{'1,920,000' if task == 'seg' else '10,240,000'} in batches of 64",
            "AdamW, the rate half a cosine, instead of SGD whose velocity starts anew each epoch",
        ),
    )


RECIPES = (
    *(_recipe(network, task) for network in NETWORKS for task in TASKS),
    *(_short(network, task) for network in _SHORT_NETWORKS for task in TASKS),
    *(_trial(task) for task in TASKS),
)
