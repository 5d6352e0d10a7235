"""Convolutions of grids with their neighbours, as one or split, against the formula in torch."""

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from keras_mg import ops  # noqa: E402
from keras_mg.ops import _backend  # noqa: E402
from keras_mg.ops import _keras_ops as keras_ops  # noqa: E402
from tests.support import reference  # noqa: E402

torch_only = pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch's gradients")


def variables(inputs, filters, size):
    generator = np.random.default_rng(3)
    kernel = keras.Variable(generator.normal(size=(size, size, inputs, filters)), dtype="float32")
    return kernel, keras.Variable(generator.normal(size=filters), dtype="float32")


def native(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(memory_format=torch.channels_last)
    return x.requires_grad_()


# Sides of the finest grid, size of the kernels, and whether the finest is split.
CASES = {
    "large": ((100, 52), 3, True),
    "small": ((8, 8), 3, False),
    "odd height": ((101, 52), 3, False),
    "odd width": ((100, 53), 3, False),
    "1x1 kernel": ((100, 52), 1, False),
}


@torch_only
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients(name, with_bias):
    (height, width), size, splits = CASES[name]
    widths, filters = (5, 3, 4), 6
    grids = []
    for channels in widths:
        grids.append(native(2, channels, height, width, seed=channels))
        height, width = -(-height // 2), -(-width // 2)
    mixed = reference.resample_concat(grids)
    for i, x in enumerate(mixed):
        kernel, bias = variables(x.shape[1], filters, size)
        bias = bias if with_bias else None
        split = i == 0 and _backend.splits_upsampling(grids[0], kernel, size // 2)
        assert split is (splits and i == 0)
        y = ops.resample_conv(grids, i, kernel, bias, size // 2, "channels_first")
        weight = kernel.value.permute(3, 2, 0, 1)
        formula = torch.nn.functional.conv2d(
            x, weight, None if bias is None else bias.value, 1, size // 2
        )
        weights = [kernel.value, *([bias.value] if with_bias else [])]
        sources = [*weights, *grids[max(i - 1, 0) : i + 2]]
        g = torch.randn(y.shape, generator=torch.Generator().manual_seed(9))
        got = torch.autograd.grad(y, sources, g, retain_graph=True)
        wanted = torch.autograd.grad(formula, sources, g, retain_graph=True)
        for a, b in zip((y, *got), (formula, *wanted), strict=True):
            assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@torch_only
def test_the_split_convolution_keeps_the_memory_format_and_compiles():
    grids = [native(2, c, s, s) for c, s in ((5, 80), (3, 40))]
    kernel, bias = variables(8, 6, 3)

    def convolve(*grids):
        return ops.resample_conv(grids, 0, kernel, bias, 1, "channels_first")

    y = convolve(*grids)
    assert y.is_contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(convolve, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*grids), y)


@torch_only
def test_in_bfloat16():
    grids = [native(2, c, s, s).bfloat16() for c, s in ((5, 80), (3, 40))]
    kernel, _ = variables(8, 6, 3)
    exact = ops.resample_conv([g.float() for g in grids], 0, kernel, None, 1, "channels_first")
    half = keras.Variable(kernel.value.detach(), dtype="bfloat16")
    y = ops.resample_conv(grids, 0, half, None, 1, "channels_first")
    assert y.dtype == torch.bfloat16
    assert (y - exact).abs().max() <= 0.02 * exact.abs().max()


def test_other_backends_compute_the_formula():
    kernel, bias = variables(8, 6, 3)
    fine, coarse = (native(2, c, s, s).detach() for c, s in ((5, 80), (3, 40)))
    x, above = (t.permute(0, 2, 3, 1).contiguous().numpy() for t in (fine, coarse))
    assert not keras_ops.splits_upsampling(x, kernel, 1)
    y = keras_ops.conv2d_upsampled(x, above, kernel, bias, "channels_last")
    weight = torch.tensor(keras.ops.convert_to_numpy(kernel)).permute(3, 2, 0, 1)
    mixed = torch.cat([fine, torch.nn.functional.interpolate(coarse, scale_factor=2.0)], 1)
    formula = torch.nn.functional.conv2d(
        mixed, weight, torch.tensor(keras.ops.convert_to_numpy(bias)), 1, 1
    ).permute(0, 2, 3, 1)
    difference = np.abs(keras.ops.convert_to_numpy(y) - formula.numpy()).max()
    assert difference <= 1e-5 * formula.abs().max()
