"""Runs notebooks without Jupyter, and makes pages of them.

Cells of code run one after the other in one namespace. As in Jupyter, what a cell prints, the value
of its last expression and the figures of `matplotlib.pyplot` that it leaves open stand below it.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tools.docs.staging import ROOT, place


class Cell(NamedTuple):
    """A cell of a notebook."""

    kind: str  # "markdown" or "code"
    text: str


class Result(NamedTuple):
    """A cell that ran, with what stands below it."""

    cell: Cell
    printed: str
    pictures: list[bytes]  # PNG files


def read(path: Path) -> list[Cell]:
    """The cells of a notebook.

    Raises:
        ValueError: if it is no notebook of format 4, or if it holds outputs: they are made anew.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if notebook.get("nbformat") != 4:
        raise ValueError(f"{path.name} is no notebook of format 4.")
    for cell in notebook["cells"]:
        if cell.get("outputs"):
            raise ValueError(f"{path.name} holds outputs; clear them before it is kept.")
    return [Cell(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def run(path: Path, folder: Path) -> Iterator[Result]:
    """Run a notebook.

    Args:
        path: of the notebook.
        folder: where its code runs, and writes.

    Yields:
        Each cell, with what stands below it.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(read(path)):
        if cell.kind != "code":
            yield Result(cell, "", [])
            continue
        printed = io.StringIO()
        before = Path.cwd()
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(printed):
                _run_cell(cell.text, names, f"<{path.name}, cell {number}>")
        finally:
            os.chdir(before)
        yield Result(cell, printed.getvalue(), _pictures())


def _run_cell(code: str, names: dict[str, Any], where: str) -> None:
    tree = ast.parse(code, where)
    last = tree.body[-1] if tree.body else None
    # A semicolon at the end keeps the value to itself, as in Jupyter.
    shown = isinstance(last, ast.Expr) and not code.rstrip().endswith(";")
    if shown:
        tree.body.pop()
    exec(compile(tree, where, "exec"), names)
    if shown:
        assert isinstance(last, ast.Expr)
        value = eval(compile(ast.Expression(last.value), where, "eval"), names)
        if value is not None:
            print(repr(value))


def _pictures() -> list[bytes]:
    import matplotlib.pyplot as plt

    pictures = []
    for number in plt.get_fignums():
        buffer = io.BytesIO()
        plt.figure(number).savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        pictures.append(buffer.getvalue())
    plt.close("all")
    return pictures


def all_of_them() -> list[Path]:
    """The notebooks."""
    return sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def write_page(path: Path, folder: Path) -> None:
    """Run a notebook and write its page, the notebook beside it.

    Args:
        path: of the notebook.
        folder: of the site's sources.
    """
    page = folder / place(path.relative_to(ROOT).as_posix())
    page.parent.mkdir(parents=True, exist_ok=True)
    parts, count = [], 0
    with tempfile.TemporaryDirectory() as work:
        for result in run(path, Path(work)):
            if result.cell.kind == "markdown":
                parts.append(result.cell.text)
                continue
            parts.append(f"```python\n{result.cell.text}\n```")
            if result.printed.strip():
                parts.append(f"```text\n{result.printed.rstrip()}\n```")
            for picture in result.pictures:
                name = f"{page.stem}-{count}.png"
                (page.parent / name).write_bytes(picture)
                parts.append(f"![what the cell above draws]({name})")
                count += 1
    # The notebook itself, to be opened in Jupyter.
    (page.parent / path.name).write_bytes(path.read_bytes())
    parts.append(f"[This page as a notebook]({path.name})")
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
