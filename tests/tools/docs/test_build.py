"""The site builds, without a warning, and nothing in it is broken or comes from elsewhere."""

import subprocess
import sys

import pytest

from tools.docs.staging import ROOT

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")
pytest.importorskip("onnxscript")
pytest.importorskip("sklearn")


@pytest.mark.slow
def test_the_site_builds():
    run = subprocess.run(
        [sys.executable, "-m", "tools.docs"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "npm could not fetch" in run.stderr or "is made with npm" in run.stderr:
        pytest.skip(run.stderr.strip().splitlines()[-1])
    assert run.returncode == 0, run.stderr
    # Without one of them a signature of any length is one line, and no warning says so.
    assert "requires either Black or Ruff" not in run.stdout + run.stderr
    site = ROOT / "build" / "docs" / "site"
    for name in ("index.html", "try.html", "networks.html", "api/layers.html", "grids/RMG18.png"):
        assert (site / name).is_file(), name
    text = (site / "api" / "layers.html").read_text(encoding="utf-8")
    assert 'id="keras_mg.layers.MultigridConv"' in text
