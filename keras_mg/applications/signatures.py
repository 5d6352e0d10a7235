"""Constructors as functions with a signature and a docstring of their own, made from table rows."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Option:
    """An argument of one family, beyond the shared signature."""

    default: Any
    annotation: str
    text: str  # its docstring entry

    def parameter(self, name: str, kind) -> inspect.Parameter:
        return inspect.Parameter(name, kind, default=self.default, annotation=self.annotation)

    def entry(self, name: str) -> str:
        default = "" if self.default is REQUIRED else f" Defaults to {self.default!r}."
        lines = textwrap.wrap(f"{name}: {self.text}{default}", 88, subsequent_indent="    ")
        return "".join(f"        {line}\n" for line in lines)


def entries(options: Mapping[str, Option]) -> str:
    """The docstring entries of a family's own arguments."""
    return "".join(option.entry(key) for key, option in options.items())


def extended_signature(
    protocol: type,
    defaults: Mapping[str, Any],
    leading: Mapping[str, Option],
    options: Mapping[str, Option],
) -> inspect.Signature:
    """The signature of `protocol` with a family's own arguments in front and behind.

    Args:
        protocol: a `Protocol` whose `__call__` ends in `**options`.
        defaults: defaults that replace the protocol's.
        leading: arguments to stand in front.
        options: keyword arguments to stand behind.
    """
    shared = inspect.signature(protocol.__call__)
    _, *parameters, _ = shared.parameters.values()  # neither self nor **options
    return shared.replace(
        parameters=[
            *(o.parameter(k, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k, o in leading.items()),
            *(p.replace(default=defaults.get(p.name, p.default)) for p in parameters),
            *(o.parameter(k, inspect.Parameter.KEYWORD_ONLY) for k, o in options.items()),
        ]
    )


def as_constructor(name: str, module: str, documentation: str, signature, build):
    """A function of `signature` that calls `build` with all arguments by name."""

    def construct(*args, **kwargs) -> keras.Model:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}(): {error}") from None
        bound.apply_defaults()
        return build(**bound.arguments)

    construct.__name__ = construct.__qualname__ = name
    construct.__module__ = module
    vars(construct)["__signature__"] = signature  # what `inspect.signature` and `help` read
    construct.__doc__ = documentation
    return construct
