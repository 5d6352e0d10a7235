"""Bringing data to the device without making the host wait for it (torch)."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import torch
from keras import tree

_END = object()
_POLL = 0.1  # seconds after which the thread that reads ahead looks whether it is still wanted


class Ahead:
    """An iterable whose batches are read, and brought to the device, some steps ahead.

    A thread reads them. On CUDA it copies from page-locked memory in a stream of its own, so that
    reading, copying and computing overlap; the thread that iterates never waits for the device.

    Args:
        batches: an iterable of nests of tensors and arrays, such as a `DataLoader`. Each iteration
            of the result iterates it once, beginning with the first batch that is asked for.
        depth: int, how many batches may be ready.
    """

    def __init__(self, batches: Iterable, depth: int):
        self.batches = batches
        self.depth = depth

    def __iter__(self) -> Iterator:
        # Keras's choice; a scope of `keras.device` holds in the thread that entered it alone.
        device = keras.ops.zeros((1,)).device
        on_cuda = device.type == "cuda"
        stream = torch.cuda.Stream(device) if on_cuda else None
        if stream is not None:
            # What the data are made from may still be on its way.
            stream.wait_stream(torch.cuda.current_stream(device))
        ready: queue.Queue = queue.Queue(self.depth)
        stopped = threading.Event()
        thread = threading.Thread(
            target=_read, args=(self.batches, ready, stopped, device, stream), daemon=True
        )
        thread.start()
        try:
            while True:
                batch, copied, error = ready.get()
                if error is not None:
                    raise error
                if batch is _END:
                    return
                if copied is not None:
                    _take_over(batch, copied, device)
                yield batch
        finally:
            stopped.set()
            thread.join()


def _take_over(batch, copied: torch.cuda.Event, device: torch.device) -> None:
    """Let the current stream wait for the copies and keep their memory until it is done."""
    current = torch.cuda.current_stream(device)
    current.wait_event(copied)
    for tensor in tree.flatten(batch):
        if isinstance(tensor, torch.Tensor):
            tensor.record_stream(current)


def _read(batches: Iterable, ready: queue.Queue, stopped, device: torch.device, stream) -> None:
    """What the thread does: reads, moves, and puts into the queue until all is read."""

    def put(batch: Any, copied=None, error: BaseException | None = None) -> bool:
        while not stopped.is_set():
            try:
                ready.put((batch, copied, error), timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False

    in_stream = contextlib.nullcontext() if stream is None else torch.cuda.stream(stream)
    try:
        with keras.device(str(device)), in_stream:
            for batch in batches:
                moved = tree.map_structure(
                    lambda leaf: _to_device(leaf, device), batch, none_is_leaf=False
                )
                if not put(moved, None if stream is None else stream.record_event()):
                    return
        put(_END)
    except BaseException as error:  # raised where the batches are used
        put(None, error=error)


def _to_device(leaf, device: torch.device):
    tensor = leaf if isinstance(leaf, torch.Tensor) else torch.as_tensor(leaf)
    if tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu":
        # Torch keeps page-locked memory for the next batch, and none that a copy still reads.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
