"""Which array of a foreign file belongs to which variable: tables that the families register."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from keras_mg.weights._arrays import StoredArray, WeightsError
from keras_mg.weights._assign import Pair

NamesOf = Callable[[keras.Model], Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class NameTable:
    """The names that some code gives the arrays of its networks; see `register_names`."""

    origin: str
    names: NamesOf
    head: tuple[str, ...]
    alternatives: bool

    def keys(self, model: keras.Model, arrays: Collection[str]) -> dict[str, list[str]]:
        """Variable's path -> the names that a file with these arrays must have for it."""
        names = {path: list(keys) for path, keys in self.names(model).items()}
        if not self.alternatives:
            return names
        # The one name that the file has; the likeliest where it has none.
        return {
            p: [key for key in keys if key in arrays][:1] or keys[:1] for p, keys in names.items()
        }


TABLES: dict[str, NameTable] = {}
"""Origin -> table, in the order of registration."""


def register_names(
    origin: str, *, head: Sequence[str] = (), alternatives: bool = False
) -> Callable[[NamesOf], NamesOf]:
    """Make the array names of foreign files known, so that `load` and `export` use them.

    To be put before a function from a model to `{variable's path: names}`. It returns an empty
    dictionary for a model that it does not know. Kernels are expected with their axes in PyTorch's
    and MXNet's order, (outputs, inputs, height, width) and (outputs, inputs).

    Args:
        origin: whose names these are, for messages. Registering under an origin again replaces
            its function.
        head: names that the arrays of a classification head have, the kernel's before the bias's.
            They may be left over where the model was made without its head, the layer
            `predictions`.
        alternatives: what several names of one variable mean. False: the file holds the array under
            each of them (a shared convolution). True: under one of them, the likeliest first; such
            names are read and never exported. Defaults to False.

    Returns:
        A decorator that returns the function unchanged.

    Example:
        >>> from keras_mg import weights
        >>> import keras
        >>> def network():
        ...     image = keras.Input((4,))
        ...     scores = keras.layers.Dense(2, name="predictions")(image)
        ...     return keras.Model(image, scores, name="mine")
        >>> @weights.register_names("my PyTorch code", head=("fc.weight", "fc.bias"))
        ... def names(model):
        ...     if model.name != "mine":
        ...         return {}
        ...     return {"predictions/kernel": ["fc.weight"], "predictions/bias": ["fc.bias"]}
        >>> path = weights.export(network(), "mine.safetensors")
        >>> model = weights.load(network(), path)
    """

    def register(names: NamesOf) -> NamesOf:
        TABLES[origin] = NameTable(origin, names, tuple(head), alternatives)
        return names

    return register


def find_table(model: keras.Model, arrays: Collection[str]) -> NameTable | None:
    """Of the tables that know the model, the one that names most arrays; the latest of equals."""

    def found(table: NameTable) -> int:
        return sum(key in arrays for keys in table.names(model).values() for key in keys)

    known = [table for table in reversed(TABLES.values()) if table.names(model)]
    return max(known, key=found, default=None)


def foreign_pairs(
    model: keras.Model, arrays: Collection[str], file: str
) -> tuple[list[Pair], list[str]]:
    """The table between a model and a foreign file, and the arrays that make the file's head."""
    table = find_table(model, arrays)
    keys = {} if table is None else table.keys(model, arrays)
    unnamed = [v.path for v in model.weights if not keys.get(v.path)]
    if table is None or unnamed:
        known = ", ".join(TABLES) if table is None else table.origin
        raise WeightsError(
            f"{file}: there is no table from this format to {model.name!r}: the variable "
            f"{unnamed[0]!r} has no name in {known}. Save the weights of such a model as "
            ".weights.h5, or register names with keras_mg.weights.register_names."
        )
    pairs = [foreign_pair(key, v) for v in model.weights for key in keys[v.path]]
    return pairs, [key for key in table.head if key in arrays]


def unwrapped(model: keras.Model, arrays: Mapping[str, StoredArray]) -> dict[str, StoredArray]:
    """The arrays without a prefix (`net.`, `backbone.`) under which they hold the model's names.

    Whoever trains a network as a part of another module saves it so. Nothing changes where a name
    of the model's stands there as it is.
    """
    tables = (table.names(model).values() for table in TABLES.values())
    names = {name for keys in tables for group in keys for name in group}
    prefixes = {key.removesuffix(tail) for key in arrays for tail in _tails(key) if tail in names}
    if not names or not prefixes or names & set(arrays):
        return dict(arrays)
    counts = {prefix: sum(prefix + name in arrays for name in names) for prefix in prefixes}
    best = max(sorted(prefixes), key=counts.__getitem__)
    return {key.removeprefix(best): array for key, array in arrays.items()}


def head_keys(arrays: Iterable[str]) -> list[str]:
    """The arrays that belong to the head of a foreign file, the kernel before the bias."""
    present = {tail: key for key in arrays for tail in _tails(key)} | {key: key for key in arrays}
    heads = dict.fromkeys(key for table in TABLES.values() for key in table.head)
    return [present[key] for key in heads if key in present]


def _tails(key: str) -> Iterator[str]:
    """`a.b.c` -> `b.c`, `c`."""
    while "." in key:
        key = key.partition(".")[2]
        yield key


def from_foreign(array: np.ndarray) -> np.ndarray:
    """An array of MXNet or PyTorch in Keras's order of axes: (O, I, H, W) to (H, W, I, O)."""
    return np.transpose(array, _axes(array.ndim))


def to_foreign(array: np.ndarray) -> np.ndarray:
    """An array of Keras in the order of axes of MXNet and PyTorch: (H, W, I, O) to (O, I, H, W)."""
    return np.transpose(array, np.argsort(_axes(array.ndim)))


def _axes(ndim: int) -> tuple[int, ...]:
    return (*range(2, ndim), 1, 0) if ndim > 1 else tuple(range(ndim))


def foreign_pair(key: str, variable: keras.Variable) -> Pair:
    """A pair for an array with its axes in MXNet's and PyTorch's order."""

    def shape_here(shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != len(variable.shape):
            raise ValueError
        return tuple(shape[axis] for axis in _axes(len(shape)))

    return Pair(key, variable, from_foreign, shape_here)
