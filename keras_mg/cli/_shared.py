"""What several groups of commands use."""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from keras_mg import applications

Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="An argument of the constructor, such as classes=10 or iterations=3,4,6,3.",
    ),
]


class Failure(Exception):
    """What went wrong, for one line on the terminal."""


class Stopped(Exception):
    """A command was stopped by a signal; the text says what is left."""

    def __init__(self, text: str, code: int):
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    """Print now, also into a file that somebody follows."""
    print(text, flush=True)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """`["classes=10", "dtype=bfloat16"]` -> `{"classes": 10, "dtype": "bfloat16"}`."""
    parsed = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not all(part.isidentifier() for part in name.split(".")):
            raise Failure(f"--set takes NAME=VALUE. Received: {setting}")
        parsed[name] = _value(value)
    return parsed


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def network_info(network: str, settings: dict[str, Any]) -> applications.ModelInfo:
    """What is known of a network, where it can be made on this machine.

    Raises:
        Failure: there is no such network, it cannot be made, or its weights need more than the
            machine's memory.
    """
    from keras_mg import applications

    try:
        return applications.model_info(network, **settings)
    except Exception as error:  # of any kind: whatever the settings bring Keras and torch to
        raise Failure(str(error) or f"{network}: {type(error).__name__}") from error


def check_memory(info: applications.ModelInfo) -> None:
    """Raise for a network whose weights need more than the machine's memory."""
    needed = 4 * info.parameters
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise Failure(
            f"{info.call} has {info.parameters:,} parameters, {needed / 1e9:,.0f} GB; this "
            f"machine has {there / 1e9:,.0f} GB of memory"
        )
