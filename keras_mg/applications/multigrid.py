"""Multigrid image classifiers: (P)MG and (P)R-MG for CIFAR, R-MG and PR-MG-seg for ImageNet.

Paper: Ke, Maire, Yu, "Multigrid Neural Architectures", CVPR 2017, https://arxiv.org/abs/1611.07661.
Original code: Torch7, https://github.com/buttomnutstoast/Multigrid-Neural-Architectures. This file
is written from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic. The 7x7 average pooling before the
ImageNet classifier is a global one, so that other image sizes work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import keras

from keras_mg.applications import constructor, imagenet, preprocessing
from keras_mg.applications.signatures import Option
from keras_mg.layers import MultigridConv, MultigridInput, MultigridPool, MultigridResidual

# Of RGB images in 0..255, as the authors normalise ImageNet.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

decode_predictions = imagenet.decode_predictions


def preprocess_input(x, data_format: str | None = None):
    """Normalise RGB images for the ImageNet networks: `(x - mean) / std` per channel.

    Args:
        x: array or tensor, images with values 0 to 255, 3D or 4D.
        data_format: "channels_last", "channels_first" or None for Keras's global setting.

    Returns:
        An array or tensor of the same shape, floating point; `x` is unchanged.

    Raises:
        ValueError: if `x` is not 3D or 4D or has not three channels.
    """
    return preprocessing.normalize(x, IMAGENET_MEAN, IMAGENET_STD, data_format)


@dataclass(frozen=True)
class Block:
    """`layers` layers of one kind, with what follows them."""

    filters: tuple[int, ...]  # per grid, finest first
    layers: int
    kernel_size: tuple[int, ...] | int = 3
    dropout: float = 0.0
    pool: bool = False  # a pooling of all grids follows
    merge: bool = False  # ... which makes one of the two coarsest


@dataclass(frozen=True)
class Network:
    """A multigrid classifier as a table row."""

    kind: str  # of the input layer
    input_filters: tuple[int, ...]
    blocks: tuple[Block, ...]
    residual: bool
    start: tuple[Block, ...] = ()  # progressive start: block i works on the i + 1 coarsest grids
    shortcut: str = "A"

    @property
    def epsilon(self) -> float:
        return 1e-5 if self.residual else 1e-3

    @property
    def first_level(self) -> int:
        return 2 if self.kind == "imagenet" else 0


def trunk(network: Network, images, common: dict) -> dict[int, keras.KerasTensor]:
    """The deepest feature map of each level of `network`."""

    def layer(block: Block, name: str):
        settings = {
            **common,
            "filters": block.filters,
            "kernel_size": block.kernel_size,
            "dropout": block.dropout,
            "epsilon": network.epsilon,
            "name": name,
        }
        if network.residual:
            return MultigridResidual(shortcut=network.shortcut, **settings)
        return MultigridConv(**settings)

    grids = MultigridInput(
        network.input_filters,
        kind=network.kind,
        epsilon=network.epsilon,
        name="stem",
        **common,
    )(images)
    level = network.first_level
    for block in network.start:
        finer = len(grids) - len(block.filters)
        waiting, used = grids[:finer], grids[finer:]
        for i in range(block.layers):
            used = layer(block, f"start{len(block.filters)}_layer{i + 1}")(used)
        grids = [*waiting, *used]
    levels: dict[int, keras.KerasTensor] = {}
    for b, block in enumerate(network.blocks, 1):
        for i in range(block.layers):
            grids = layer(block, f"block{b}_layer{i + 1}")(grids)
        levels |= {level + i: grid for i, grid in enumerate(grids)}
        if block.pool:
            grids = MultigridPool(merge=block.merge, name=f"block{b}_pool", **common)(grids)
            level += 1
            levels |= {level + i: grid for i, grid in enumerate(grids)}
    return levels


_CIFAR_WIDTHS = ((64, 32, 16), (128, 64, 32), (256, 128, 64), (512, 256, 128), (512, 384))
_DROPOUT = (0.0, 0.1, 0.2, 0.3, 0.4)  # published rates, per block


def _progressive(widths: Sequence[tuple[int, ...]], layers: int) -> tuple[Block, ...]:
    return tuple(Block(w, layers) for w in widths)


def cifar_network(layers: int, residual: bool, progressive: bool, dropout: bool) -> Network:
    """A CIFAR network with `layers` layers per block."""
    blocks = []
    for b, widths in enumerate(_CIFAR_WIDTHS):
        # In the last two blocks the coarsest grid is a single pixel, or about to be.
        kernel_size = (3,) * (len(widths) - 1) + (1 if b >= 3 else 3,)
        count = layers
        if b == 0 and progressive:
            count = 0  # the start replaces the first block's layers
        elif b == 0 and not residual:
            count = layers - 1  # the input layer is the first of them
        rate = _DROPOUT[b] if dropout else 0.0
        blocks.append(Block(widths, count, kernel_size, rate, pool=True, merge=b >= 3))
    first = _CIFAR_WIDTHS[0]
    start = _progressive([first[-i:] for i in (1, 2, 3)], layers) if progressive else ()
    return Network("cifar", first, tuple(blocks), residual, start)


def imagenet_network(layers: Sequence[int]) -> Network:
    """R-MG with `layers` residual blocks at each resolution."""
    widths = ((64, 32, 16), (128, 64, 32), (256, 128), (512,))
    blocks = tuple(
        Block(w, n, pool=i < 3, merge=0 < i < 3)
        for i, (w, n) in enumerate(zip(widths, layers, strict=True))
    )
    return Network("imagenet", (64, 32, 16), blocks, residual=True)


def segmentation_network(start_layers: int, layers: Sequence[int], shortcut: str) -> Network:
    """PR-MG-seg with `start_layers` residual blocks per step of the start."""
    start = _progressive([(w,) * n for n, w in enumerate((8, 16, 32, 64), 1)], start_layers)
    widths = ((64, 64, 64, 128), (64, 64, 128, 256), (64, 128, 256, 512))
    blocks = tuple(Block(w, n) for w, n in zip(widths, layers, strict=True))
    return Network("imagenet", (64, 32, 16, 8), blocks, True, start, shortcut)


REFERENCE = "[Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)"

_DROPOUT_OPTION = Option(
    False, "bool", "bool, whether training drops features at the published rates (0 to 0.4)."
)
_SHORTCUT_OPTION = Option(
    "B", "str", 'kind of the shortcuts, "A", "B" or "C" (see `MultigridResidual`).'
)


def _cifar(name: str, layers: int, residual: bool = False, progressive: bool = False):
    kind = f"{'progressive ' if progressive else ''}{'residual ' if residual else ''}multigrid"
    options = {} if name.startswith("MG") else {"dropout": _DROPOUT_OPTION}

    def make_trunk(dropout: bool = False) -> constructor.Trunk:
        return partial(trunk, cifar_network(layers, residual, progressive, dropout))

    return constructor.classifier_constructor(
        name,
        f"""{name}: a {kind} network for 32x32 images, {layers} layer(s) per block.

    Five blocks of multigrid {"residual blocks" if residual else "convolutions"} on three grids, the
    last on two; a pooling follows each. Height and width of the image are multiples of 4.
    """,
        make_trunk,
        default_shape=(32, 32, 3),
        classes=100,
        reference=REFERENCE,
        module=__name__,
        zero_bias=residual,
        options=options,
    )


def _imagenet(name: str, layers: Sequence[int]):
    def make_trunk() -> constructor.Trunk:
        return partial(trunk, imagenet_network(layers))

    return constructor.classifier_constructor(
        name,
        f"""{name}: a residual multigrid network for ImageNet.

    Three grids at 1/4, 1/8 and 1/16 of the image's side are convolved together; the four stages
    have {", ".join(map(str, layers))} residual blocks, and the poolings between them merge the
    grids into one. Height and width of the image are multiples of 16.
    """,
        make_trunk,
        default_shape=(224, 224, 3),
        classes=1000,
        reference=REFERENCE,
        module=__name__,
    )


def _segmentation(name: str, start_layers: int, layers: Sequence[int]):
    def make_trunk(shortcut: str) -> constructor.Trunk:
        return partial(trunk, segmentation_network(start_layers, layers, shortcut))

    return constructor.classifier_constructor(
        name,
        f"""{name}: a progressive residual multigrid network for ImageNet that keeps its grids.

    Four grids at 1/4 to 1/32 of the image's side; the classifier reads the coarsest, and
    `pyramid_outputs=True` gives all four, of which a segmentation head reads the finest ("P2").
    Height and width of the image are multiples of 32.
    """,
        make_trunk,
        default_shape=(224, 224, 3),
        classes=1000,
        reference=REFERENCE,
        module=__name__,
        options={"shortcut": _SHORTCUT_OPTION},
    )


MG6 = _cifar("MG6", 1)
MG11 = _cifar("MG11", 2)
MG16 = _cifar("MG16", 3)
MG21 = _cifar("MG21", 4)
PMG9 = _cifar("PMG9", 1, progressive=True)
PMG16 = _cifar("PMG16", 2, progressive=True)
PMG23 = _cifar("PMG23", 3, progressive=True)
PMG30 = _cifar("PMG30", 4, progressive=True)
RMG12 = _cifar("RMG12", 1, residual=True)
RMG22 = _cifar("RMG22", 2, residual=True)
RMG32 = _cifar("RMG32", 3, residual=True)
RMG42 = _cifar("RMG42", 4, residual=True)
PRMG16 = _cifar("PRMG16", 1, residual=True, progressive=True)
PRMG30 = _cifar("PRMG30", 2, residual=True, progressive=True)
PRMG44 = _cifar("PRMG44", 3, residual=True, progressive=True)
PRMG58 = _cifar("PRMG58", 4, residual=True, progressive=True)
RMG18 = _imagenet("RMG18", (2, 2, 2, 2))
RMG34 = _imagenet("RMG34", (3, 4, 6, 3))
PRMGSeg30 = _segmentation("PRMGSeg30", 2, (2, 2, 2))
PRMGSeg52 = _segmentation("PRMGSeg52", 3, (4, 6, 3))
