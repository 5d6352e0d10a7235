"""What the multigrid classifiers for CIFAR share: grids, widths, dropout, printed figures."""

from __future__ import annotations

from functools import partial

from keras_mg.applications._builder import classifier
from keras_mg.applications._multigrid import Block, Network, progressive_start, trunk
from keras_mg.applications._records import PublishedFigure
from keras_mg.training import Model

FAMILY = "multigrid"
SHAPE = (32, 32, 3)
SOURCE = "Ke et al., CVPR 2017, table of CIFAR-100 results"

WIDTHS = ((64, 32, 16), (128, 64, 32), (256, 128, 64), (512, 256, 128), (512, 384))
DROPOUT = (0.0, 0.1, 0.2, 0.3, 0.4)  # published rates, per block


def printed(parameters: float, flops: float, error: float) -> tuple[PublishedFigure, ...]:
    """A row of the paper's table: millions, millions, per cent."""
    return (
        PublishedFigure("parameters", parameters, "million", None, SOURCE),
        PublishedFigure("FLOPs", flops, "million", None, SOURCE),
        PublishedFigure("error", error, "%", "CIFAR-100", SOURCE),
    )


def _network(layers: int, residual: bool, progressive: bool, dropout: bool) -> Network:
    """The network with `layers` layers per block."""
    blocks = []
    for b, widths in enumerate(WIDTHS):
        # In the last two blocks the coarsest grid is a single pixel, or about to be.
        kernel_size = (3,) * (len(widths) - 1) + (1 if b >= 3 else 3,)
        count = layers
        if b == 0 and progressive:
            count = 0  # the start replaces the first block's layers
        elif b == 0 and not residual:
            count = layers - 1  # the input layer is the first of them
        rate = DROPOUT[b] if dropout else 0.0
        blocks.append(Block(widths, count, kernel_size, rate, pool=True, merge=b >= 3))
    first = WIDTHS[0]
    start = progressive_start([first[-i:] for i in (1, 2, 3)], layers) if progressive else ()
    return Network("cifar", first, tuple(blocks), residual, start)


def cifar(
    network: str,
    layers: int,
    residual: bool = False,
    progressive: bool = False,
    dropout: bool = False,
    **shared,
) -> Model:
    """The network called `network`; `shared` are the arguments that every constructor has."""
    made = _network(layers, residual, progressive, dropout)
    return classifier(network, partial(trunk, made), SHAPE, zero_bias=residual, **shared)
