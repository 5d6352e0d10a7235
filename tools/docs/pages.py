"""Pages that no hand writes: tables of records, pictures of grids, the interface."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import NamedTuple

from tools.docs.staging import ROOT

# What is public, in the order in which one meets it.
ROOMS = (
    "applications",
    "layers",
    "training",
    "distribution",
    "weights",
    "datasets",
    "metrics",
    "visualization",
    "recipes",
    "ops",
)

# Public files that are no rooms; what they import may not be installed, so they are only read.
FILES = ("hub",)


class Picture(NamedTuple):
    """A network whose grids are drawn."""

    family: str
    call: str
    words: str


PICTURES = (
    Picture(
        "Multigrid networks for dense prediction",
        "SegPMG()",
        "Grids join from the coarsest on, work together, and leave again until the finest carries "
        "the maps.",
    ),
    Picture(
        "Multigrid networks for dense prediction",
        "SegUMG()",
        "A U-Net whose levels work on several grids.",
    ),
    Picture("Multigrid networks for dense prediction", "SegUNet()", "The U-Net beside them."),
    Picture(
        "Multigrid classifiers",
        "RMG18()",
        "Three grids at once; the poolings between the stages merge the two coarsest into one.",
    ),
    Picture(
        "Multigrid classifiers",
        "PRMGSeg30()",
        "It keeps all its grids; a segmentation head reads the finest.",
    ),
    Picture("Multigrid classifiers", "MG6()", "For images of 32x32 pixels."),
    Picture("Multigrid classifiers", "PMG16()", "Its grids begin one after the other."),
    Picture(
        "MgNet",
        "MgNet()",
        "Feature and residual of each grid, one above the other, as a multigrid solver has them.",
    ),
    Picture(
        "Interleaved group convolutions",
        "IGCResNet(20, 24, 2)",
        "One grid at a time: a network of Keras's usual kind.",
    ),
    Picture("Interleaved group convolutions", "IGC_L100M2()", "For ImageNet."),
    Picture("Residual networks of the Torch study", "ResNet20()", "Its classifier is a last map."),
    Picture("Baselines of the multigrid paper", "CifarVGG6()", ""),
    Picture("Attributes", "AttributeNet(version=4, levels='apascal')", ""),
)


def public_names(room: str) -> list[tuple[str, str]]:
    """The names that a room's `__init__.py` lists, each with the module that it is from."""
    source = (ROOT / "keras_mg" / room / "__init__.py").read_text(encoding="utf-8")
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            names += [
                (alias.asname or alias.name, node.module or "")
                for alias in node.names
                if not alias.name.startswith("_")
            ]
    return names


def defined_names(file: str) -> list[str]:
    """The public classes and functions of one of `FILES`."""
    tree = ast.parse((ROOT / "keras_mg" / f"{file}.py").read_text(encoding="utf-8"))
    kinds = (ast.ClassDef, ast.FunctionDef)
    return [n.name for n in tree.body if isinstance(n, kinds) and n.name[0] != "_"]


def write_interface(folder: Path) -> list[str]:
    """A page per room, of its docstrings.

    Args:
        folder: of the site's sources.

    Returns:
        The paths of the pages.
    """
    (folder / "api").mkdir(parents=True, exist_ok=True)
    top = "# keras_mg\n\n::: keras_mg.Model\n\n::: keras_mg.deploy\n"
    (folder / "api/keras_mg.md").write_text(top, encoding="utf-8")
    written = ["api/keras_mg.md"]
    for room in ROOMS:
        package = importlib.import_module(f"keras_mg.{room}")
        lines = [f"# keras_mg.{room}", "", inspect.getdoc(package) or "", ""]
        last = None
        for name, module in public_names(room):
            found = getattr(package, name)
            if inspect.ismodule(found):
                continue
            if room == "applications" and module != last and module.split(".")[-1][0] != "_":
                heading = (inspect.getdoc(importlib.import_module(module)) or "").split("\n")[0]
                lines += [f"## {heading.rstrip('.')}", ""]
            last = module
            if callable(found):
                # Under the name of a file beside it, griffe finds the file.
                hidden = module == f"keras_mg.{room}.{name}"
                lines += [f"::: {module}.{name}" if hidden else f"::: keras_mg.{room}.{name}", ""]
            else:
                lines += [f"**`{name}`** is `{found!r}`.", ""]
        (folder / f"api/{room}.md").write_text("\n".join(lines), encoding="utf-8")
        written.append(f"api/{room}.md")
    for name in FILES:
        tree = ast.parse((ROOT / "keras_mg" / f"{name}.py").read_text(encoding="utf-8"))
        lines = [f"# keras_mg.{name}", "", ast.get_docstring(tree) or "", ""]
        for each in defined_names(name):
            lines += [f"::: keras_mg.{name}.{each}", ""]
        (folder / f"api/{name}.md").write_text("\n".join(lines), encoding="utf-8")
        written.append(f"api/{name}.md")
    return written


def recipes_table() -> str:
    """All recipes as a table."""
    from keras_mg.recipes import get_recipe, list_recipes

    lines = [
        "| recipe | network | data | epochs | batch | published | source |",
        "|---|---|---|---:|---:|---|---|",
    ]
    for name in list_recipes():
        recipe = get_recipe(name)
        record = recipe.record()
        network = recipe.network
        keywords = dict(getattr(network, "keywords", {}))
        keywords.pop("classifier_activation", None)
        arguments = [repr(value) for value in getattr(network, "args", ())]
        arguments += [f"{key}={value!r}" for key, value in keywords.items()]
        call = f"{getattr(network, 'func', network).__name__}({', '.join(arguments)})"
        data = record["data"]
        what = next((data[key] for key in ("dataset", "task") if key in data), data["kind"])
        claims = ", ".join(f"{key} {value:.4f}" for key, value in recipe.claims.items())
        cells = (f"`{name}`", f"`{call}`", what, recipe.epochs, recipe.batch_size, claims)
        lines.append(f"| {' | '.join(map(str, cells))} | {recipe.source} |")
    return "\n".join(lines)


def write_recipes(folder: Path) -> str:
    """The page of the recipes' table."""
    text = (
        "# Recipes\n\n"
        "`keras-mg train NAME` runs one, `keras-mg recipes NAME --details` says more of it; "
        "[Train a recipe](recipes.md) tells how. The published figures are the authors', none is a "
        "measurement of this project; what was measured here is in [the cards](cards/index.md).\n\n"
        f"{recipes_table()}\n"
    )
    (folder / "recipes_table.md").write_text(text, encoding="utf-8")
    return "recipes_table.md"


def write_grids(folder: Path) -> str:
    """The page of the families' grids, with its pictures."""
    from keras_mg import applications
    from keras_mg.visualization import plot_pyramid

    pictures = folder / "grids"
    pictures.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Grids of the networks",
        "",
        "Drawn from the models by [`plot_pyramid`][keras_mg.visualization.plot_pyramid], which "
        "draws any functional Keras model: depth to the right, a row for each resolution, the "
        "finest above. A higher box stands for a larger side, a wider one for more channels, whose "
        "number is written where it changes.",
        "",
    ]
    family = None
    for picture in PICTURES:
        name = picture.call.partition("(")[0]
        model = eval(picture.call, vars(applications).copy())
        plot_pyramid(model, pictures / f"{name}.png")
        if picture.family != family:
            family = picture.family
            lines += [f"## {family}", ""]
        lines += [
            f"**`{picture.call}`** {picture.words}".rstrip(),
            "",
            f"![the grids of {name}](grids/{name}.png)",
            "",
        ]
    (folder / "grids.md").write_text("\n".join(lines), encoding="utf-8")
    return "grids.md"


def refresh_networks(folder: Path) -> None:
    """The page of networks with its table as the models are now."""
    from tools.networks_table import make_table, replace_table

    page = folder / "networks.md"
    text = replace_table(page.read_text(encoding="utf-8"), make_table())
    page.write_text(text, encoding="utf-8")
