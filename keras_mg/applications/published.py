"""What the authors of the networks published of them, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MULTIGRID = "Ke et al., CVPR 2017, table of CIFAR-100 results"
MULTIGRID_IMAGENET = "Ke et al., CVPR 2017, table of ImageNet results"
IGC = "Zhang et al., ICCV 2017, table of ImageNet results"
IGC_LOG = "training log of the IGC authors"
MGNET = "MgNet papers, tables of CIFAR results"
MGNET_IMAGENET = "MgNet papers, tables of ImageNet results"
TORCH_RESNET = "notes of the Torch7 release"
RESNET = "He et al., 2015, table 6 (of their own form of the network)"

PARAMETERS, FLOPS = "parameters", "FLOPs"
ERROR, TOP1, TOP5, TOP1_OF_10 = "error", "top-1 error", "top-5 error", "top-1 error of 10 crops"
ACCURACY = "accuracy"


@dataclass(frozen=True)
class PublishedFigure:
    """One figure that the authors of a network published.

    Args:
        metric: what it measures: "parameters", "FLOPs" (as printed: multiply-accumulates), "error",
            "top-1 error", "top-5 error", "top-1 error of 10 crops" or "accuracy".
        value: the figure as printed, in `unit`.
        unit: "million", "billion" or "%".
        dataset: the data set that an error or accuracy was measured on, otherwise None.
        source: where the figure stands, in words.
    """

    metric: str
    value: float
    unit: str
    dataset: str | None
    source: str

    def __str__(self) -> str:
        on = f" on {self.dataset}" if self.dataset else ""
        return f"{self.metric} {self.value:g} {self.unit}{on} ({self.source})"


@dataclass(frozen=True)
class Published:
    """The figures of one network.

    Args:
        network: name of the constructor.
        figures: what was published.
        where: the constructor's arguments that they belong to: for each one the values that do.
            Arguments that are not named here must have their defaults.
    """

    network: str
    figures: tuple[PublishedFigure, ...]
    where: Mapping[str, tuple] = field(default_factory=dict)

    def describes(self, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
        """Whether a network made with the arguments `values` is the published one."""
        return all(value in self.where.get(k, (defaults[k],)) for k, value in values.items())


def find(network: str, values: Mapping[str, Any], defaults: Mapping[str, Any]):
    """The figures of a network made with the arguments `values`."""
    return tuple(
        figure
        for record in PUBLISHED
        if record.network == network and record.describes(values, defaults)
        for figure in record.figures
    )


def _multigrid(row: str, names: Iterable[str], kind: str) -> Iterable[Published]:
    for name, printed in zip(names, row.split(" | "), strict=True):
        parameters, flops, error = map(float, printed.split())
        yield Published(
            f"{kind}{name}",
            (
                PublishedFigure(PARAMETERS, parameters, "million", None, MULTIGRID),
                PublishedFigure(FLOPS, flops, "million", None, MULTIGRID),
                PublishedFigure(ERROR, error, "%", "CIFAR-100", MULTIGRID),
            ),
        )


def _igc(name: str, top1: float, top5: float, *others: PublishedFigure) -> Published:
    errors = (
        PublishedFigure(TOP1, top1, "%", "ImageNet", IGC),
        PublishedFigure(TOP5, top5, "%", "ImageNet", IGC),
    )
    return Published(name, (*others, *errors))


def _igc_cifar(name: str, depth: int, parameters: float) -> Published:
    return Published(
        name,
        (PublishedFigure(PARAMETERS, parameters, "million", None, IGC_LOG),),
        {"depth": (depth,), "primary_partitions": (24,), "secondary_partitions": (2,)},
    )


def _resnet(depth: int, released: float, paper: float) -> Published:
    figures = (
        PublishedFigure(ERROR, released, "%", "CIFAR-10", TORCH_RESNET),
        PublishedFigure(ERROR, paper, "%", "CIFAR-10", RESNET),
    )
    return Published(f"ResNet{depth}", figures)


def _resnet_variant(block: str, final_relu: bool, error: float) -> Published:
    return Published(
        "ResNet20",
        (PublishedFigure(ERROR, error, "%", "CIFAR-10", TORCH_RESNET),),
        {"block": (block,), "final_relu": (final_relu,)},
    )


PUBLISHED: tuple[Published, ...] = (
    *_multigrid(
        "8.34 116.63 32.08 | 20.46 391.88 28.39 | 32.58 667.13 29.91 | 44.68 942.38 30.03",
        ("6", "11", "16", "21"),
        "MG",
    ),
    *_multigrid(
        "20.56 457.20 27.84 | 44.79 1007.70 26.79 | 69.02 1558.20 25.29 | 93.26 2108.71 26.32",
        ("12", "22", "32", "42"),
        "RMG",
    ),
    Published(
        "RMG34",
        (
            PublishedFigure(PARAMETERS, 32.9, "million", None, MULTIGRID_IMAGENET),
            PublishedFigure(FLOPS, 5.76, "billion", None, MULTIGRID_IMAGENET),
            PublishedFigure(TOP1, 24.51, "%", "ImageNet", MULTIGRID_IMAGENET),
            PublishedFigure(TOP1_OF_10, 22.42, "%", "ImageNet", MULTIGRID_IMAGENET),
        ),
    ),
    _igc(
        "IGC_L100M2",
        26.95,
        8.92,
        PublishedFigure(PARAMETERS, 8.61, "million", None, IGC),
        PublishedFigure(FLOPS, 1.3, "billion", None, IGC),
    ),
    _igc("IGC_L16M16", 29.40, 10.32),
    _igc("IGC_L4M32", 30.77, 10.99),
    _igc("IGCResNet18_C64", 31.06, 11.38),
    _igc("IGCResNet18_C69", 30.58, 10.77),
    _igc_cifar("IGCPlain", 38, 0.3172),
    _igc_cifar("IGCResNet", 20, 0.1644),
    Published(
        "MgNet",
        (
            PublishedFigure(PARAMETERS, 8.2, "million", None, MGNET),
            PublishedFigure(ACCURACY, 96.00, "%", "CIFAR-10", MGNET),
            PublishedFigure(ACCURACY, 79.94, "%", "CIFAR-100", MGNET),
        ),
        {"filters": ((256,) * 4,), "classes": (10, 100)},
    ),
    Published(
        "MgNet",
        # Published without saying which stem; the released code has the 3x3 one alone.
        (
            PublishedFigure(PARAMETERS, 71.3, "million", None, MGNET_IMAGENET),
            PublishedFigure(ACCURACY, 78.59, "%", "ImageNet", MGNET_IMAGENET),
        ),
        {
            "iterations": ((3, 4, 6, 3),),
            "filters": ((128, 256, 512, 1024),),
            "share_smoother": (False,),
            "stem": ("cifar", "imagenet"),
            "classes": (1000,),
        },
    ),
    _resnet(20, 8.4473, 8.75),
    _resnet(32, 7.9102, 7.51),
    _resnet(44, 7.5684, 7.17),
    _resnet(56, 6.3477, 6.97),
    _resnet(110, 6.7871, 6.61),
    _resnet_variant("bn_after_add", True, 8.3496),
    _resnet_variant("bn_before_add", False, 8.9355),
    _resnet_variant("bn_after_add", False, 7.9102),
)
