"""A record with other values: all of them at once, so that their order does not matter."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any


def changed(record: Any, settings: Mapping[str, Any]) -> Any:
    """A record with other values.

    Args:
        record: a dataclass, whose fields may be dataclasses and `functools.partial`.
        settings: values by dotted name.

    Raises:
        ValueError: for a name that is not there or a value of another type.
    """
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        *path, last = name.split(".")
        place = tree
        for key in path:
            place = place.setdefault(key, {}).setdefault(_INSIDE, {})
        place.setdefault(last, {})[_WHOLE] = value
    names = list(_names(record))
    return _change(record, tree, "", names)


_WHOLE, _INSIDE = object(), object()  # the value of a name, and the values of its parts


def _change(part: Any, tree: Mapping[str, Any], prefix: str, names: Sequence[str]) -> Any:
    known = _parameters(part)
    values = {}
    for key, given in tree.items():
        name = prefix + key
        if known is None or (key not in known and not _takes_any(part)):
            raise ValueError(f"{name}: {_has(part, known)}. Received: {name!r}{_near(name, names)}")
        value = given.get(_WHOLE, _value(part, key))
        if _WHOLE in given:
            hint = (known or {}).get(key, Any)
            if not _fits(value, hint):
                raise ValueError(f"{name} must be {_shown(hint)}. Received: {name}={value!r}")
            value = _as_before(value, _value(part, key))
        if _INSIDE in given:
            value = _change(value, given[_INSIDE], f"{name}.", names)
        values[key] = value
    if isinstance(part, partial):
        return partial(part, **values)
    return dataclasses.replace(part, **values)


def _parameters(part: Any) -> dict[str, Any] | None:
    """The types of the parts that a record or a constructor has, by name; None of other things."""
    if isinstance(part, partial):
        function = part.func
        sources = [function]
        if inspect.isclass(function) and not dataclasses.is_dataclass(function):
            # What a class hands on to its base with **kwargs.
            sources = [vars(b)["__init__"] for b in function.__mro__ if "__init__" in vars(b)]
        found: dict[str, Any] = {}
        for source in sources:
            found |= {k: v for k, v in _of_function(source).items() if k not in found}
        for name in [*found][: len(part.args)]:
            del found[name]
        return found
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        hints = _hints(type(part))
        return {field.name: hints.get(field.name, Any) for field in dataclasses.fields(part)}
    return None


def _of_function(function: Callable) -> dict[str, Any]:
    """The parameters that a function names, with their types or, without, those of defaults."""
    hints, found = _hints(function), {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or name == "self":
            continue
        kind = type(parameter.default)
        plain = {bool: bool, int: float, float: float}.get(kind, Any)
        found[name] = hints.get(name, plain)
    return found


def _takes_any(part: Any) -> bool:
    if not isinstance(part, partial) or inspect.isclass(part.func):
        return False
    parameters = inspect.signature(part.func).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _value(part: Any, key: str) -> Any:
    if isinstance(part, partial):
        return part.keywords.get(key)
    return getattr(part, key, None)


def _hints(of: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(of)
    except Exception:  # whatever a name that only type checkers see brings
        return {}


def _has(part: Any, known: Mapping[str, Any] | None) -> str:
    name = part.func.__name__ if isinstance(part, partial) else type(part).__name__
    return f"{name} has {', '.join(known)}" if known else f"{name} has no parts"


def _near(name: str, names: Sequence[str]) -> str:
    last = name.rsplit(".", 1)[-1]
    near = [each for each in names if each.rsplit(".", 1)[-1] == last]
    near += difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    near = list(dict.fromkeys(near))[:3]
    return f". The nearest are {', '.join(near)}" if near else ""


def _names(part: Any, prefix: str = "") -> Iterator[str]:
    """All names that `changed` takes."""
    for key in _parameters(part) or ():
        yield prefix + key
        yield from _names(_value(part, key), f"{prefix}{key}.")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, as far as that can be told without its content."""
    if hint is Any:
        return True
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inside)
    if origin is typing.Literal:
        return value in inside
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return hasattr(value, "__index__") and not isinstance(value, bool)
    if origin is tuple:
        each = inside[:1] if inside[1:] == (...,) else inside
        return isinstance(value, tuple | list) and (
            all(_fits(v, each[0]) for v in value)
            if len(each) == 1 and inside[1:] == (...,)
            else len(value) == len(each) and all(map(_fits, value, each))
        )
    if origin is Sequence:
        return isinstance(value, tuple | list) and all(_fits(v, inside[0]) for v in value)
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint is None or hint is type(None):
        return value is None
    if origin is Callable or hint is Callable:
        return callable(value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if isinstance(hint, type):
        return isinstance(value, hint)
    return True


def _as_before(value: Any, before: Any) -> Any:
    """A list in the place of a tuple as a tuple: records are compared and written down."""
    return tuple(value) if isinstance(before, tuple) and isinstance(value, list) else value


def _shown(hint: Any) -> str:
    if isinstance(hint, type):
        return "None" if hint is type(None) else hint.__name__
    return str(hint).replace("typing.", "").replace("collections.abc.", "")
