"""Comparing two checkouts: whose seconds count, and what happens when a process ends."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from benchmarks import against  # noqa: E402
from benchmarks.settings import Settings  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def test_both_sides_run_the_same_steps_in_turn_and_measure_themselves():
    calls = []

    def side(name, seconds):
        def run(variant, count):
            calls.append((name, variant, count))
            return seconds * count

        return run

    settings = Settings(rounds=3)
    sides = {"other": side("other", 0.1), "this": side("this", 0.05)}
    result = against._compare("x", sides, "fit", settings)
    assert result.seconds == {"other": pytest.approx([0.1] * 3), "this": pytest.approx([0.05] * 3)}
    assert result.ratio("this") == pytest.approx(0.5)
    # After the two calls that count, 0.2 seconds of the faster side: 4 steps of either.
    measured = calls[4:]
    assert {(variant, count) for _, variant, count in measured} == {("fit", 4)}
    assert len(measured) == 2 * (3 + 2)
    names = [name for name, _, _ in measured]
    assert names[:4] == ["other", "this", "this", "other"]


def test_a_process_that_ends_is_named(tmp_path):
    (tmp_path / "keras_mg").mkdir()
    (tmp_path / "keras_mg" / "__init__.py").write_text("raise SystemExit(3)\n")
    with (
        against._process(tmp_path, ["tiny", "cpu", "1", "0", "float32", "wall"]) as run,
        pytest.raises(RuntimeError, match=f"{tmp_path} ended at 'fit' \\(3\\)"),
    ):
        run("fit", 1)


@pytest.mark.slow
def test_this_checkout_against_itself():
    settings = Settings(rounds=1, threads=1, networks=("tiny",), other=ROOT)
    results = list(against.against(settings))
    assert [result.name for result in results] == [f"tiny, {v}" for v in against.VARIANTS]
    assert all(seconds > 0 for r in results for side in r.seconds.values() for seconds in side)


def test_the_other_checkout_must_be_named():
    with pytest.raises(SystemExit, match="--other"):
        next(against.against(Settings()))
