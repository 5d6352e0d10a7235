"""`keras-mg list` and `keras-mg info`: what networks there are."""

from __future__ import annotations

from typing import Annotated

import typer

from keras_mg.cli._shared import Settings, network_info, parse_settings

app = typer.Typer()


@app.command("list")
def list_networks(
    pattern: Annotated[
        str | None, typer.Argument(help="Shell pattern, such as 'RMG*'; letter case is ignored.")
    ] = None,
) -> None:
    """The names of the networks."""
    from keras_mg import applications

    for name in applications.list_models(pattern):
        print(name)


@app.command()
def info(
    network: Annotated[str, typer.Argument(help="A name from `keras-mg list`.")],
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """A network's parameters, arithmetic, input and published figures."""
    print(network_info(network, parse_settings(settings)))
