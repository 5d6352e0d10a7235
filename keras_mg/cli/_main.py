"""`main`: the groups of commands in one, and every error as one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer

from keras_mg.cli import _data, _evaluation, _networks, _recipes, _weights
from keras_mg.cli._shared import Failure, Stopped

# Without rich, help is plain text and comes at once; `main` prints the errors.
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
app.add_typer(_networks.app)
app.add_typer(_recipes.app)
app.add_typer(_evaluation.app)
app.add_typer(_data.app, name="data", help="Data sets made on this machine.")
app.add_typer(_weights.app, name="weights", help="Published weights and weights files.")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"keras-mg {metadata.version('keras-mg')}")
        raise typer.Exit


@app.callback()
def _keras_mg(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Multigrid networks for Keras."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `keras-mg`.

    Args:
        arguments: the words after `keras-mg`; those of the process by default.

    Returns:
        The exit code: 0; 2 after an error, which is printed as one line; 130 after Ctrl-C,
        143 after SIGTERM.
    """
    words = None if arguments is None else list(arguments)
    command = typer.main.get_command(app)
    try:
        given = sys.argv[1:] if words is None else words
        code = command.main(words, prog_name="keras-mg", standalone_mode=False, obj=given)
        sys.stdout.flush()
        return code or 0
    except Stopped as stopped:
        if str(stopped):
            print("keras-mg:", stopped, file=sys.stderr)
        return stopped.code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # `keras-mg list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except typer.exceptions.TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "keras-mg"
        return _failed(f"{error.format_message()} (see {where} --help)")
    except (Failure, ValueError, OSError, ImportError, MemoryError, OverflowError) as error:
        return _failed(str(error) or type(error).__name__)


def _failed(text: str) -> int:
    print("keras-mg: error:", " ".join(text.split()), file=sys.stderr)
    return 2
