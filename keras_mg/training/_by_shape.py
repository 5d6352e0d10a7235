"""A part of a step as captured graphs, one per batch shape."""

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
        self.lost = 0  # graphs that torch no longer had

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

        if key in self.compiled:
            try:
                return self.compiled[key](*arguments)
            except Exception as error:
                if not torch_graph.is_gone(error):
                    raise
            self.lost += 1
            if self.lost > MAX_SHAPES:
                return self.function(*arguments)
            del self.compiled[key]
            repeated = True
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
