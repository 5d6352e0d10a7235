"""The IGC authors' MXNet files: the names of their arrays, and those that are published.

An array is named after its place (`g2_b1_proj_bn_gamma`: stage 2, block 1), as a variable is
(`stage2_block1/shortcut/gamma`); the rules below turn the one into the other.
"""

from __future__ import annotations

import re

import keras

from keras_mg import weights

NORM = {
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "moving_mean",
    "moving_variance": "moving_var",
}
UNITS: dict[str, tuple[str, ...]] = {
    "shortcut": ("_proj", "_p0_line"),
    "igc1": ("_conv1", "_p2_two1"),
    "igc2": ("_conv2", "_p2_two2"),
    "conv1": ("_conv1", "_p2_two1"),
    "conv2": ("_conv2", "_p2_two2"),
}
"""Units of a residual block: our name -> the ImageNet networks' and the CIFAR networks'."""
PARTS = {"primary": "_conv1", "secondary": "_conv2", "norm": ""}
"""Layers of an interleaved group convolution; its batch norm is named after the whole."""
HEADS = ("fc_score", "fc")
BLOCK = re.compile(r"(?:stage(\d+)_block(\d+)|stem)")


@weights.register_names(
    "MXNet networks of the IGC authors",
    head=[f"{head}_{name}" for head in HEADS for name in ("weight", "bias")],
    alternatives=True,
)
def igc_names(model: keras.Model) -> dict[str, list[str]]:
    """The names that the IGC authors' networks may give each variable; none for other networks."""
    names = {variable.path: array_names(variable.path) for variable in model.weights}
    return names if all(names.values()) else {}


def array_names(path: str) -> list[str]:
    """The names that the IGC authors' networks may give a variable, likeliest first.

    Args:
        path: the variable's path, for example `stage2_block1/igc1/primary/kernel`.

    Returns:
        Names without `arg:` and `aux:`; none where the path is of another family.
    """
    top, *inner, name = path.split("/")
    if top == "predictions" and not inner:
        last = {"kernel": "weight", "bias": "bias"}.get(name)
        return [f"{head}_{last}" for head in HEADS] if last else []
    block = BLOCK.fullmatch(top)
    if block is None:
        return []
    prefixes = ["g0"] if top == "stem" else [f"g{block[1]}_b{block[2]}"]
    if inner and inner[0] in UNITS:
        prefixes = [prefixes[0] + suffix for suffix in UNITS[inner.pop(0)]]
    part = None
    if inner and inner[0] in PARTS:
        part = PARTS[inner.pop(0)]
    if inner:
        return []
    if name in NORM:
        return [f"{p}_bn_{NORM[name]}" for p in prefixes]
    if name == "kernel" and part is not None:
        return [f"{p}{part}_weight" for p in prefixes]
    if name == "kernel":
        return [f"{p}{conv}_weight" for p in prefixes for conv in ("_conv", "")]
    return []


SOURCE = "https://github.com/hellozting/InterleavedGroupConvolutions"
COMMIT = "2871fdbd2343982ea1ee2460fc26bccba7d40ec9"
ADDRESS = (
    f"https://raw.githubusercontent.com/hellozting/InterleavedGroupConvolutions/{COMMIT}/models"
)

MEAN = (123.370, 112.757, 99.406)
STD = (68.998, 66.093, 68.292)


def _published(
    network: str,
    folder: str,
    prefix: str,
    blob: str,
    parameters: int,
    top1_error: float,
    top5_error: float,
) -> None:
    filename = f"{prefix}-0095.params"
    weights.register_weights(
        weights.WeightsInfo(
            network=network,
            tag="imagenet",
            address=f"{ADDRESS}/{folder}/{filename}",
            filename=filename,
            size=None,
            hash=f"git:{blob}",
            licence="none stated",
            input_size=(224, 224),
            shorter_side=256,
            mean=MEAN,
            std=STD,
            channel_order="RGB",
            classes=1000,
            class_order="WordNet id",
            top1_error=top1_error,
            top5_error=top5_error,
            parameters=parameters,
            source=SOURCE,
            source_commit=COMMIT,
            paper="https://arxiv.org/abs/1707.02725",
        )
    )


_published(
    "IGC_L100M2", "IGC-L100M2_ImageNet", "resnet_gcwf_noshare_imagenet_d18b100",
    "1dee63a039d71a5bbe0ada0343372534538e7bd8", 8_637_900, 26.95, 8.92,
)  # fmt: skip
_published(
    "IGC_L16M16", "IGC-L16M16_ImageNet", "resnet_gcwf_noshare_imagenet_d18b16",
    "a96f44a0f7ae49241351efc451195e4fdf4d0bfc", 13_528_296, 29.40, 10.32,
)  # fmt: skip
_published(
    "IGC_L4M32", "IGC-L4M32_ImageNet", "resnet_gcwf_noshare_imagenet_d18b4",
    "e13f33740800f06378006b90da35d8edc971eabf", 12_251_240, 30.77, 10.99,
)  # fmt: skip
_published(
    "IGCResNet18_C64", "ResNet18-w64_ImageNet", "resnet_d18",
    "3d926978e2d8e6b4d145bbaca618a71b2bda9402", 11_689_512, 31.06, 11.38,
)  # fmt: skip
_published(
    "IGCResNet18_C69", "ResNet18-w69_ImageNet", "resnet_d18_w69",
    "11bb29afd5f71d00ff472afb0aa8240f4edbaa2c", 13_542_457, 30.58, 10.77,
)  # fmt: skip
