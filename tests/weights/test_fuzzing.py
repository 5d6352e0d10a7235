"""Mutated files of every format: the arrays or the documented error, soon, and in little memory.

What is held against each is said in `tests.weights.fuzzing`.
"""

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_mg.weights import _loading
from tests.weights import fuzzing
from tests.weights.fuzz_seeds import SEEDS, fire

ROOT = Path(__file__).resolve().parents[2]
QUICK, MANY = 200, 1_000_000
SLOW = ("weights.h5", "h5 of a model", "keras")  # asked of another process


@pytest.mark.parametrize("form", SEEDS)
def test_mutations(tmp_path, form, monkeypatch):
    monkeypatch.setattr(_loading, "assign", fuzzing.assign_or_read)
    target = fuzzing.Target(form, tmp_path)
    count = QUICK // 4 if form in SLOW else QUICK
    with fuzzing.watching():
        answers = [fuzzing.failure(target, number) for number in range(count)]
    assert [text for text, _ in answers if text is not None] == []
    assert sum(taken for _, taken in answers) < count  # and some are refused


@pytest.mark.slow
def test_a_million_mutations(tmp_path):
    """`KERAS_MG_MUTATIONS` is their number over all formats."""
    log = tmp_path / "log"
    count = os.environ.get("KERAS_MG_MUTATIONS", str(MANY))
    command = [sys.executable, "-m", "tests.weights.fuzzing", count, "--log", log]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [*command, "--folder", tmp_path / "files"], check=True, env=environment, cwd=ROOT
    )
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [row for row in rows if "found" in row] == []
    assert sum(row["end"] - row["begin"] for row in rows) >= int(count) * 0.99


def broken(target, content):
    with pytest.raises(fuzzing.Broken) as caught, fuzzing.watching():
        target.check(content)
    return str(caught.value)


def fill_new_pages(count):
    """Bytes that the process has not had: the allocator may still hold what a test let go of."""
    with mmap.mmap(-1, count) as pages:
        for place in range(0, count, mmap.PAGESIZE):
            pages[place] = 1


@pytest.fixture
def target(tmp_path):
    yield fuzzing.Target("safetensors", tmp_path)
    fuzzing.FIRED.clear()
    fuzzing.EVENTS.clear()


def compute(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_what_is_watched_is_seen(target, monkeypatch):
    """Each promise, broken by a reader that is put in the place of ours."""
    load = _loading.load

    def with_change(change):
        def changed(model, path, **options):
            change(model)
            return load(model, path, **options)

        monkeypatch.setattr(fuzzing.weights, "load", changed)

    good, bad = target.seeds[0], b"no file of weights"
    with_change(lambda model: fire())
    assert " payloads" in broken(target, good)
    fuzzing.FIRED.clear()
    with_change(lambda model: exec("1"))
    assert "exec" in broken(target, good)
    fuzzing.EVENTS.clear()
    with_change(lambda model: model.weights[0].assign(model.weights[0] + 1))
    assert "the model has changed" in broken(target, bad)
    with_change(lambda model: fill_new_pages(64 << 20))
    assert "bytes of memory" in broken(target, good)
    with_change(lambda model: compute(1.2 * fuzzing.SECONDS))
    assert "s of processor time" in broken(target, good)


def test_a_crash_and_a_hang_are_found_and_passed_over(target, monkeypatch):
    check = target.check

    def harmed(content, measured=True):
        if measured and content == target.mutation(3):
            os.kill(os.getpid(), signal.SIGKILL)
        return check(content, measured)

    monkeypatch.setattr(target, "check", harmed)
    _, found = fuzzing.run_chunk(target, 0, 6)
    assert found == [(3, "the process ended with status -9")]
