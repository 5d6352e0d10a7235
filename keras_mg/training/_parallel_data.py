"""A process's part of every batch (torch)."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from keras import tree

from keras_mg.distribution import collectives
from keras_mg.distribution.processes import num_processes, process_id
from keras_mg.distribution.shares import Share, part_of
from keras_mg.training._device_data import Ahead
from keras_mg.training._wrapping_adapter import WrappingAdapter
from keras_mg.training.prefetch import Prefetched

_END = object()


class Parts(WrappingAdapter):
    """An adapter of data whose batches are cut into one part per process.

    The order of an epoch is the one that the first process draws, and draws as one process alone
    would. What a loader reads by rows, such as arrays, each process reads its own rows of; of data
    that come in batches, each process makes all and keeps its rows.

    Args:
        adapter: Keras's own, of the data that all processes have.
        trains: whether it is for training.
        steps: int, batches per epoch where the data do not say it.
        shows: called with the share of each batch before it is given out.
        name: of the data, for errors.

    Raises:
        ValueError: if the data have no length, or too few rows.
    """

    def __init__(
        self,
        adapter,
        trains: bool,
        steps: int | None,
        shows: Callable[[Share], None],
        name: str,
    ):
        super().__init__(adapter)
        self.trains = trains
        self.shows = shows
        self.name = name
        self.rows: list[Share] = []  # of the batches of the last epoch
        self.sliced: tuple | None = None  # a loader, and one of its rows
        if adapter.num_batches is None and not steps:
            raise ValueError(
                f"{name} must say how many batches it has, so that all processes take as many: "
                "give data with a length, or the number of steps. Received: "
                f"{type(adapter).__name__.removesuffix('Adapter')} without a length"
            )
        size = adapter.batch_size
        if trains and size is not None and size < num_processes():
            raise ValueError(
                f"batch_size is that of all processes together, and there must be a row for each. "
                f"Received: batch_size={size}, processes={num_processes()}"
            )

    def get_torch_dataloader(self):
        source = self.adapter
        depth = None
        if isinstance(source, Prefetched):
            source, depth = source.adapter, source.depth
        return _PartLoader(self, source.get_torch_dataloader(), depth)

    def check_rows(self, rows: int) -> None:
        """Raise where the largest batch has not a row for each process."""
        if self.trains and rows < num_processes():
            raise ValueError(
                f"There must be a row of {self.name} for each process. Received: {rows} rows in "
                f"the largest batch, {num_processes()} processes"
            )


class _PartLoader:
    """What Keras iterates over: the parts of one epoch's batches."""

    def __init__(self, parts: Parts, loader: Any, depth: int | None):
        self.parts, self.loader, self.depth = parts, loader, depth
        self.shares: deque[Share] = deque()

    def __iter__(self) -> Iterator:
        # A loader draws when an iteration is made, and once more when it begins. One that reads
        # ahead makes it when it begins.
        batches = None
        if self.depth is None:
            with randomness_of_first():
                batches = self._own_rows()
        return self._run(batches)

    def _run(self, batches: Iterator | None) -> Iterator:
        parts = self.parts
        with randomness_of_first():
            if batches is None:
                batches = self._own_rows()
            first = next(batches, _END)
        if first is _END:
            return
        every: Iterable = itertools.chain([first], batches)
        if self.depth is not None:
            every = Ahead(every, self.depth)
        parts.rows = []
        for batch in every:
            share = self.shares.popleft()
            parts.rows.append(share)
            parts.shows(share)
            yield batch

    def _own_rows(self) -> Iterator:
        loader = self.loader
        by_rows = isinstance(loader, torch.utils.data.DataLoader) and not isinstance(
            loader.dataset, torch.utils.data.IterableDataset
        )
        if not by_rows or loader.batch_sampler is None:
            return self._cut(iter(loader))
        known = self.parts.sliced
        if known is None or known[0] is not loader:
            self.parts.sliced = known = loader, _of_own_rows(loader)
        known[1].batch_sampler.owner = self
        return iter(known[1])

    def _cut(self, batches: Iterator) -> Iterator:
        """The own rows of batches that all processes make."""
        begun = False
        for batch in batches:
            rows = _rows(batch)
            if not begun:
                self.parts.check_rows(rows)
                _agree(_digest(batch), self.parts.name)
                begun = True
            begin, end = self._take(rows)
            yield tree.map_structure(
                lambda leaf, begin=begin, end=end: leaf[begin:end], batch, none_is_leaf=False
            )

    def cut_indices(self, order: list[list]) -> Iterator[list]:
        """The own rows of batches that are lists of indices."""
        self.parts.check_rows(max(map(len, order), default=0))
        for indices in order:
            begin, end = self._take(len(indices))
            yield indices[begin:end]

    def _take(self, rows: int) -> tuple[int, int]:
        begin, end = part_of(rows, process_id(), num_processes())
        self.shares.append(Share(end - begin, rows))
        # A process without rows computes the first one, which then does not count.
        return (begin, end) if end > begin else (0, 1)


class _OwnIndices(torch.utils.data.Sampler):
    """A process's part of the lists of indices of a batch sampler."""

    owner: _PartLoader

    def __init__(self, batches, dataset):
        self.batches, self.dataset = batches, dataset

    def __iter__(self) -> Iterator[list]:
        # All at once: what else draws from torch's generator differs between processes.
        order = [list(indices) for indices in self.batches]
        seen = repr(order) + _of_some_rows(self.dataset, order)
        _agree(hashlib.sha256(seen.encode()).hexdigest(), self.owner.parts.name)
        yield from self.owner.cut_indices(order)

    def __len__(self) -> int:
        return len(self.batches)


def _of_own_rows(loader: torch.utils.data.DataLoader) -> torch.utils.data.DataLoader:
    """A loader of a process's rows of a loader's batches."""
    workers: dict[str, Any] = {}
    if loader.num_workers:
        workers = {
            "prefetch_factor": loader.prefetch_factor,
            "persistent_workers": loader.persistent_workers,
            "multiprocessing_context": loader.multiprocessing_context,
        }
    return torch.utils.data.DataLoader(
        loader.dataset,
        batch_sampler=_OwnIndices(loader.batch_sampler, loader.dataset),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        generator=loader.generator,
        **workers,
    )


def _of_some_rows(dataset, order: list[list]) -> str:
    """A digest of a few rows of arrays: of data that draw or load when they are read, nothing."""
    rows = [index for batch in order for index in batch]
    picked = sorted({rows[0], rows[len(rows) // 2], rows[-1]}) if rows else []
    if isinstance(dataset, torch.utils.data.TensorDataset):
        return _digest([dataset[index] for index in picked])
    # Keras makes the class anew for each call.
    if type(dataset).__qualname__.endswith("get_torch_dataloader.<locals>.ArrayDataset"):
        return _digest(dataset.__getitems__(picked))
    return ""


def _rows(batch) -> int:
    return next(leaf for leaf in tree.flatten(batch) if leaf is not None).shape[0]


def _digest(batch) -> str:
    digest = hashlib.sha256()
    for leaf in tree.flatten(batch):
        if leaf is not None:
            tensor = torch.as_tensor(leaf).detach().cpu().contiguous()
            digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
            digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _agree(digest: str, name: str) -> None:
    """Raise where the processes do not cut the same batches.

    Raises:
        ValueError: if they do not.
    """
    if len(set(collectives.of_all(digest))) > 1:
        raise ValueError(
            f"{name}: the processes have different data, or draw them in different orders. Each "
            "must be given all the data, in an order that comes from the global seed or from one "
            "that is the same in all processes."
        )


@contextlib.contextmanager
def randomness_of_first() -> Iterator[None]:
    """Inside, all processes draw from torch's generator what the first one draws."""
    own = torch.get_rng_state()
    shared = torch.from_numpy(collectives.from_first(own.numpy().copy()))
    if process_id() == 0:
        yield
        return
    torch.set_rng_state(shared)
    try:
        yield
    finally:
        torch.set_rng_state(own)


def part_ways() -> None:
    """Let each process draw other numbers for its rows, by what the first one would draw."""
    shared = collectives.from_first(torch.get_rng_state().numpy().copy())
    if process_id() != 0:
        digest = hashlib.sha256(shared.tobytes() + process_id().to_bytes(4, "little")).digest()
        torch.manual_seed(int.from_bytes(digest[:7], "little"))


def in_order(own: np.ndarray, shares: list[Share]) -> np.ndarray:
    """The rows of all processes in the order of the data.

    Args:
        own: this process's rows, one after the other, with those that do not count.
        shares: of the batches that they come from.
    """
    counted, place = [], 0
    for share in shares:
        counted.append(own[place : place + share.rows])
        place += max(share.rows, 1)
    of_all = collectives.rows_of_all(np.concatenate(counted))
    places = [0] * len(of_all)
    result = []
    for share in shares:
        for number, rows in enumerate(of_all):
            begin, end = part_of(share.of, number, len(of_all))
            result.append(rows[places[number] : places[number] + end - begin])
            places[number] += end - begin
    return np.concatenate(result)
