"""The gradients of several processes, added in buckets (torch)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from keras_mg._private import keras as private_keras
from keras_mg.distribution import collectives
from keras_mg.distribution.processes import num_processes
from keras_mg.distribution.shares import weight

# Bytes of a bucket. The first is smaller, so that something is on its way soon.
BUCKET, FIRST = 25 * 2**20, 2**20

Gradients = Sequence[torch.Tensor | None]


def buckets_of(parameters: Sequence[torch.Tensor]) -> list[list[int]]:
    """The numbers of the parameters of each bucket, in the order in which they are sent."""
    groups: list[list[int]] = []
    room, dtype = 0, None
    for i in reversed(range(len(parameters))):
        parameter = parameters[i]
        size = parameter.numel() * parameter.element_size()
        if size > room or parameter.dtype != dtype:
            room, dtype = (BUCKET if groups else FIRST), parameter.dtype
            groups.append([])
        groups[-1].append(i)
        room -= size
    return groups


class _Bucket:
    """Some gradients that are sent as one tensor.

    Args:
        numbers: of the parameters that they belong to.
        parameters: all of them.
        flags: whether the processes also tell each other which gradients there are.
    """

    def __init__(self, numbers: list[int], parameters: list[torch.Tensor], flags: bool):
        # A kernel reads aligned tensors faster: those that would move others come last.
        self.numbers = sorted(numbers, key=lambda i: parameters[i].numel() % 4 != 0)
        first = parameters[numbers[0]]
        sizes = [parameters[i].numel() for i in self.numbers]
        self.flat = first.new_zeros(sum(sizes) + flags * len(sizes))
        self.views: dict[int, torch.Tensor] = {}
        place = 0
        for i, size in zip(self.numbers, sizes, strict=True):
            # With the strides of the parameter: the update goes through both side by side.
            like = torch.empty_like(parameters[i], device="meta")
            self.views[i] = self.flat.as_strided(like.shape, like.stride(), place)
            place += size
        self.flags = self.flat[place:]
        self.left = len(numbers)
        self.processes = num_processes()
        self.work: Any = None

    def send(self, gradients: Gradients) -> int:
        for i, view in self.views.items():
            gradient = gradients[i]
            if gradient is None:
                view.zero_()
            else:
                view.copy_(gradient)
        if len(self.flags):
            there = [float(gradients[i] is not None) for i in self.numbers]
            self.flags.copy_(self.flags.new_tensor(there))
        factor = weight() / self.processes
        if factor:
            self.flat.mul_(factor)
        else:
            self.flat.zero_()  # whatever a row that does not count has made
        self.work = collectives.begin_to_add(self.flat)
        return self.flat.numel() * self.flat.element_size()

    def receive(self, gradients: Gradients) -> dict[int, torch.Tensor | None]:
        self.work()
        self.work, self.left = None, len(self.numbers)
        result: dict[int, torch.Tensor | None] = dict(self.views)
        if len(self.flags) and any(gradients[i] is None for i in self.numbers):
            for i, there in zip(self.numbers, self.flags.tolist(), strict=True):
                if not there:
                    result[i] = None
        return result


class Reducer:
    """Makes of each process's gradients of some variables those of the whole batch.

    Buckets are filled from the last variable to the first, as a backward pass comes by them, and
    sent in one order by all processes. During the backward pass a bucket leaves as soon as it is
    full; what is left then goes at the end.

    Args:
        variables: Keras variables, in the same order in all processes.
    """

    sent = 0  # bytes of gradients, since the start of the process

    def __init__(self, variables: Sequence):
        self.parameters = [private_keras.tensor_of(v) for v in variables]
        self.buckets: list[_Bucket] | None = None  # until it is known which gradients there are
        self.owner: dict[int, _Bucket] = {}
        self.next = 0  # the bucket that is to be sent next
        self.watches = False
        self.handles: list = []

    def fits(self, variables: Sequence) -> bool:
        """Whether the variables still have the tensors that they had."""
        return all(
            private_keras.tensor_of(v) is p for v, p in zip(variables, self.parameters, strict=True)
        )

    def __call__(self, gradients: Gradients) -> list[torch.Tensor | None]:
        """The gradients of the whole batch.

        Args:
            gradients: of the mean over this process's rows, None where a variable has none.

        Returns:
            Tensors that hold until the next call; None where no process has one.
        """
        with torch.no_grad():
            if self.buckets is None:
                self._lay_out(gradients)
            assert self.buckets is not None
            while self.next < len(self.buckets):
                self._send_next(gradients)
            self.next = 0
            result: dict[int, torch.Tensor | None] = {}
            for bucket in self.buckets:
                result.update(bucket.receive(gradients))
        return [result[i] for i in range(len(self.parameters))]

    @contextlib.contextmanager
    def during_backward(self) -> Iterator[None]:
        """Inside, one backward pass goes over the parameters, and buckets leave when full."""
        if self.buckets is None:
            yield
            return
        if not self.handles:
            self.handles = [
                p.register_post_accumulate_grad_hook(functools.partial(self._arrived, i))
                for i, p in enumerate(self.parameters)
            ]
        self.watches = True
        try:
            yield
        finally:
            self.watches = False

    def close(self) -> None:
        """Watch no parameters any more."""
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def _arrived(self, number: int, parameter: torch.Tensor) -> None:
        if not self.watches or self.buckets is None:
            return
        self.owner[number].left -= 1
        while self.next < len(self.buckets) and self.buckets[self.next].left == 0:
            with torch.no_grad():
                self._send_next([p.grad for p in self.parameters])

    def _send_next(self, gradients: Gradients) -> None:
        assert self.buckets is not None
        Reducer.sent += self.buckets[self.next].send(gradients)
        self.next += 1

    def _lay_out(self, gradients: Gradients) -> None:
        # Where each process has each gradient, in the first step, nobody has to say so.
        (missing,) = collectives.largest(float(any(g is None for g in gradients)))
        self.buckets = [
            _Bucket(group, self.parameters, bool(missing)) for group in buckets_of(self.parameters)
        ]
        self.owner = {i: bucket for bucket in self.buckets for i in bucket.numbers}
