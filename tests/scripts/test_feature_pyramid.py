import re
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

SCRIPT = Path(__file__).parents[2] / "examples" / "feature_pyramid.py"


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    return runpy.run_path(str(SCRIPT), run_name="__main__")


def test_a_short_run_trains_and_measures(monkeypatch, capsys):
    ran = run(monkeypatch, "--filters", "6", "--steps", "6", "--batch-size", "4")
    out = capsys.readouterr().out
    assert "Pyramid: P0 (32, 32, 6), P1 (16, 16, 6), P2 (8, 8, 6), P3 (4, 4, 6)" in out
    figures = dict(re.findall(r"(loss|mean_iu) on the test digits: (\S+ before, \S+) after", out))
    assert set(figures) == {"loss", "mean_iu"}
    before, after = map(float, figures["loss"].split(" before, "))
    assert after < before
    # All of it is trained: no level of the pyramid is left without a reader.
    model = ran["model"]
    assert model.count_params() > ran["pyramid"].count_params()
    assert {v.path for v in ran["pyramid"].trainable_variables} <= {
        v.path for v in model.trainable_variables
    }
    assert model.output_shape == (None, 32, 32, 10)


def test_it_is_as_short_as_an_example_should_be():
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) < 80
