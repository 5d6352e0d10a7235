import re
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("keras_hub")

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORT = ("--filters", "4", "--steps", "3", "--batch-size", "2", "--test", "2")


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # of levels that nothing reads
@pytest.mark.parametrize(
    ("name", "figure"), [("hub_segmenter", "mean_iu on"), ("hub_detector", "found of")]
)
def test_a_short_run_trains_and_measures(monkeypatch, capsys, name, figure):
    monkeypatch.setattr(sys, "argv", [name, *SHORT])
    ran = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    out = capsys.readouterr().out
    (line,) = re.findall(f"^{figure} the test digits: (\\S+) before, (\\S+) after", out, re.M)
    assert all(0 <= float(value) <= 1 for value in line)
    trunk, model = ran["trunk"], ran["model"]
    assert {v.path for v in trunk.weights} <= {v.path for v in model.weights}
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 100
