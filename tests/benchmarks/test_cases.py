"""Every benchmark runs, on the smallest network there is."""

import pytest

torch = pytest.importorskip("torch")

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import cases, costs, formulations, settings  # noqa: E402

VARIANTS = {
    "fit": ("PyTorch compiled", "keras_mg compiled", "PyTorch", "keras_mg"),
    "epoch": ("PyTorch compiled", "keras_mg compiled"),
    "predict": ("keras_mg compiled", "deployed, compiled", "PyTorch", "keras_mg", "deployed"),
    "memory": ("PyTorch", "keras_mg", "keras_mg, remat"),
    "remat": ("keras_mg", "keras_mg, remat"),
    "compilation": ("PyTorch", "keras_mg"),
    "startup": ("median", "best"),
    "limits": ("fastest product or convolution", "copy of 0 MiB", "keras_mg compiled"),
    "groups": ("grouped", "reshaped", "keras_mg", "two group convolutions", "composed"),
}
LAYER = formulations.Layer("primary", 8, 2, 2, 3, 1, 4)


def one_process_of_a_kind():
    """Each start of a process takes seconds, so the first one's number serves its kind."""
    start, found = costs._in_new_process, {}

    def run(function, first, *arguments, cache=None):
        if (function, first) not in found:
            found[function, first] = start(function, first, *arguments, cache=cache)
        return found[function, first]

    return run


def test_the_table_has_every_case():
    # What needs a second checkout has its own tests.
    assert VARIANTS.keys() == cases.CASES.keys() - cases.ON_DEMAND


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", VARIANTS)
def test_the_case_runs_and_records_each_variant(name, tmp_path, monkeypatch):
    # What the command sets for its own process would last for the tests behind.
    monkeypatch.setattr(settings.Settings, "prepare", lambda self: None)
    monkeypatch.setattr(costs, "_in_new_process", one_process_of_a_kind())
    monkeypatch.setattr(costs, "COPIED", 2**10)
    monkeypatch.setitem(costs.PRODUCTS, "cpu", (8,))
    monkeypatch.setitem(costs.CONVOLUTIONS, "cpu", ((1, 8, 8),))
    monkeypatch.setattr(formulations, "layers", lambda: [LAYER])
    monkeypatch.setattr(formulations, "STAGES", ((8, 4),))
    monkeypatch.setattr(formulations, "UNITS", (formulations.Unit("x", 8, 4, 2, 4),))
    options = ["--networks", "tiny", "--rounds", "1", "--device", "cpu"]
    command.main([name, *options, "--output-dir", str(tmp_path)])
    text = (tmp_path / "RESULTS.md").read_text()
    assert f"## {name}, 20" in text
    for variant in VARIANTS[name]:
        assert f" | {variant} | " in text
    if name in ("fit", "predict"):
        assert "| tiny, batch 2, eager | keras_mg |" in text
        assert "| tiny, batch 2, best | best of keras_mg: keras_mg" in text
