"""What processes tell each other while they train (torch)."""

from __future__ import annotations

import contextlib
import math
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import distributed

from keras_mg._private import keras as private_keras
from keras_mg.distribution.processes import group_of, limit, num_processes, process_id
from keras_mg.distribution.shares import weight


class ProcessLostError(RuntimeError):
    """Another process of the training has ended, or does not answer."""


# What gloo and NCCL say where the other end of a connection is gone or does not answer. Most of it
# is a plain RuntimeError, as is what they say of a tensor that they cannot send.
_LOST = re.compile(
    "closed by (remote )?peer|remote (peer|process)|connection (reset|refused|aborted)|broken pipe"
    "|network error|unreachable|no route to host|connectFullMesh|pair is not connected|pair closure"
    "|communicator was aborted|time(d )?out",
    re.IGNORECASE,
)
_GROUP = 25 * 2**20  # bytes that travel as one

# A store has no faults but these: its server is gone, or nobody has written what is read.
_OF_THE_STORE = (distributed.DistNetworkError, distributed.DistStoreError)


def says_lost(error: RuntimeError) -> bool:
    """Whether an error of torch's says that another process is gone or does not answer.

    It does not where the fault is this process's own, such as a tensor that cannot be sent, memory
    that has run out or a kernel that failed.

    Args:
        error: what a function of `torch.distributed` raised.

    Example:
        >>> from keras_mg.distribution.collectives import says_lost
        >>> says_lost(RuntimeError("Timed out waiting 8000ms for recv operation to complete"))
        True
        >>> says_lost(RuntimeError("Invalid scalar type"))
        False
    """
    if isinstance(error, _OF_THE_STORE):
        return True
    # A kernel may time out, too.
    if isinstance(error, torch.AcceleratorError | torch.OutOfMemoryError):
        return False
    return _LOST.search(str(error)) is not None


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """Where the processes wait for each other: says in plain words that one is lost.

    Raises:
        ProcessLostError: instead of what torch says of sockets. Its other errors stay as they are.
    """
    try:
        yield
    except RuntimeError as error:
        if not says_lost(error):
            raise
        seconds = limit()
        patience = "for longer than its group allows" if seconds is None else f"for {seconds:g} s"
        lost = ProcessLostError(
            f"Process {process_id()} of {num_processes()} has lost another one, which has ended "
            f"or has not answered {patience} (`initialize(timeout=...)`); what the others printed "
            "may say why. Checkpoints are whole: started again, training goes on from the last. "
            f"torch says: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        )
        raise private_keras.as_it_is(lost) from error


def add(tensor: torch.Tensor) -> None:
    """Make of a tensor the sum over the processes, in its place."""
    with _together():
        distributed.all_reduce(tensor, group=group_of(tensor.device.type))


def begin_to_add(tensor: torch.Tensor) -> Callable[[], None]:
    """As `add`, without waiting for it, which the function that is returned does."""
    with _together():
        work = distributed.all_reduce(tensor, group=group_of(tensor.device.type), async_op=True)

    def wait() -> None:
        with _together():
            work.wait()

    return wait


def sum_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor, which nobody else holds, over the processes that have rows."""
    if torch.compiler.is_compiling():
        return _sum_in_graphs(values)
    if not weight():
        values.zero_()
    add(values)
    return values


def gradient_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The gradient by what `sum_over_processes` gave, of those by this process's use of it.

    Each process computes gradients of the mean over its own rows. They are brought to those of the
    mean over all rows before they are added, and back afterwards, so that whatever comes before in
    the network may go on as if there were its own rows alone.

    Args:
        values: a tensor that nobody else holds.
    """
    if torch.compiler.is_compiling():
        return _gradient_in_graphs(values)
    own = weight()
    if not own:
        add(values.zero_())
        return values.zero_()
    if own == 1:  # as in all steps whose batch divides evenly
        add(values)
        return values
    add(values.mul_(own))
    return values.div_(own)


# Operators of torch's own kind, which a captured graph calls and does not look into: what they read
# of the step's share is looked up when they run.
@torch.library.custom_op("keras_mg::sum_over_processes", mutates_args=())
def _sum_in_graphs(values: torch.Tensor) -> torch.Tensor:
    return sum_over_processes(values.clone())


@torch.library.custom_op("keras_mg::gradient_over_processes", mutates_args=())
def _gradient_in_graphs(values: torch.Tensor) -> torch.Tensor:
    return gradient_over_processes(values.clone())


@_sum_in_graphs.register_fake
@_gradient_in_graphs.register_fake
def _same(values: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(values)


def from_first(value: Any) -> Any:
    """The first process's value, any that can be pickled, in all of them."""
    if num_processes() == 1:
        return value
    values = [value if process_id() == 0 else None]
    with _together():
        distributed.broadcast_object_list(
            values, 0, group=group_of("cpu"), device=torch.device("cpu")
        )
    return values[0]


def of_all(value: Any) -> list[Any]:
    """The values of all processes, any that can be pickled."""
    values: list[Any] = [None] * num_processes()
    with _together():
        distributed.all_gather_object(values, value, group=group_of("cpu"))
    return values


def largest(*numbers: float) -> list[float]:
    """The largest of each of a few numbers over the processes."""
    values = torch.tensor(numbers, dtype=torch.float64)
    with _together():
        distributed.all_reduce(values, op=distributed.ReduceOp.MAX, group=group_of("cpu"))
    return values.tolist()


def total(arrays: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The sums of tensors over the processes, computed in double precision on the CPU."""
    if not arrays:
        return []
    flat = torch.cat([a.detach().reshape(-1).to("cpu", torch.float64) for a in arrays])
    add(flat)
    parts = flat.split([a.numel() for a in arrays])
    return [p.reshape(a.shape) for p, a in zip(parts, arrays, strict=True)]


@torch.no_grad()
def give(tensors: Sequence[torch.Tensor]) -> None:
    """Let all processes have the first one's values of some tensors, of all devices and layouts."""
    for group in _sent_together(tensors):
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in group])
        with _together():
            distributed.broadcast(flat, 0, group=group_of(flat.device.type))
        parts = flat.split([tensor.numel() for tensor in group])
        for tensor, part in zip(group, parts, strict=True):
            tensor.detach().copy_(part.view(tensor.shape))


def _sent_together(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Groups of tensors of one device and dtype, of about `_GROUP` bytes at most."""
    groups: dict[tuple, list[torch.Tensor]] = {}
    room: dict[tuple, int] = {}
    for tensor in tensors:
        kind = tensor.device, tensor.dtype
        size = tensor.numel() * tensor.element_size()
        if kind in groups and size > room[kind]:
            yield groups.pop(kind)
        if kind not in groups:
            groups[kind], room[kind] = [], _GROUP
        groups[kind].append(tensor)
        room[kind] -= size
    yield from groups.values()


def rows_of_all(rows: np.ndarray) -> list[np.ndarray]:
    """Arrays of all processes that differ in the number of rows alone."""
    rows = np.ascontiguousarray(rows)
    counts = of_all(len(rows))
    width = rows.dtype.itemsize * math.prod(rows.shape[1:])
    padded = np.zeros((max(counts), width), "uint8")
    padded[: len(rows)] = rows.view("uint8").reshape(len(rows), width)
    gathered = [torch.empty(padded.shape, dtype=torch.uint8) for _ in counts]
    with _together():
        distributed.all_gather(gathered, torch.from_numpy(padded), group=group_of("cpu"))
    return [
        each.numpy()[:count].reshape(-1).view(rows.dtype).reshape(count, *rows.shape[1:])
        for each, count in zip(gathered, counts, strict=True)
    ]


def in_turn(function: Callable[[], Any]) -> Any:
    """What `function` returns in the first process, which alone calls it, in all of them.

    Raises:
        Exception: what it raises, in all of them, too.
    """
    value, error = None, None
    if process_id() == 0:
        try:
            value = function()
        except Exception as raised:
            error = raised
    value, told = from_first((value, error and _portable(error)))
    if error is not None:
        raise error
    if told is not None:
        raise told
    return value


def _portable(error: Exception) -> Exception:
    """An error as it can be sent."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
