"""A convolution in groups of few channels by Triton, as operations of torch.

A matrix unit has nothing to do in a group of two channels: the work is to read the input and to
write the output once. So the kernels multiply without it, and read and write channels-last memory
in order.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os

import torch

# Importing Triton takes too long to do before a kernel runs.
_INSTALLED = importlib.util.find_spec("triton") is not None
# Triton's interpreter runs kernels on a CPU, for tests.
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_PIXELS, _CHANNELS = 32, 64  # of one program
_MOST_PIXELS = 2**31 - _PIXELS  # the kernels count them in 32 bits


def runs_on(device_type: str) -> bool:
    """Whether the kernel runs on devices of this type here."""
    return _INSTALLED and (device_type == "cuda" or _INTERPRETED)


def group_convolution(x, weight, strides: int, padding: int, groups: int):
    """The convolution without bias, summed in float32; arguments as in `group_convolution`."""
    if not runs_on(x.device.type):
        raise RuntimeError(
            "the triton formulation needs the package triton and a CUDA device. "
            f"Received: triton {'installed' if _INSTALLED else 'missing'}, "
            f"device={x.device.type!r}"
        )
    n, _, height, width = _output_shape(x, weight, strides, padding)
    pixels = max(n * height * width, n * x.shape[2] * x.shape[3])
    if pixels > _MOST_PIXELS:
        raise ValueError(
            f"the triton formulation takes batches of at most {_MOST_PIXELS} pixels. "
            f"Received: pixels={pixels}"
        )
    return _forward(x, weight, strides, padding, groups)


def _blocks(pixels: int, channels: int) -> tuple[int, int, dict]:
    """The grid of programs over pixels and channels, and the block of each."""
    wide = min(_CHANNELS, 1 << (channels - 1).bit_length())  # Triton's blocks are powers of two
    size = {"PIXELS": _PIXELS, "CHANNELS": wide}
    return -(-pixels // _PIXELS), -(-channels // wide), size


def _empty(like, n: int, channels: int, height: int, width: int):
    """A channels-last tensor, which `empty` does not give where a side is 1."""
    return like.new_empty((n, height, width, channels)).permute(0, 3, 1, 2)


def _device_of(x):
    """Triton launches on the current device, which need not be the tensor's."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def _output_shape(x, weight, strides: int, padding: int) -> tuple[int, int, int, int]:
    height, width = (
        (side + 2 * padding - size) // strides + 1
        for side, size in zip(x.shape[2:], weight.shape[2:], strict=True)
    )
    return x.shape[0], weight.shape[0], height, width


def _launch(source, weight, target, strides, padding, groups, transposed: bool) -> None:
    from keras_mg.ops._triton_kernels import convolve

    n, channels, height, width = target.shape
    pixels = n * height * width
    outputs, inputs = weight.stride()[:2]
    per_group = weight.shape[0] // groups * outputs
    along = (inputs, outputs) if transposed else (outputs, inputs)
    over_pixels, over_channels, size = _blocks(pixels, channels)
    with _device_of(source):
        convolve[(over_pixels, over_channels)](
            source, weight, target,
            pixels, height, width, *source.shape[2:], channels,
            per_group, *along, *weight.stride()[2:],
            STRIDES=strides, PADDING=padding, ROWS=weight.shape[2], COLUMNS=weight.shape[3],
            TARGETS=channels // groups, SOURCES=source.shape[1] // groups, TRANSPOSED=transposed,
            **size,
        )  # fmt: skip


# Custom operations, so that `torch.compile` takes them into its graph as they are.
@torch.library.custom_op("keras_mg::group_convolution", mutates_args=())
def _forward(
    x: torch.Tensor, weight: torch.Tensor, strides: int, padding: int, groups: int
) -> torch.Tensor:
    y = _empty(x, *_output_shape(x, weight, strides, padding))
    _launch(_dense(x), weight, y, strides, padding, groups, transposed=False)
    return y


@_forward.register_fake
def _(x, weight, strides, padding, groups):
    return _empty(x, *_output_shape(x, weight, strides, padding))


@torch.library.custom_op("keras_mg::group_convolution_backward", mutates_args=())
def _gradients(
    gradient: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    strides: int,
    padding: int,
    groups: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    from keras_mg.ops._triton_kernels import sum_products

    x, gradient = _dense(x), _dense(gradient)
    of_x = _empty(x, *x.shape)
    _launch(gradient, weight, of_x, strides, padding, groups, transposed=True)
    n, channels, height, width = gradient.shape
    entries = weight[0].numel()
    over_pixels, over_channels, size = _blocks(n * height * width, channels)
    split = min(over_pixels, 64)
    parts = x.new_empty((split, *weight.shape), dtype=torch.float32)
    with _device_of(x):
        sum_products[(split, over_channels, entries)](
            x, gradient, parts,
            n * height * width, height, width, *x.shape[2:], channels, over_pixels,
            STRIDES=strides, PADDING=padding, ROWS=weight.shape[2], COLUMNS=weight.shape[3],
            TARGETS=channels // groups, SOURCES=x.shape[1] // groups,
            **size,
        )  # fmt: skip
    # Summed in a fixed order, so that a step repeats.
    return of_x, parts.sum(0).to(weight.dtype)


@_gradients.register_fake
def _(gradient, x, weight, strides, padding, groups):
    return _empty(x, *x.shape), weight.new_empty(weight.shape)


def _dense(x):
    """`x` with its memory in channels-last order."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _remember(ctx, inputs, output):
    x, weight, *ctx.arguments = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx, gradient):
    x, weight = ctx.saved_tensors
    return *_gradients(gradient, x, weight, *ctx.arguments), None, None, None


_forward.register_autograd(_backward, setup_context=_remember)
