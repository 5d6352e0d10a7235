"""Notebooks run, by a runner that does what Jupyter does with a cell."""

import json
import re

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from tools.docs import notebooks


def make(path, *cells):
    cells = [
        {"cell_type": kind, "source": text.splitlines(keepends=True), "outputs": []}
        for kind, text in cells
    ]
    path.write_text(json.dumps({"nbformat": 4, "cells": cells}))
    return path


def test_a_cell_shows_what_it_prints_its_last_value_and_its_figures(tmp_path):
    path = make(
        tmp_path / "a.ipynb",
        ("markdown", "# A title"),
        ("code", "import matplotlib.pyplot as plt\nfrom pathlib import Path\nprint('b')\n1 + 1"),
        ("code", "plt.plot([1, 2])\nPath('c').touch();"),
        ("code", "None"),
    )
    work = tmp_path / "work"
    work.mkdir()
    results = list(notebooks.run(path, work))
    assert [r.cell.kind for r in results] == ["markdown", "code", "code", "code"]
    assert [r.printed for r in results] == ["", "b\n2\n", "", ""]
    assert [len(r.pictures) for r in results] == [0, 0, 1, 0]
    assert results[2].pictures[0].startswith(b"\x89PNG")
    assert (work / "c").exists()


def test_an_error_names_the_cell(tmp_path):
    path = make(tmp_path / "a.ipynb", ("markdown", ""), ("code", "1 / 0"))
    with pytest.raises(ZeroDivisionError) as error:
        list(notebooks.run(path, tmp_path))
    assert str(error.traceback[-1].path) == "<a.ipynb, cell 1>"


def test_outputs_are_not_kept(tmp_path):
    path = tmp_path / "a.ipynb"
    cell = {"cell_type": "code", "source": ["1"], "outputs": [{"data": {}}]}
    path.write_text(json.dumps({"nbformat": 4, "cells": [cell]}))
    with pytest.raises(ValueError, match="a.ipynb holds outputs; clear them"):
        notebooks.read(path)
    path.write_text(json.dumps({"nbformat": 3}))
    with pytest.raises(ValueError, match="no notebook of format 4"):
        notebooks.read(path)


def printed(name, folder):
    (path,) = [path for path in notebooks.all_of_them() if path.stem == name]
    results = list(notebooks.run(path, folder))
    return "".join(r.printed for r in results), sum(len(r.pictures) for r in results)


def test_there_are_no_others():
    names = {path.stem for path in notebooks.all_of_them()}
    assert names == {"fine_tuning", "own_network", "segmentation"}


def test_segmentation(tmp_path):
    text, pictures = printed("segmentation", tmp_path)
    assert float(re.search(r"mean IU of 64 canvases: (\S+)", text)[1]) > 0.85
    assert pictures == 3


@pytest.mark.slow
def test_fine_tuning(tmp_path):
    text, pictures = printed("fine_tuning", tmp_path)
    assert text.startswith("airplane")
    _, whole = re.findall(r"accuracy on the test digits: (\S+)", text)
    assert float(whole) > 0.6
    assert text.rstrip().endswith("True")
    assert pictures == 2


@pytest.mark.slow
def test_own_network(tmp_path):
    text, pictures = printed("own_network", tmp_path)
    before, after = map(float, re.search(r"saw: (\S+) before, (\S+) after", text).groups())
    assert after < 0.8 * before
    assert text.rstrip().endswith("True")
    assert pictures == 2
