"""What processes tell each other while they train (torch)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import distributed

from keras_mg.distribution.processes import num_processes, process_id
from keras_mg.distribution.shares import weight


# Operators of torch's own kind, which a captured graph calls and does not look into: what they read
# of the step's share is looked up when they run.
@torch.library.custom_op("keras_mg::sum_over_processes", mutates_args=())
def sum_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over the processes that have rows."""
    result = values.clone() if weight() else torch.zeros_like(values)
    distributed.all_reduce(result)
    return result


@torch.library.custom_op("keras_mg::gradient_over_processes", mutates_args=())
def gradient_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The gradient by what `sum_over_processes` gave, of those by this process's use of it.

    Each process computes gradients of the mean over its own rows. They are brought to those of the
    mean over all rows before they are added, and back afterwards, so that whatever comes before in
    the network may go on as if there were its own rows alone.
    """
    own = weight()
    result = values * own if own else torch.zeros_like(values)
    distributed.all_reduce(result)
    return result / own if own else torch.zeros_like(values)


@sum_over_processes.register_fake
@gradient_over_processes.register_fake
def _same(values: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(values)


def from_first(value: Any) -> Any:
    """The first process's value, any that can be pickled, in all of them."""
    if num_processes() == 1:
        return value
    values = [value if process_id() == 0 else None]
    distributed.broadcast_object_list(values, 0, device=torch.device("cpu"))
    return values[0]


def of_all(value: Any) -> list[Any]:
    """The values of all processes, any that can be pickled."""
    values: list[Any] = [None] * num_processes()
    distributed.all_gather_object(values, value)
    return values


def largest(*numbers: float) -> list[float]:
    """The largest of each of a few numbers over the processes."""
    values = torch.tensor(numbers, dtype=torch.float64)
    distributed.all_reduce(values, op=distributed.ReduceOp.MAX)
    return values.tolist()


def total(arrays: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The sums of tensors over the processes, computed in double precision on the CPU."""
    if not arrays:
        return []
    flat = torch.cat([a.detach().reshape(-1).to("cpu", torch.float64) for a in arrays])
    distributed.all_reduce(flat)
    parts = flat.split([a.numel() for a in arrays])
    return [p.reshape(a.shape) for p, a in zip(parts, arrays, strict=True)]


@torch.no_grad()
def give(tensors: Sequence[torch.Tensor]) -> None:
    """Let all processes have the first one's values of some tensors, of all devices and layouts."""
    for tensor in tensors:
        held = tensor.detach()
        dense = held.contiguous()
        distributed.broadcast(dense, 0)
        if dense is not held:
            held.copy_(dense)


def rows_of_all(rows: np.ndarray) -> list[np.ndarray]:
    """Arrays of all processes that differ in the number of rows alone."""
    rows = np.ascontiguousarray(rows)
    counts = of_all(len(rows))
    width = rows.dtype.itemsize * math.prod(rows.shape[1:])
    padded = np.zeros((max(counts), width), "uint8")
    padded[: len(rows)] = rows.view("uint8").reshape(len(rows), width)
    gathered = [torch.empty(padded.shape, dtype=torch.uint8) for _ in counts]
    distributed.all_gather(gathered, torch.from_numpy(padded))
    return [
        each.numpy()[:count].reshape(-1).view(rows.dtype).reshape(count, *rows.shape[1:])
        for each, count in zip(gathered, counts, strict=True)
    ]


def in_turn(function: Callable[[], Any]) -> Any:
    """What `function` returns in the first process, which alone calls it, in all of them."""
    return from_first(function() if process_id() == 0 else None)
