"""One table of the public layers: what `tests/layers/test_every_layer*.py` check."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from keras_mg import layers
from tests.support import reference

Shape = tuple[int, int, int]  # height, width, channels


class Case(NamedTuple):
    name: str
    layer: type
    arguments: dict[str, Any]
    inputs: list[Shape]  # of one example
    reference: Callable
    smallest: list[Shape]  # inputs whose maps end as single pixels
    single: bool = True  # whether one input is a tensor rather than a list of one

    def make(self, **settings):
        return self.layer(**self.arguments, **settings)

    def nested(self, values):
        """The inputs as the layer takes them."""
        return values[0] if self.single and len(self.inputs) == 1 else list(values)

    def shapes(self, batch=2, unknown_sides=False, shapes=None):
        """Channels-last shapes with a batch axis."""
        return [
            (batch, *((None, None) if unknown_sides else shape[:2]), shape[2])
            for shape in shapes or self.inputs
        ]


def _image(channels, height=6, width=5):
    return [(height, width, channels)]


def _pyramid(*channels, side=7, other=5):
    """Odd sides, so that every grid meets the ceil mode or the cut."""
    shapes = []
    for c in channels:
        shapes.append((side, other, c))
        side, other = -(-side // 2), -(-other // 2)
    return shapes


def _pixels(shapes):
    return [(1, 1, c) for *_, c in shapes]


def _single(layer, function, inputs, **variants):
    pixels = _pixels(inputs)
    return [
        Case(f"{layer.__name__}-{v}", layer, a, inputs, function, pixels)
        for v, a in variants.items()
    ]


def _pyramid_case(layer, function, name, inputs, **arguments):
    return Case(
        f"{layer.__name__}-{name}", layer, arguments, inputs, function, _pixels(inputs), False
    )


_SMOOTHER = {
    "shared": {},
    "own": {"share_smoother": False},
    "three_shared": {"iterations": 3},
    "last": {"return_residual": False},
    "last_own": {"return_residual": False, "share_smoother": False, "iterations": 3},
    "one": {"iterations": 1},
    "one_last": {"iterations": 1, "return_residual": False},
}

CASES = [
    *_single(
        layers.Convolution,
        reference.convolution,
        _image(4),
        plain={"filters": 3},
        strided={"filters": 3, "strides": 2, "use_bias": True},
        grouped={"filters": 6, "groups": 2, "strides": 2},
        wide={"filters": 2, "kernel_size": 7, "strides": 2, "kernel_initializer": "he_uniform"},
        pointwise={"filters": 6, "kernel_size": 1, "groups": 2},
    ),
    *_single(
        layers.ConvNormActivation,
        reference.conv_norm_activation,
        _image(4),
        plain={"filters": 3},
        bias={"filters": 4, "strides": 2, "use_bias": True, "groups": 4},
        linear={"filters": 3, "kernel_size": 1, "activation": None, "epsilon": 1e-3},
        tanh={"filters": 3, "activation": "tanh", "momentum": 0.7},
    ),
    *_single(
        layers.TransposedConvNormActivation,
        reference.transposed_conv_norm_activation,
        _image(4),
        plain={"filters": 3},
        linear={"filters": 2, "activation": None, "epsilon": 1e-3, "momentum": 0.5},
    ),
    *_single(
        layers.ResidualBlock,
        reference.residual_block,
        _image(4),
        identity={"filters": 4},
        wider={"filters": 6, "strides": 2, "use_bias": True},
        narrower={"filters": 3, "norm_after_add": True},
        after_add={"filters": 6, "strides": 2, "norm_after_add": True, "activation": None},
        projected={"filters": 5, "strides": 2, "shortcut": "B"},
        B={"filters": 4, "shortcut": "B", "activation": None, "use_bias": True},
        B_after_add={"filters": 6, "shortcut": "B", "norm_after_add": True, "momentum": 0.5},
    ),
    *_single(
        layers.NormActivation,
        reference.norm_activation,
        _image(3),
        plain={},
        linear={"activation": None, "epsilon": 0.1},
        tanh={"activation": "tanh", "momentum": 0.99},
    ),
    Case(
        "MaxPool-padded",
        layers.MaxPool,
        {"pool_size": 3, "padding": 1},
        _image(3),
        reference.max_pool_layer,
        _image(3, 1, 1),
    ),
    Case(
        "MaxPool-plain",
        layers.MaxPool,
        {"pool_size": 2},
        _image(3, 7, 5),
        reference.max_pool_layer,
        _image(3, 2, 2),
    ),
    Case(
        "MaxPool-strides_1",
        layers.MaxPool,
        {"pool_size": 3, "strides": 1},
        _image(3),
        reference.max_pool_layer,
        _image(3, 3, 3),
    ),
    Case(
        "MultigridInput-cifar",
        layers.MultigridInput,
        {"filters": (4, 3, 2)},
        _image(3, 12, 8),
        reference.multigrid_input,
        _image(3, 4, 4),
    ),
    Case(
        "MultigridInput-one_grid",
        layers.MultigridInput,
        {"filters": (4,)},
        _image(2, 5, 3),
        reference.multigrid_input,
        _image(2, 1, 1),
    ),
    Case(
        "MultigridInput-imagenet",
        layers.MultigridInput,
        {"filters": (3, 2), "kind": "imagenet"},
        _image(3, 16, 24),
        reference.multigrid_input,
        _image(3, 8, 8),
    ),
    *(
        _pyramid_case(layers.MultigridConv, reference.multigrid_conv, name, inputs, **arguments)
        for name, inputs, arguments in (
            ("plain", _pyramid(2, 3, 2), {"filters": (4, 3, 2)}),
            ("sizes", _pyramid(2, 1, 3), {"filters": (2, 3, 4), "kernel_size": (5, 3, 1)}),
            ("drop", _pyramid(2, 3, 2), {"filters": (4, 3), "drop_coarsest": True}),
            ("one_grid", _pyramid(3), {"filters": (4,), "epsilon": 1e-3}),
            ("linear", _pyramid(2, 3), {"filters": (2, 2), "activation": None, "dropout": 0.0}),
            ("tanh", _pyramid(2, 3), {"filters": (2, 2), "activation": "tanh", "momentum": 0.5}),
        )
    ),
    *(
        _pyramid_case(
            layers.MultigridResidual, reference.multigrid_residual, name, inputs, **arguments
        )
        for name, inputs, arguments in (
            ("A", _pyramid(2, 3, 2), {"filters": (2, 5, 1)}),
            ("B", _pyramid(2, 3, 2), {"filters": (2, 5, 1), "shortcut": "B", "kernel_size": 1}),
            ("C", _pyramid(2, 3), {"filters": (2, 2), "shortcut": "C", "kernel_size": (3, 1)}),
            ("drop", _pyramid(2, 3, 2), {"filters": (4, 3), "drop_coarsest": True}),
            ("linear", _pyramid(2, 3), {"filters": (2, 2), "activation": None}),
            ("one_grid", _pyramid(3), {"filters": (4,), "momentum": 0.5, "epsilon": 1e-3}),
        )
    ),
    *(
        _pyramid_case(
            layers.MultigridTransposedConv,
            reference.multigrid_transposed_conv,
            name,
            _pyramid(2, 3, 2),
            filters=(4, 1, 2),
            **arguments,
        )
        for name, arguments in (("plain", {}), ("linear", {"activation": None, "epsilon": 1e-3}))
    ),
    _pyramid_case(layers.MultigridPool, reference.multigrid_pool, "plain", _pyramid(2, 3, 1)),
    _pyramid_case(
        layers.MultigridPool, reference.multigrid_pool, "merge", _pyramid(2, 3, 1), merge=True
    ),
    _pyramid_case(
        layers.MultigridPool,
        reference.multigrid_pool,
        "drop",
        _pyramid(2, 3, 1),
        drop_coarsest=True,
    ),
    *_single(
        layers.IGCBlock,
        reference.igc_block,
        _image(6),
        complementary={"filters": 6, "primary_partitions": 3, "secondary_partitions": 2},
        strided={"filters": 12, "primary_partitions": 3, "secondary_partitions": 4, "strides": 2},
        released={
            "filters": 12,
            "primary_partitions": 6,
            "secondary_partitions": 3,
            "epsilon": 1e-3,
        },
        linear={
            "filters": 6,
            "primary_partitions": 2,
            "secondary_partitions": 3,
            "activation": None,
            "momentum": 0.99,
        },
    ),
    *_single(
        layers.IGCResidual,
        reference.igc_residual,
        _image(6),
        identity={"filters": 6, "primary_partitions": 3, "secondary_partitions": 2},
        wider={
            "filters": 12,
            "primary_partitions": 3,
            "secondary_partitions": (2, 4),
            "strides": 2,
        },
        projected={
            "filters": 6,
            "primary_partitions": 2,
            "secondary_partitions": 3,
            "project": True,
        },
        strided={"filters": 6, "primary_partitions": 2, "secondary_partitions": 3, "strides": 2},
    ),
    *(
        Case(
            f"MgNetSmoother-{'ur' if count == 2 else 'f'}_{name}",
            layers.MgNetSmoother,
            {"filters": 3, **arguments},
            _image(3) * count,
            reference.mgnet_smoother,
            _image(3, 1, 1) * count,
        )
        for count in (1, 2)
        for name, arguments in _SMOOTHER.items()
    ),
    Case(
        "MgNetRestriction",
        layers.MgNetRestriction,
        {"filters": 5},
        _image(3) * 2,
        reference.mgnet_restriction,
        _image(3, 1, 1) * 2,
    ),
]

# For what does not hang on the numbers of the arguments: the first row of each layer, and those
# that hold other sublayers than it does.
_HOLD_OTHERS = (
    "MultigridConv-drop",
    "MultigridInput-imagenet",
    "MultigridResidual-C",
    "ResidualBlock-projected",
    "IGCResidual-wider",
    "MgNetSmoother-ur_own",
    "MgNetSmoother-ur_last",
)
ONE_OF_EACH = [
    case
    for i, case in enumerate(CASES)
    if case.name in _HOLD_OTHERS or case.layer not in [c.layer for c in CASES[:i]]
]


def _parametrize(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


every_layer = _parametrize(CASES)
one_of_each_layer = _parametrize(ONE_OF_EACH)
