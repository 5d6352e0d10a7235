"""The published weights files: where they lie, how they are recognised, what they expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

from keras_mg.weights.arrays import WeightsError

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class WeightsInfo:
    """One published weights file.

    Args:
        network: name of the constructor in `keras_mg.applications`.
        tag: what to give as `weights=`.
        address: where the file is published.
        filename: its name there and in the cache folder.
        size: its size in bytes, or None where the source does not state it.
        hash: `git:` and the git blob id (sha1 of `blob <size>`, a zero byte, and the content), or
            `sha256:` and the sha256, both as hexadecimal digits.
        licence: as stated at the source, or "none stated".
        input_size: height and width in pixels that the published error belongs to.
        shorter_side: pixels that the image's shorter side is scaled to before the centre is cut.
        mean: per channel, on pixel values of 0 to 255; subtracted.
        std: per channel, on pixel values of 0 to 255; divided by.
        channel_order: order of the input's channels, and of `mean` and `std`.
        classes: number of classes of the head.
        class_order: what the head's outputs are sorted by.
        top1_error: published validation error in percent.
        top5_error: published validation error in percent, five guesses.
        parameters: trained numbers in the file (without the moving statistics).
        source: the repository.
        source_commit: the commit of the repository that the file is taken from.
        paper: where the network is described.
    """

    network: str
    tag: str
    address: str
    filename: str
    size: int | None
    hash: str
    licence: str
    input_size: tuple[int, int]
    shorter_side: int
    mean: RGB
    std: RGB
    channel_order: str
    classes: int
    class_order: str
    top1_error: float
    top5_error: float
    parameters: int
    source: str
    source_commit: str
    paper: str


IGC_SOURCE = "https://github.com/hellozting/InterleavedGroupConvolutions"
IGC_COMMIT = "2871fdbd2343982ea1ee2460fc26bccba7d40ec9"
IGC_ADDRESS = (
    f"https://raw.githubusercontent.com/hellozting/InterleavedGroupConvolutions/{IGC_COMMIT}/models"
)


def _igc(
    network: str,
    folder: str,
    prefix: str,
    blob: str,
    parameters: int,
    top1_error: float,
    top5_error: float,
) -> WeightsInfo:
    filename = f"{prefix}-0095.params"
    return WeightsInfo(
        network=network,
        tag="imagenet",
        address=f"{IGC_ADDRESS}/{folder}/{filename}",
        filename=filename,
        size=None,
        hash=f"git:{blob}",
        licence="none stated",
        input_size=(224, 224),
        shorter_side=256,
        mean=(123.370, 112.757, 99.406),
        std=(68.998, 66.093, 68.292),
        channel_order="RGB",
        classes=1000,
        class_order="WordNet id",
        top1_error=top1_error,
        top5_error=top5_error,
        parameters=parameters,
        source=IGC_SOURCE,
        source_commit=IGC_COMMIT,
        paper="https://arxiv.org/abs/1707.02725",
    )


REGISTRY: tuple[WeightsInfo, ...] = (
    _igc(
        "IGC_L100M2", "IGC-L100M2_ImageNet", "resnet_gcwf_noshare_imagenet_d18b100",
        "1dee63a039d71a5bbe0ada0343372534538e7bd8", 8_637_900, 26.95, 8.92,
    ),
    _igc(
        "IGC_L16M16", "IGC-L16M16_ImageNet", "resnet_gcwf_noshare_imagenet_d18b16",
        "a96f44a0f7ae49241351efc451195e4fdf4d0bfc", 13_528_296, 29.40, 10.32,
    ),
    _igc(
        "IGC_L4M32", "IGC-L4M32_ImageNet", "resnet_gcwf_noshare_imagenet_d18b4",
        "e13f33740800f06378006b90da35d8edc971eabf", 12_251_240, 30.77, 10.99,
    ),
    _igc(
        "IGCResNet18_C64", "ResNet18-w64_ImageNet", "resnet_d18",
        "3d926978e2d8e6b4d145bbaca618a71b2bda9402", 11_689_512, 31.06, 11.38,
    ),
    _igc(
        "IGCResNet18_C69", "ResNet18-w69_ImageNet", "resnet_d18_w69",
        "11bb29afd5f71d00ff472afb0aa8240f4edbaa2c", 13_542_457, 30.58, 10.77,
    ),
)  # fmt: skip


def find(network: str | None, tag: str) -> WeightsInfo | None:
    """The record of a network's tag, or None."""
    return next((r for r in REGISTRY if r.network == network and r.tag == tag), None)


@overload
def weights_info(network: str, tag: str) -> WeightsInfo: ...
@overload
def weights_info(network: str | None = None, tag: None = None) -> tuple[WeightsInfo, ...]: ...
def weights_info(network=None, tag=None):
    """What is known of the published weights.

    Args:
        network: name of a constructor, or None for all.
        tag: one of the network's tags, or None for all.

    Returns:
        One `WeightsInfo` where both are given, otherwise a tuple of them (empty for a network
        that nothing is published for).

    Raises:
        WeightsError: (a `ValueError`) both are given and there is no such file.

    Example:
        >>> from keras_mg import weights
        >>> weights.weights_info("IGC_L100M2", "imagenet").mean
        (123.37, 112.757, 99.406)
        >>> [record.tag for record in weights.weights_info("IGC_L100M2")]
        ['imagenet']
    """
    if tag is None:
        return tuple(r for r in REGISTRY if network in (None, r.network))
    record = find(network, tag)
    if record is None:
        known = ", ".join(f"{r.network} {r.tag!r}" for r in REGISTRY)
        raise WeightsError(
            f"no published weights {tag!r} for network {network!r}. Published: {known}."
        )
    return record
