from pathlib import Path

import pytest

from keras_mg.applications import list_models
from tests.support import zoo
from tools import networks_table
from tools.networks_table import BEGIN, END, make_table, replace_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "networks.md"


def test_the_page_has_the_table_that_the_models_make():
    text = PAGE.read_text(encoding="utf-8")
    assert replace_table(text, make_table(zoo.info)) == text, (
        "python tools/networks_table.py docs/networks.md writes it anew"
    )


def test_the_table_has_every_network_with_its_figures():
    lines = make_table(zoo.info).split("\n")
    for name in list_models():
        assert any(line.startswith((f"| `{name}`", f"| `{name}(")) for line in lines), name
    assert (
        "| `MG6` | 8,344,164 (8.34 M) | 116.75 M (116.63 M) | CIFAR-100 error 32.08 % "
        "| Ke et al., CVPR 2017, table of CIFAR-100 results |"
    ) in lines
    assert "| `PMG9` | 8,462,196 | 186.21 M |  |  |" in lines
    assert any(line.startswith("| `IGCPlain(38, 24, 2)` | 317,242 (0.3172 M) | ") for line in lines)
    assert any("(5.76 G)" in line and "top-1 error of 10 crops 22.42 %" in line for line in lines)
    assert {line.count("|") for line in lines if line.startswith("|")} == {6}
    # What the note under it says is counted, too.
    assert "up to 0.8% more" in "\n".join(lines)


def test_only_what_stands_between_the_marks_is_replaced():
    text = f"before {BEGIN} old {END} after\n"
    new = replace_table(text, "new")
    assert new == f"before {BEGIN}\nnew\n{END} after\n"
    assert replace_table(new, "new") == new
    for bad in ("", BEGIN, END, END + BEGIN, BEGIN + text, text + END):
        with pytest.raises(ValueError, match="must have <!-- networks:begin --> and, after it"):
            replace_table(bad, "new")


def test_it_writes_files_and_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(networks_table, "make_table", lambda: "| table |")
    file, bad = tmp_path / "a.md", tmp_path / "b.md"
    file.write_text(f"{BEGIN}\n{END}\nrest\n")
    bad.write_text("no marks\n")
    networks_table.main([str(file)])
    assert file.read_text() == f"{BEGIN}\n| table |\n{END}\nrest\n"
    networks_table.main([])
    assert capsys.readouterr().out == "| table |\n"
    with pytest.raises(ValueError, match="must have"):
        networks_table.main([str(bad)])
    assert bad.read_text() == "no marks\n"
