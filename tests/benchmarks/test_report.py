"""Pictures and headings."""

import subprocess

import pytest

pytest.importorskip("torch")

from matplotlib.colors import to_hex

from benchmarks import report
from benchmarks.timing import Timing


def colours_and_labels(results):
    (axes,) = report.picture("title", results).axes
    colours = [to_hex(bar.get_facecolor()) for bar in axes.patches]
    return colours, [(t.get_text(), t.xy[0]) for t in axes.texts]


def test_only_what_is_ours_is_judged_and_the_line_crosses_no_label():
    seconds = {"PyTorch compiled": [1.0], "PyTorch": [2.0], "keras_mg": [1.5], "deployed": [0.97]}
    colours, labels = colours_and_labels([Timing("x", seconds)])
    assert colours == [to_hex(c) for c in (report.NEUTRAL, report.BAD, report.GOOD)]
    assert labels == [("2.00", 2.0), ("1.50", 1.5), ("0.97", 1)]


def test_where_more_is_better_nothing_is_judged():
    figures = report.Figures("x", "G/s", {"most": 2.0, "keras_mg": 1.0}, more_is_better=True)
    assert colours_and_labels([figures])[0] == [to_hex(report.NEUTRAL)]


def test_nothing_to_compare_makes_no_picture():
    assert report.picture("title", [report.Figures("x", "s", {"best": 1.0}, False)]) is None


def test_the_heading_names_the_commit(tmp_path, monkeypatch):
    assert report.commit(tmp_path) is None

    def git(*arguments):
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    git("init", "-q")
    assert report.commit(tmp_path) is None  # no commit yet
    git("commit", "-q", "--allow-empty", "-m", "x")
    name = report.commit(tmp_path)
    assert name.isalnum()
    results = tmp_path / "benchmarks" / "RESULTS.md"
    results.parent.mkdir()
    results.touch()
    assert report.commit(tmp_path) == name
    (tmp_path / "file").touch()
    assert report.commit(tmp_path) == f"{name} + changes"
    monkeypatch.setenv("PATH", "")
    assert report.commit(tmp_path) is None
    monkeypatch.setattr(report, "commit", lambda: None)
    assert "commit" not in report.heading("fit", "cpu", 2, "notes")
