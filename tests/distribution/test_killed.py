"""A process that is killed or stops: all end, and go on as if nothing had happened."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_mg.training import _checkpoint_files as files
from tests.support import processes

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch"),
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
]

SCRIPT = "tests.support.parallel_killed"
TIMES = 10
SLOW = 0.1  # seconds that a step takes


def command(folder, restarts, options):
    folder.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words += ["--nproc-per-node=2", f"--max-restarts={restarts}", "-m", SCRIPT]
    return [*words, str(folder), json.dumps(options)]


def start(folder, restarts=0, **options):
    """torchrun, whose output goes to a file."""
    words = command(folder, restarts, options)
    with open(folder / "printed", "w", encoding="utf-8") as printed:
        return subprocess.Popen(
            words,
            # What torchrun gives a stopped process to end, in torch releases that can be told.
            env=processes.environment(TORCH_ELASTIC_SHUTDOWN_TIMEOUT="3"),
            cwd=processes.ROOT,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )


def train(folder, restarts=0, **options):
    """The exit code of torchrun, and what was printed."""
    (code,) = processes.finish([start(folder, restarts, **options)], timeout=1200)
    return code, (folder / "printed").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    codes = processes.finish(run(folder))
    assert codes == [0, 0], processes.printed(folder, 2)
    return folder


def assert_ended_alike(folder, whole):
    for number in range(2):
        with np.load(folder / f"{number}.npz") as own, np.load(whole / "0.npz") as other:
            assert own.files == other.files
            for name in own.files:
                np.testing.assert_array_equal(own[name], other[name])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1))
def test_killed_ten_times_it_goes_on_by_itself(seed, whole, tmp_path):
    folder = tmp_path / "run"
    code, said = train(folder, TIMES, seed=seed, times=TIMES, slow=SLOW)
    assert code == 0, said
    assert len(list(folder.glob("killed *"))) == TIMES
    assert said.count("Signal 9 (SIGKILL)") >= TIMES or said.count("exitcode: -9") >= TIMES, said
    assert_ended_alike(folder, whole)


def run(folder, **options):
    """Two processes without torchrun."""
    folder.mkdir(exist_ok=True)
    return processes.fork(2, SCRIPT, [folder, json.dumps(options)], folder)


def kill_one(folder, rng, running):
    """Kill a process from outside, at any moment of the next few steps; its number."""
    number, steps = rng.randrange(2), rng.randrange(2, 6)
    path = folder / f"steps {number}"
    while not path.exists() or path.stat().st_size < steps:
        assert running[number].poll() is None, processes.printed(folder, 2)
        time.sleep(0.005)
    time.sleep(rng.uniform(0, SLOW))
    running[number].kill()
    return number


@pytest.mark.slow
def test_killed_ten_times_it_goes_on_when_it_is_started_again(whole, tmp_path):
    folder = tmp_path / "run"
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    print("seed", seed)
    for _ in range(TIMES):
        running = run(folder, slow=SLOW)
        number = kill_one(folder, rng, running)
        codes = processes.finish(running)
        assert codes[number] == -signal.SIGKILL
        assert codes[1 - number] == 1
        said = processes.printed(folder, 2)[1 - number]
        assert "ProcessLostError" in said, said
        saved = files.latest(folder / "checkpoints")
        place = saved and (saved.state["epoch"], saved.state["step"])
        print(f"process {number} killed; the last checkpoint is after {place}")
        for path in folder.glob("steps *"):
            path.unlink()
    assert saved.state["epoch"] > 1
    codes = processes.finish(run(folder))
    assert codes == [0, 0], processes.printed(folder, 2)
    assert_ended_alike(folder, whole)


def test_a_stopped_process_ends_the_others(tmp_path):
    options = {"stops": 4, "timeout": 8}
    running = run(tmp_path, **options)
    try:
        assert running[0].wait(600) == 1
        assert running[1].poll() is None
        running[1].send_signal(signal.SIGCONT)
        assert running[1].wait(600) == 1
    finally:
        for process in running:
            process.kill()
    for number, text in enumerate(processes.printed(tmp_path, 2)):
        said = f"ProcessLostError: Process {number} of 2 has lost another one, which has ended or "
        assert said + "has not answered for 8 s" in text
    saved = files.latest(tmp_path / "checkpoints")
    assert (saved.state["epoch"], saved.state["step"]) == (1, 0)
    assert not list(Path(tmp_path).glob("*.npz"))


def test_what_nobody_expects_ends_all(tmp_path):
    """gloo ends the process that is sent too much; to the other one it is lost."""
    codes = processes.finish(run(tmp_path, strays=4))
    said = processes.printed(tmp_path, 2)
    assert sorted(codes) == [-signal.SIGABRT, 1], said
    other, ended = sorted(range(2), key=lambda number: codes[number], reverse=True)
    assert "Received data size doesn't match expected size" in said[ended]
    assert f"ProcessLostError: Process {other} of 2 has lost another one" in said[other]


@pytest.mark.slow
def test_a_stopped_process_is_started_again(whole, tmp_path):
    folder = tmp_path / "run"
    code, said = train(folder, 1, stops=4, timeout=20)
    assert code == 0, said
    assert (folder / "stopped").exists()
    assert "has not answered for 20 s" in said
    assert_ended_alike(folder, whole)
