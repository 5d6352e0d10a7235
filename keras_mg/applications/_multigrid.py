"""The trunk of the multigrid classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from keras_mg.layers import MultigridConv, MultigridInput, MultigridPool, MultigridResidual
from keras_mg.layers.initializers import unit_uniform


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
    def gamma_initializer(self):
        return "ones" if self.residual else unit_uniform()

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
        return MultigridConv(gamma_initializer=network.gamma_initializer, **settings)

    grids = MultigridInput(
        network.input_filters,
        kind=network.kind,
        epsilon=network.epsilon,
        gamma_initializer=network.gamma_initializer,
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


def progressive_start(widths: Sequence[tuple[int, ...]], layers: int) -> tuple[Block, ...]:
    """Blocks of `layers` layers for the coarsest grid alone, the two coarsest, and so on."""
    return tuple(Block(w, layers) for w in widths)
