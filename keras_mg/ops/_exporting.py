"""Whether torch is making something of a network that others are to run."""

from __future__ import annotations

import torch


def is_exporting() -> bool:
    """Whether a call is recorded by `torch.export`, `torch.onnx` or `torch.jit.trace`.

    What is recorded has to be good for batches of other sizes, and made of operations that others
    know: no branch on values or on the batch, none of torch's kernels for CPUs alone, none of ours.
    """
    return torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()
