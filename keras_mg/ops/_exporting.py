"""Whether torch is making something of a network that others are to run."""

from __future__ import annotations

import inspect

import torch


def is_exporting() -> bool:
    """Whether a call is recorded by `torch.export`, `torch.onnx` or `torch.jit.trace`.

    What is recorded has to be good for batches of other sizes, and made of operations that others
    know: no branch on values or on the batch, none of torch's kernels for CPUs alone, none of ours.
    """
    return torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()


def is_converting() -> bool:
    """Whether `torch.export` runs a call that it records; not where dynamo reads it (`strict`)."""
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def refuse_other_strides(kernel: torch.Tensor) -> None:
    """What litert-torch may be given: kernels that are stored in order.

    It knows a constant by its address and shape. Of a kernel with other strides it takes those of
    a copy that it lets go of, where the copy of the next kernel of that shape then comes to lie:
    the file has the first one's values in both places, and nothing says so.

    Args:
        kernel: the variable's tensor, or what stands for it in the record.

    Raises:
        ValueError: if litert-torch is recording and the strides are others.
    """
    frame = None if kernel.is_contiguous() else inspect.currentframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__")).split(".")[0] == "litert_torch":
            raise ValueError(
                "litert-torch mixes up kernels that are not stored in the order of their axes. "
                'Export by `keras_mg.Model.export(..., format="litert")`, or inside `with '
                "keras_mg.training.stored_in_order(model):`. Received: a kernel of shape "
                f"{tuple(kernel.shape)} with strides {tuple(kernel.stride())}"
            )
        frame = frame.f_back
