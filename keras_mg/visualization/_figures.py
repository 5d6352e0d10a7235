"""Figures that no window shows."""

from __future__ import annotations

from typing import Any


def new_figure(**settings: Any) -> Any:
    """A figure of matplotlib, whatever backend of it is chosen.

    Args:
        **settings: of `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "The picture is drawn by matplotlib, which is not installed. "
            'Install it with the extra `data`: pip install "keras-mg[data]"'
        ) from error
    return Figure(**settings)
