"""The single-grid networks that the multigrid paper compares with on CIFAR.

Paper: Ke, Maire, Yu, "Multigrid Neural Architectures", CVPR 2017, https://arxiv.org/abs/1611.07661.
Original code: Torch7, https://github.com/buttomnutstoast/Multigrid-Neural-Architectures. This file
is written from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic.
"""

from __future__ import annotations

from functools import partial

from keras_mg.applications import constructor
from keras_mg.applications.multigrid import REFERENCE
from keras_mg.applications.multigrid import preprocess_input as preprocess_input
from keras_mg.layers import ConvNormActivation, MaxPool, ResidualBlock
from keras_mg.layers.initializers import he_fan_out

PLAIN_EPSILON = 1e-3
RESIDUAL_EPSILON = 1e-5
VGG_FILTERS = (102, 204, 408, 816, 816)
RES_FILTERS = (64, 128, 256, 512, 512)


def _trunk(filters, layers: int, residual: bool, images, common) -> dict:
    settings = {
        **common,
        "use_bias": True,
        "epsilon": RESIDUAL_EPSILON if residual else PLAIN_EPSILON,
        "kernel_initializer": he_fan_out(),
    }
    x = images
    if residual:
        x = ConvNormActivation(filters[0], name="stem", **settings)(x)
    levels = {}
    for b, width in enumerate(filters):
        for i in range(1, layers + 1):
            make = ResidualBlock if residual else ConvNormActivation
            x = make(width, name=f"block{b + 1}_layer{i}", **settings)(x)
        levels[b] = x
        x = MaxPool(2, name=f"block{b + 1}_pool", **common)(x)
    return {**levels, len(filters): x}


def _baseline(name: str, layers: int, residual: bool) -> constructor.Classifier:
    def make_trunk() -> constructor.Trunk:
        return partial(_trunk, RES_FILTERS if residual else VGG_FILTERS, layers, residual)

    kind = "residual blocks" if residual else "convolutions"
    return constructor.classifier_constructor(
        name,
        f"""{name}: the single-grid network for 32x32 images of the multigrid paper.

    Five blocks of {layers} {kind} each, followed by a 2x2 max-pooling. Height and width of the
    image are at least 32.
    """,
        make_trunk,
        default_shape=(32, 32, 3),
        classes=100,
        reference=REFERENCE,
        module=__name__,
        smallest_side=32,
        zero_bias=residual,
    )


CifarVGG6 = _baseline("CifarVGG6", 1, False)
CifarVGG11 = _baseline("CifarVGG11", 2, False)
CifarVGG16 = _baseline("CifarVGG16", 3, False)
CifarVGG21 = _baseline("CifarVGG21", 4, False)
CifarRES12 = _baseline("CifarRES12", 1, True)
CifarRES22 = _baseline("CifarRES22", 2, True)
CifarRES32 = _baseline("CifarRES32", 3, True)
CifarRES42 = _baseline("CifarRES42", 4, True)
