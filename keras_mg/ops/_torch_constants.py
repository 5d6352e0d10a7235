"""Small arrays that are copied to the device once (torch)."""

from __future__ import annotations

import numpy as np
import torch

_constants: dict[tuple, torch.Tensor] = {}


def constant(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """A small array with the type and on the device of a tensor, copied there once.

    Copying from ordinary memory makes the host wait until the device has done all it was given.

    Args:
        array: few numbers that come back in every batch.
        like: a tensor of floats.
    """
    # A tensor that is made without any record of gradients cannot be kept for steps that have one.
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
        return torch.as_tensor(array, dtype=like.dtype, device=like.device)
    key = (array.tobytes(), array.dtype.str, array.shape, like.dtype, like.device)
    known = _constants.get(key)
    if known is None or type(like) is not torch.Tensor:
        known = torch.as_tensor(array, dtype=like.dtype, device=like.device)
        # The tensors of torch's other tracers cannot be kept.
        if type(known) is torch.Tensor:
            _constants[key] = known
    return known
