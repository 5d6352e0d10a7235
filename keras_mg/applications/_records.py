"""One record per network, beside its constructor; whatever lists networks reads them."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import keras

Image = tuple[int, int, int]
Constructor = TypeVar("Constructor", bound=Callable[..., keras.Model])

NETWORKS: dict[str, NetworkRecord] = {}


@dataclass(frozen=True)
class PublishedFigure:
    """One figure that the authors of a network published.

    Args:
        metric: what it measures: "parameters", "FLOPs" (as printed: multiply-accumulates), "error",
            "top-1 error", "top-5 error", "top-1 error of 10 crops" or "accuracy".
        value: the figure as printed, in `unit`.
        unit: "million", "billion" or "%".
        dataset: the data set that an error or accuracy was measured on, otherwise None.
        source: where the figure stands, in words.
    """

    metric: str
    value: float
    unit: str
    dataset: str | None
    source: str

    def __str__(self) -> str:
        on = f" on {self.dataset}" if self.dataset else ""
        return f"{self.metric} {self.value:g} {self.unit}{on} ({self.source})"


@dataclass(frozen=True)
class Form:
    """A network as some arguments make it.

    Args:
        parameters: its trainable parameters, exactly.
        arguments: what its constructor is given; none for the network as it comes.
        figures: what its authors published of it.
        image: height, width and channels that it takes; None for the record's.
        classes: classes or output maps; None for the record's.
    """

    parameters: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    figures: tuple[PublishedFigure, ...] = ()
    image: Image | None = None
    classes: int | None = None


@dataclass(frozen=True)
class NetworkRecord:
    """What is known of a network, in each of its forms.

    Args:
        name: of its constructor.
        family: the kind of network.
        construct: its constructor.
        forms: the published form first, each with its image and classes.
    """

    name: str
    family: str
    construct: Callable[..., keras.Model]
    forms: tuple[Form, ...]


def network(
    family: str, image: Image, classes: int, *forms: Form
) -> Callable[[Constructor], Constructor]:
    """Decorate a constructor: its record is filed, and a misspelt argument meets the near name.

    Args:
        family: the kind of network.
        image: height, width and channels of the published image.
        classes: classes or output maps of the published network.
        *forms: what is known of the network.
    """
    filled = tuple(
        replace(form, image=form.image or image, classes=form.classes or classes) for form in forms
    )

    def register(construct: Constructor) -> Constructor:
        parameters = inspect.signature(construct).parameters

        @functools.wraps(construct)
        def checked(*args, **kwargs):
            for name in kwargs:
                if name not in parameters:
                    raise TypeError(_unexpected(construct.__name__, name, parameters))
            return construct(*args, **kwargs)

        NETWORKS[construct.__name__] = NetworkRecord(construct.__name__, family, checked, filled)
        return cast(Constructor, checked)

    return register


def _unexpected(network: str, name: str, parameters: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, parameters, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"It takes {', '.join(parameters)}."
    return f"{network}() got an unexpected keyword argument {name!r}. {hint}"
