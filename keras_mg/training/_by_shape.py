"""A part of a step as captured graphs, one per batch shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable

# A model that meets more batch shapes than this runs the further ones eagerly.
MAX_SHAPES = 8


class CannotCapture(Exception):
    """The first run of a captured step failed; the cause is torch's error.

    Torch's tracer raises whatever it meets, so the step itself may be at fault. Whether it is, an
    eager run tells.
    """


class ByShape:
    """Runs a function compiled for the batch shapes that recur, eagerly for the others.

    The first shape is compiled at once, a further one when it comes twice in a row: a partial last
    batch never does, and a graph of its own would cost more than it saves.

    Args:
        function: of tensors, and of nests of them.
        backend: the name of a `torch.compile` backend.
        **options: of `torch_graph.capture`.
    """

    def __init__(self, function: Callable, backend: str, **options):
        self.function = function
        self.backend = backend
        self.options = options
        self.compiled: dict[tuple, Callable] = {}
        self.lost = 0  # graphs in a row that torch had lost before they ran a second time

    def run(self, key: tuple, arguments: tuple, repeated: bool):
        """What the function returns.

        Args:
            key: what tells batches of one graph from those of another.
            arguments: of the function.
            repeated: whether the batch before had the same key.

        Raises:
            CannotCapture: if the first run of a graph fails.
        """
        import torch

        from keras_mg.training import _torch_graph as torch_graph

        graph = self.compiled.get(key)
        if graph is not None:
            try:
                result = graph(*arguments)
            except torch_graph.GraphIsGone:
                repeated = True
                if self.compiled.get(key) is graph:  # no other thread has replaced it
                    del self.compiled[key]
                self.lost += 1
            else:
                self.lost = 0
                return result
        if self.lost > MAX_SHAPES:
            warnings.warn(
                f"jit_compile=True: torch has lost a graph {self.lost} times in a row before it "
                "ran a second time, so batches of its shape run eagerly.",
                stacklevel=2,
            )
            self.compiled[key] = self.function
            return self.function(*arguments)
        if self.compiled and not (repeated and len(self.compiled) < MAX_SHAPES):
            return self.function(*arguments)
        try:
            self.compiled[key], result = torch_graph.capture(
                self.function, arguments, self.backend, **self.options
            )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise CannotCapture from error
        return result


class Uncaptured:
    """Runs a function as it is, in the place of a `ByShape`."""

    def __init__(self, function: Callable):
        self.function = function
        self.compiled: dict[tuple, Callable] = {}

    def run(self, key: tuple, arguments: tuple, repeated: bool):
        return self.function(*arguments)
