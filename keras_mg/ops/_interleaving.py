"""The reordering of channels between group convolutions, in torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from keras_mg.ops._exporting import is_exporting


def interleave(x, groups: int):
    """Channel `a * (channels / groups) + b` moves to `b * groups + a`.

    A CPU runs torch's kernel for it, which is as fast as a copy; reshaping and transposing takes
    twice as long. In a compiled graph the kernel stays a step of its own: fused into the batch norm
    behind it, the reordering is done anew in each of its passes, pixel by pixel.
    """
    # The kernel takes and gives these two layouts only, and is known to torch alone.
    if (
        x.device.type == "cpu"
        and not is_exporting()
        and (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last))
    ):
        if torch.compiler.is_compiling():
            return _opaque(x, groups)
        return F.channel_shuffle(x, groups)
    n, channels, height, width = x.shape
    if x.is_contiguous(memory_format=torch.channels_last):
        # On the NHWC view the reshapes move channels only; on NCHW they would change the layout.
        y = x.permute(0, 2, 3, 1).reshape(n, height, width, groups, channels // groups)
        return y.transpose(3, 4).reshape(n, height, width, channels).permute(0, 3, 1, 2)
    y = x.reshape(n, groups, channels // groups, height, width).transpose(1, 2)
    return y.reshape(n, channels, height, width)


# Of a custom operation a graph knows the shape alone.
@torch.library.custom_op("keras_mg::interleave", mutates_args=())
def _opaque(x: torch.Tensor, groups: int) -> torch.Tensor:
    return torch.native_channel_shuffle(x, groups)


@_opaque.register_fake
def _(x, groups):
    return torch.empty_like(x)


def _remember(ctx, inputs, output):
    x, groups = inputs
    ctx.back = x.shape[1] // groups


def _backward(ctx, gradient):
    if not gradient.is_contiguous():
        gradient = gradient.contiguous(memory_format=torch.channels_last)
    return _opaque(gradient, ctx.back), None


_opaque.register_autograd(_backward, setup_context=_remember)
