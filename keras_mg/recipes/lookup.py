"""Recipes by name."""

from __future__ import annotations

import fnmatch

from keras_mg.recipes import (
    attributes,
    cluttered,
    igc,
    imagenet,
    mgnet,
    multigrid,
    resnet,
    segmentation,
)
from keras_mg.recipes.recipe import Recipe

FAMILIES = (segmentation, multigrid, cluttered, igc, mgnet, resnet, imagenet, attributes)
_BY_NAME = {recipe.name: recipe for family in FAMILIES for recipe in family.RECIPES}


def list_recipes(pattern: str = "*") -> list[str]:
    """The names of the published recipes.

    Args:
        pattern: with `*` and `?` as in a shell; without them, any part of a name.

    Example:

    >>> from keras_mg.recipes import list_recipes
    >>> list_recipes("mgnet-cifar*")
    ['mgnet-cifar10', 'mgnet-cifar100']
    """
    if not set(pattern) & set("*?["):
        pattern = f"*{pattern}*"
    return [name for name in _BY_NAME if fnmatch.fnmatchcase(name, pattern)]


def get_recipe(name: str) -> Recipe:
    """The recipe of a name.

    Args:
        name: one of `list_recipes()`.

    Raises:
        ValueError: if there is none.

    Example:

    >>> from keras_mg.recipes import get_recipe
    >>> get_recipe("mgnet-cifar100").epochs
    300
    """
    if name not in _BY_NAME:
        # The names with most in common with what was asked for.
        import difflib

        near = difflib.get_close_matches(name, _BY_NAME, n=3, cutoff=0.0)
        raise ValueError(f"There is no recipe {name!r}. The nearest are {', '.join(near)}")
    return _BY_NAME[name]
