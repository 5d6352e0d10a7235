"""Check every array of a file against every variable of a model, and only then assign."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import ml_dtypes
import numpy as np

from keras_mg.weights._arrays import StoredArray, WeightsError

VARIANCE = "moving_variance"
"""How Keras calls the variable that batch norm takes the root of."""
HEAD = "predictions"
"""The name that every constructor gives its classification layer."""


@dataclass(frozen=True)
class Pair:
    """One variable of the model and one name under which the file holds it.

    Args:
        key: the array's name in the file.
        variable: the model's variable.
        convert: from the file's order of axes to the model's.
        convert_shape: the same for shapes.
    """

    key: str
    variable: keras.Variable
    convert: Callable[[np.ndarray], np.ndarray] = np.asarray
    convert_shape: Callable[[tuple[int, ...]], tuple[int, ...]] = tuple


@dataclass(frozen=True)
class Difference:
    """Why an array cannot go into a variable."""

    pair: Pair
    text: str


def layer_of(variable: keras.Variable) -> str:
    """The path of the layer that owns the variable."""
    return variable.path.rpartition("/")[0]


def is_head(variable: keras.Variable) -> bool:
    """True for the variables of the classification layer."""
    return HEAD in variable.path.split("/")[:-1]


def _difference(pair: Pair, arrays: Mapping[str, StoredArray]) -> str | None:
    """Why the array cannot go into the variable, or None."""
    want = tuple(pair.variable.shape)
    if pair.key not in arrays:
        return (
            f"the file has no array {pair.key!r}; the model needs it, shape {want}, for "
            f"{pair.variable.path!r}"
        )
    shape = arrays[pair.key].shape
    try:
        converted = pair.convert_shape(shape)
    except ValueError:
        converted = None
    if converted == want:
        return None
    turned = "" if converted in (None, shape) else f", which is {converted} here,"
    return (
        f"array {pair.key!r} has the shape {shape} in the file{turned} and {want} in the model "
        f"({pair.variable.path!r})"
    )


def _head_error(
    model: keras.Model, problems: Sequence[Difference], arrays: Mapping[str, StoredArray]
) -> str | None:
    """What to say where only the head differs, or None where more than its classes do."""
    if not problems or not all(is_head(problem.pair.variable) for problem in problems):
        return None
    first = problems[0]
    classes = model.get_layer(HEAD).units
    tail = "include_top=False for the trunk alone, or skip_mismatch=True to load all but the head."
    if not any(problem.pair.key in arrays for problem in problems):
        return (
            f"the file holds no classification head ({first.text}); it was saved with "
            "include_top=False, and the model was asked for with include_top=True, "
            f"classes={classes}. Use {tail}"
        )
    if first.pair.key not in arrays or len(arrays[first.pair.key].shape) != 2:
        return None
    features, there = first.pair.convert_shape(arrays[first.pair.key].shape)
    if features != first.pair.variable.shape[0]:
        return None
    return (
        f"classes={classes} was asked for, and the file's head is for {there} classes "
        f"({first.text}). Use classes={there}, {tail}"
    )


def assign(
    model: keras.Model,
    pairs: Sequence[Pair],
    arrays: Mapping[str, StoredArray],
    file: str,
    *,
    head_keys: Iterable[str] = (),
    skip_mismatch: bool = False,
) -> None:
    """Put the arrays into the model's variables: all of them, or none.

    Every check is made, and every array read and converted, before the first variable changes.

    Args:
        model: a built model.
        pairs: the table, in the order of the forward pass. A variable may stand in several
            pairs (a shared convolution): its arrays must then be equal.
        arrays: what the file holds.
        file: the file's name, for messages.
        head_keys: arrays of the file that belong to its classification head. They may be left
            over when the model has none (`include_top=False`).
        skip_mismatch: leave layers whose arrays do not fit as they are, with a warning.

    Raises:
        WeightsError: an array is missing, left over or of another shape; shared arrays differ;
            an array holds no numbers that a network can have (see `_check_values`).
    """
    differences = ((pair, _difference(pair, arrays)) for pair in pairs)
    problems = [Difference(pair, text) for pair, text in differences if text is not None]
    used = {pair.key for pair in pairs}
    left_over = [key for key in arrays if key not in used]
    has_head = any(layer.name == HEAD for layer in model.layers)
    if not has_head:
        head = set(head_keys)
        left_over = [key for key in left_over if key not in head]

    if (problems or left_over) and not skip_mismatch:
        head_error = None if left_over else _head_error(model, problems, arrays)
        if head_error is not None:
            raise WeightsError(f"{file}: {head_error}")
        count = len(problems) + len(left_over)
        text = (
            problems[0].text
            if problems
            else f"the file holds an array {left_over[0]!r}, shape {arrays[left_over[0]].shape}, "
            "that the model has no variable for"
        )
        raise WeightsError(
            f"{file}: the weights are of another network than {model.name!r}: {text}. "
            f"{count} arrays differ in all; the model was not changed."
        )

    skipped = {layer_of(p.pair.variable) for p in problems}
    chosen = [pair for pair in pairs if layer_of(pair.variable) not in skipped]
    if not chosen:
        raise WeightsError(
            f"{file}: no layer of {model.name!r} fits the file even with skip_mismatch=True: "
            f"{problems[0].text}."
        )
    values = _read_all(chosen, arrays, file)
    if problems or left_over:
        warnings.warn(
            f"{file}: skip_mismatch=True: {len(skipped)} layers keep their own weights "
            f"({', '.join(sorted(skipped)) or 'none'}), {len(left_over)} arrays of the file are "
            "not used." + (f" First: {problems[0].text}." if problems else ""),
            stacklevel=4,
        )
    for variable, value in values:
        variable.assign(value)


def _read_all(
    pairs: Sequence[Pair], arrays: Mapping[str, StoredArray], file: str
) -> list[tuple[keras.Variable, Any]]:
    values: dict[int, tuple[Pair, np.ndarray]] = {}
    for pair in pairs:
        value = pair.convert(arrays[pair.key].read())
        if tuple(value.shape) != tuple(pair.variable.shape):
            raise WeightsError(
                f"{file}: array {pair.key!r} was read with the shape {value.shape}, and the file "
                f"states one that gives {tuple(pair.variable.shape)}."
            )
        first = values.setdefault(id(pair.variable), (pair, value))
        if first[1] is not value and not np.array_equal(first[1], value, equal_nan=True):
            raise WeightsError(
                f"{file}: {first[0].key!r} and {pair.key!r} are the same shared array of the "
                f"network ({pair.variable.path!r}) and differ in the file."
            )
    return [(pair.variable, _tensor(pair, value, file)) for pair, value in values.values()]


def _tensor(pair: Pair, value: np.ndarray, file: str) -> Any:
    """The value as the variable's backend and dtype hold it."""
    _check_values(pair, value, file)
    # Backends know the machine's order of bytes alone.
    native = value.astype(value.dtype.newbyteorder("="), copy=False)
    try:
        return keras.ops.convert_to_tensor(native, dtype=pair.variable.dtype)
    except Exception as error:
        raise WeightsError(
            f"{file}: array {pair.key!r} of type {value.dtype} does not convert to "
            f"{pair.variable.dtype} ({error}); the model was not changed."
        ) from error


def _check_values(pair: Pair, value: np.ndarray, file: str) -> None:
    """Raise for what the format allows and no trained network holds.

    Whole numbers where the model has fractions (a quantised file), infinite and undefined numbers
    (a run that diverged, a damaged file, numbers beyond the variable's type), negative variances.
    """
    if not value.size or not keras.backend.is_float_dtype(pair.variable.dtype):
        return
    array = f"{file}: array {pair.key!r} (for {pair.variable.path!r})"
    if value.dtype.kind != "f":
        raise WeightsError(
            f"{array} holds numbers of type {value.dtype}; expected fractions. The model was not "
            "changed."
        )
    limit = float(ml_dtypes.finfo(pair.variable.dtype).max)
    with np.errstate(over="ignore", invalid="ignore"):
        # One pass where all is well: a sum with a number that is not finite is not finite.
        good = bool(np.isfinite(value.sum(dtype=None if value.dtype.itemsize > 2 else np.float32)))
        good = good or bool(np.isfinite(value).all())
    # A limit that the numbers' own type does not reach turns into infinity in it.
    if good and float(np.finfo(value.dtype).max) > limit:
        good = bool((np.abs(value) <= limit).all())
    if not good:
        raise WeightsError(
            f"{array} holds numbers that are infinite, undefined or beyond {pair.variable.dtype}. "
            "The model was not changed."
        )
    if pair.variable.path.endswith(f"/{VARIANCE}") and value.min() < 0:
        raise WeightsError(f"{array} is a variance and negative. The model was not changed.")
