"""A step as captured graphs, one per batch shape."""

from __future__ import annotations

from collections.abc import Callable

# A model that meets more batch shapes than this runs the further ones eagerly.
MAX_SHAPES = 8


class CannotCapture(Exception):
    """The first run of a captured step failed; the cause is torch's error.

    Torch's tracer raises whatever it meets, so the step itself may be at fault. Whether it is, an
    eager run tells.
    """


class ByShape:
    """Runs a step compiled for the batch shapes that recur, eagerly for the others.

    The first shape is compiled at once, a further one when it comes twice in a row: a partial last
    batch never does, and a graph of its own would cost more than it saves.
    """

    def __init__(self, function: Callable, backend: str, **options):
        self.function = function
        self.backend = backend
        self.options = options  # of `compile_graph`
        self.compiled: dict[tuple, Callable] = {}
        self.last: tuple | None = None

    def run(self, *arguments):
        """The step's result.

        Raises:
            CannotCapture: if the first run of a graph fails.
        """
        import torch

        from keras_mg.training import _torch_graph as torch_graph

        key = torch_graph.describe(arguments)
        repeated, self.last = key == self.last, key
        if key in self.compiled:
            return self.compiled[key](*arguments)
        if self.compiled and not (repeated and len(self.compiled) < MAX_SHAPES):
            return self.function(*arguments)
        step = torch_graph.compile_graph(self.function, self.backend, **self.options)
        try:
            result = step(*arguments)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise CannotCapture from error
        self.compiled[key] = step
        return result


class Uncaptured:
    """Runs a step as it is, in the place of a `ByShape`."""

    def __init__(self, function: Callable):
        self.run = function
        self.compiled: dict[tuple, Callable] = {}
