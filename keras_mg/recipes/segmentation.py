"""Scattered digits: the multigrid segmentation task on data that need no download.

No published run: the digits are smaller than the paper's MNIST, the optimizer is AdamW, and
training takes minutes. It shows that a network learns and works.
"""

from __future__ import annotations

from functools import partial

import keras

from keras_mg.applications import SegPMG, SegUNet
from keras_mg.metrics.mean_iu import MeanIU
from keras_mg.recipes.data import DigitCanvases
from keras_mg.recipes.pictures import draw_canvases
from keras_mg.recipes.recipe import Recipe
from keras_mg.recipes.schedules import WarmUpCosine

SOURCE = "Ke, Maire, Yu, CVPR 2017, https://arxiv.org/abs/1611.07661 (the task, on other digits)"
LEARNED = 0.5  # mean IU

# What the last batch norm's shift starts at. About 1.5% of the pixels of a map belong to its digit,
# and sigmoid(-4) is 1.8%: the network starts from "nothing here" instead of having to learn it.
OUTPUT_BIAS = -4.0
_P_MG = partial(SegPMG, outputs=10, output_bias=OUTPUT_BIAS)
_U_NET = partial(SegUNet, outputs=10, output_bias=OUTPUT_BIAS)
NETWORKS = {
    # 16 channels on each of the four grids.
    "segment-digits": partial(_P_MG, filters=(16, 16, 16, 16)),
    # The published widths: nine times the arithmetic.
    "segment-digits-paper": partial(_P_MG, filters=(64, 32, 16, 8)),
    # A plain U-Net of as many multiply-accumulates as the first, to compare with.
    "segment-digits-unet": partial(_U_NET, filters=(24, 48, 96, 192)),
}


def verdict(result: dict) -> str:
    """What the measured figure means, and what to try next.

    Args:
        result: of `train`.
    """
    mean_iu = result["test"]["mean_iu"]
    meaning = (
        "This shows that the network learns and works, not that it beats others."
        if mean_iu >= LEARNED
        else f"Below {LEARNED} the network has not learned the task yet: give it more --epochs."
    )
    return f"""\
Mean IU {mean_iu:.3f} on {result["images"]["test"]} canvases of digits never seen in training.
{meaning}

Try next:
  keras-mg train segment-digits-unet
      a plain U-Net of as much arithmetic, on the same canvases
  keras-mg train segment-digits --epochs 40
      longer training; segment-digits-paper has the published widths
  python examples/fine_tune.py
      a feature extractor of this library under a head of your own"""


RECIPES = tuple(
    Recipe(
        name=name,
        source=SOURCE,
        network=network,
        data=DigitCanvases(steps_per_epoch=250, validation=104, test=500),
        epochs=10,
        batch_size=8,
        schedule=WarmUpCosine(peak=1e-2, warmup=0.05),
        optimizer=partial(keras.optimizers.AdamW, weight_decay=0.004),
        loss=keras.losses.BinaryCrossentropy,
        metrics=(MeanIU,),
        pictures={"segmentation.png": draw_canvases},
        remarks=verdict,
    )
    for name, network in NETWORKS.items()
)
